package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// followed is how many prefixes feed follows.
const followed = 5

// registry writes to etcd what the cluster is to know about this node's
// minions, and feeds the hub what other nodes have written.
type registry struct {
	client *clientv3.Client
	keys   etcdkv.Keys
	node   job.NodeID
	log    *zap.Logger
	// lease returns the node's lease.
	lease func() (clientv3.LeaseID, bool)

	// lost reports whether most of all nodes do not reach a node. Nil: none is lost.
	lost func(job.NodeID) bool

	// unread is how many of what feed follows have not been read for the first time.
	unread atomic.Int32
}

var _ agentpush.Registry = (*registry)(nil)

// Present implements agentpush.Registry. What is written goes with the node's
// lease; the hub writes it again once there is another.
func (r *registry) Present(ctx context.Context, bucket int, minions []agentpush.Present) error {
	key := r.keys.PresenceBucket(r.node, bucket)
	if len(minions) == 0 {
		if _, err := r.client.Delete(ctx, key); err != nil {
			return fmt.Errorf("presence bucket %d: %w", bucket, err)
		}
		return nil
	}
	lease, ok := r.lease()
	if !ok {
		return fmt.Errorf("presence bucket %d: the node holds no lease: %w", bucket, job.ErrUnavailable)
	}
	p := etcdkv.Presence{Schema: etcdkv.Schema}
	for _, m := range minions {
		one := etcdkv.PresentMinion{ID: m.ID, Session: m.Session, Trouble: m.Trouble, Since: m.Since}
		if !m.Opened.IsZero() {
			one.Opened = m.Opened.Unix()
		}
		p.Minions = append(p.Minions, one)
	}
	value, err := etcdkv.Encode(&p)
	if err != nil {
		return err
	}
	if _, err := r.client.Put(ctx, key, value, clientv3.WithLease(lease)); err != nil {
		return fmt.Errorf("presence bucket %d: %w", bucket, err)
	}
	return nil
}

// Describe implements agentpush.Registry. A node that has just started may not know yet since
// when the minion is known: that is kept.
func (r *registry) Describe(ctx context.Context, m job.Minion) error {
	known, err := r.client.Get(ctx, r.keys.Minion(m.ID))
	if err != nil {
		return fmt.Errorf("describe minion %s: %w", m.ID, err)
	}
	if len(known.Kvs) > 0 {
		old, err := etcdkv.Decode[etcdkv.StoredMinion](string(known.Kvs[0].Key), known.Kvs[0].Value)
		if err == nil && !old.Since.IsZero() && (m.Since.IsZero() || old.Since.Before(m.Since)) {
			m.Since = old.Since
		}
	}
	value, err := etcdkv.Encode(&etcdkv.StoredMinion{
		Schema: etcdkv.Schema, ID: m.ID, Labels: m.Labels, Facts: m.Facts, Version: m.Version, Since: m.Since,
	})
	if err != nil {
		return err
	}
	if _, err := r.client.Put(ctx, r.keys.Minion(m.ID), value); err != nil {
		return fmt.Errorf("describe minion %s: %w", m.ID, err)
	}
	return nil
}

// fed reports whether the hub's inventory has all that etcd has had at some time
// since the start.
func (r *registry) fed() bool { return r.unread.Load() == 0 }

