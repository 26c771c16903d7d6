package ownership

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// pass hands a shard over to another node, or gives it back when to is nil.
func (n *Node) pass(id job.ShardID, to *etcdkv.Member) {
	s, runs := n.d.Running(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !runs || n.passing[id] || len(n.passing) >= maxPassing {
		return
	}
	n.passing[id] = true
	s.Yield(n.ctx, to, func(err error) {
		if err != nil {
			n.mu.Lock()
			delete(n.passing, id)
			n.mu.Unlock()
			n.log.Warn("shard not passed on", zap.Stringer("shard", id), zap.Error(err))
		}
	})
}

// drain hands all shards over, or gives them back when no other node is ready.
func (n *Node) drain() error {
	n.d.Draining.Store(true)
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.DrainTimeout)
	defer cancel()
	n.announce(ctx, etcdkv.PhaseDraining)
	n.leave(ctx)
	n.leaveLines(ctx)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		ids := n.d.Shards()
		if len(ids) == 0 {
			n.log.Info("all shards handed over")
			return nil
		}
		want := n.place(n.candidates())
		for _, id := range ids {
			to, ok := n.d.Cluster.Member(n.heir(id, want))
			if ok {
				n.pass(id, &to)
			} else {
				n.pass(id, nil)
			}
		}
		select {
		case <-ctx.Done():
			n.log.Warn("drain timed out; the rest of the shards go with the lease", zap.Int("shards", len(ids)))
			return nil
		case <-ticker.C:
		}
	}
}

// heir returns who is to get a shard from this node, which leaves.
func (n *Node) heir(id job.ShardID, want []job.NodeID) job.NodeID {
	if id.IsGroup() {
		g := n.d.Cluster.Group(id)
		if g == nil {
			return ""
		}
		s := n.Situation(id, g)
		return g.Mode.Holder(&s).Holder
	}
	return want[id]
}

// leave has the node forgotten: it leaves in order. Should that fail, it is told
// as one that is gone.
func (n *Node) leave(ctx context.Context) {
	key := n.cfg.Keys.Member(n.self.Node)
	_, err := n.d.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue(key), "=", n.d.Session.Lease())).
		Then(clientv3.OpDelete(n.cfg.Keys.KnownNode(n.self.Node))).Commit()
	if err != nil {
		n.log.Warn("the node is still known after it has left", zap.Error(err))
	}
}

// announce writes the node's phase. If that fails, it is tried again at the next
// look.
func (n *Node) announce(ctx context.Context, phase etcdkv.Phase) {
	m := n.self
	m.Phase, m.PhaseSince = phase, time.Unix(0, n.d.Now()).UTC()
	value, err := etcdkv.Encode(&m)
	if err == nil {
		key := n.cfg.Keys.Member(m.Node)
		_, err = n.d.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.LeaseValue(key), "=", n.d.Session.Lease())).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(n.d.Session.Lease()))).Commit()
	}
	if err != nil {
		n.log.Warn("phase not announced", zap.String("phase", string(phase)), zap.Error(err))
		return
	}
	n.self = m
	n.log.Info("phase announced", zap.String("phase", string(phase)))
}

// leaveLines gives the node's places up.
func (n *Node) leaveLines(ctx context.Context) {
	for id := range n.lined {
		if _, err := n.d.Client.Delete(ctx, n.cfg.Keys.Line(id, n.cfg.Node)); err != nil {
			n.log.Debug("place in line goes with the lease", zap.Error(err))
		}
		delete(n.lined, id)
	}
}

// followDrain announces what operators want of this node.
func (n *Node) followDrain() {
	phase := etcdkv.PhaseReady
	if n.d.Cluster.Drained(n.cfg.Node) {
		phase = etcdkv.PhaseDraining
	}
	if phase == n.self.Phase {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, callTimeout)
	defer cancel()
	n.announce(ctx, phase)
}
