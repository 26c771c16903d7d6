package scheduler

import (
	"context"
	"reflect"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// briefTimeout bounds a small write that is tried again.
const briefTimeout = time.Second

// healthEvery is how often a node looks at its own health.
const healthEvery = 100 * time.Millisecond

// trouble says why the node does not do its work; none: it does.
func (e *Engine) trouble() []string {
	var out []string
	if !e.deps.Cluster.Synced() {
		out = append(out, "its view of the cluster is not read")
	}
	if last := e.tended.Load(); last != 0 && time.Since(time.Unix(0, last)) > e.cfg.StalledAfter {
		out = append(out, "its loop has stalled")
	}
	if why := e.unfit(); why != "" {
		out = append(out, why)
	}
	return out
}

// keepHealth publishes the node's own health, and what it finds out about its
// peers', whenever that changes.
func (m *membership) keepHealth(ctx context.Context) {
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	var last *etcdkv.Health
	for {
		h := etcdkv.Health{
			Schema: etcdkv.Schema, Node: m.e.cfg.Node, Trouble: m.e.trouble(), Unreachable: m.node.Unreachable(), Clock: m.e.keeper.Health(),
		}
		if last == nil || !slices.Equal(h.Trouble, last.Trouble) || !slices.Equal(h.Unreachable, last.Unreachable) || !reflect.DeepEqual(h.Clock, last.Clock) {
			h.Since = time.Unix(0, m.e.deps.now()).UTC()
			if m.publishHealth(ctx, &h) {
				last = &h
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-m.e.clockChanged:
		case <-ticker.C:
		}
	}
}

func (m *membership) publishHealth(ctx context.Context, h *etcdkv.Health) bool {
	ctx, cancel := context.WithTimeout(ctx, briefTimeout)
	defer cancel()
	value, err := etcdkv.Encode(h)
	if err == nil {
		_, err = m.e.deps.Client.Put(ctx, m.e.cfg.Keys.Health(h.Node), value, clientv3.WithLease(m.sess.Lease()))
	}
	if err != nil {
		m.e.log.Debug("health not published", zap.Error(err))
	}
	return err == nil
}