// feed keeps the hub's inventory current until ctx ends.
func (r *registry) feed(ctx context.Context, inv *agentpush.Inventory) error {
	g, ctx := errgroup.WithContext(ctx)
	there := &presence{inv: inv}
	if r.lost != nil {
		g.Go(func() error { return there.run(ctx, r.lost) })
	}
	g.Go(func() error {
		return r.follow(ctx, r.keys.Minions(), func(ev *etcdkv.Event) {
			m, err := etcdkv.Decode[etcdkv.StoredMinion](ev.Key, ev.Value)
			if err != nil {
				r.log.Warn("minion cannot be read", zap.Error(err))
				return
			}
			inv.SetMinion(job.Minion{ID: m.ID, Labels: m.Labels, Facts: m.Facts, Version: m.Version, Since: m.Since})
		}, func(key string) { inv.RemoveMinion(job.MinionID(key[len(r.keys.Minions()):])) })
	})
	g.Go(func() error {
		return r.follow(ctx, r.keys.AuthMinions(), func(ev *etcdkv.Event) {
			m, err := etcdkv.Decode[etcdkv.Enrollment](ev.Key, ev.Value)
			if err != nil {
				r.log.Warn("the enrollment of a minion cannot be read", zap.Error(err))
				return
			}
			inv.SetRevoked(m.ID, m.RevokedAt)
		}, func(key string) { inv.SetRevoked(job.MinionID(key[len(r.keys.AuthMinions()):]), time.Time{}) })
	})
	g.Go(func() error {
		return r.follow(ctx, r.keys.Grants(), func(ev *etcdkv.Event) {
			g, err := etcdkv.Decode[etcdkv.Grant](ev.Key, ev.Value)
			if err != nil {
				r.log.Warn("granted labels cannot be read", zap.Error(err))
				return
			}
			inv.SetGrant(g.ID, g.Labels)
		}, func(key string) { inv.SetGrant(job.MinionID(key[len(r.keys.Grants()):]), nil) })
	})
	g.Go(func() error {
		return r.follow(ctx, r.keys.HostGroups(), func(ev *etcdkv.Event) {
			h, err := etcdkv.Decode[etcdkv.StoredHostGroup](ev.Key, ev.Value)
			if err != nil {
				r.log.Warn("host group cannot be read", zap.Error(err))
				return
			}
			if err := inv.SetHostGroup(h.Name, h.Spec.Match); err != nil {
				r.log.Warn("host group cannot be used", zap.String("group", h.Name), zap.Error(err))
			}
		}, func(key string) { inv.RemoveHostGroup(key[len(r.keys.HostGroups()):]) })
	})
	g.Go(func() error {
		return r.follow(ctx, r.keys.Presence(), func(ev *etcdkv.Event) {
			node, bucket, err := r.keys.ParsePresence(ev.Key)
			if err != nil {
				r.log.Warn("foreign key among the presence", zap.Error(err))
				return
			}
			p, err := etcdkv.Decode[etcdkv.Presence](ev.Key, ev.Value)
			if err != nil {
				r.log.Warn("presence cannot be read", zap.Error(err))
				return
			}
			minions := make([]agentpush.Present, len(p.Minions))
			for i, m := range p.Minions {
				minions[i] = agentpush.Present{ID: m.ID, Session: m.Session, Trouble: m.Trouble, Since: m.Since}
				if m.Opened != 0 {
					minions[i].Opened = time.Unix(m.Opened, 0).UTC()
				}
			}
			there.set(node, bucket, minions)
		}, func(key string) {
			if node, bucket, err := r.keys.ParsePresence(key); err == nil {
				there.set(node, bucket, nil)
			}
		})
	})
	return g.Wait()
}

// follow follows a prefix and calls put and gone for each key, also for keys
// that are found missing when the prefix is listed again.
func (r *registry) follow(ctx context.Context, prefix string, put func(*etcdkv.Event), gone func(key string)) error {
	known := map[string]bool{}
	first := true
	return etcdkv.Follow(ctx, r.client, prefix, func(b etcdkv.Batch) error {
		there := map[string]bool{}
		for i := range b.Events {
			ev := &b.Events[i]
			if ev.Value == nil {
				delete(known, ev.Key)
				gone(ev.Key)
				continue
			}
			known[ev.Key], there[ev.Key] = true, true
			put(ev)
		}
		if b.Relist {
			for key := range known {
				if !there[key] {
					delete(known, key)
					gone(key)
				}
			}
		}
		if first {
			first = false
			r.unread.Add(-1)
		}
		return nil
	})
}
