package control

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// edited notes in a change that its owners must know it before they plan (see
// scheduler's view.go).
func (c *Control) edited(key string) clientv3.Op {
	return clientv3.OpPut(key, c.now().UTC().Format(time.RFC3339Nano))
}

// heldFrom returns from where on an edit holds that is stored: no occurrence after
// that instant is committed without it. What the shards have committed by now, they
// may have committed before it. Zero: it cannot be told now, and holds all the same.
func (c *Control) heldFrom(ctx context.Context, at time.Time, shards ...job.ShardID) time.Time {
	names := make([]string, len(shards))
	for i, s := range shards {
		names[i] = c.cfg.Keys.State(s)
	}
	kvs, err := c.getAll(ctx, "read shards", names)
	if err != nil {
		c.log.Warn("from when an edit holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	for _, kv := range kvs {
		if kv == nil {
			continue // nothing was ever committed
		}
		state, err := decode[etcdkv.ShardState](kv)
		if err != nil {
			c.log.Warn("from when an edit holds cannot be told", zap.Error(err))
			return time.Time{}
		}
		if state.Cursor.After(at) {
			at = state.Cursor
		}
	}
	return at.UTC()
}

// pausedShards returns the shards of what is paused.
func (c *Control) pausedShards(ctx context.Context, p Paused) ([]job.ShardID, error) {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case etcdkv.ScopeJob:
		at, err := c.locate(ctx, key)
		if err == nil && at.kv == nil {
			err = noJob(key)
		}
		return []job.ShardID{at.shard}, err
	case etcdkv.ScopeGroup:
		g, _, err := c.storedGroup(ctx, key)
		return []job.ShardID{g.Shard}, err
	case etcdkv.ScopeNamespace, etcdkv.ScopeAll:
	}
	var all []job.ShardID
	err := c.shards(ctx, maxOps, func(part []job.ShardID) error {
		all = append(all, part...)
		return nil
	})
	return all, err
}

// pauseHeldFrom returns from where on a pause holds, or its end.
func (c *Control) pauseHeldFrom(ctx context.Context, p Paused, at time.Time) time.Time {
	shards, err := c.pausedShards(ctx, p)
	if err != nil {
		c.log.Warn("from when a pause holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return c.heldFrom(ctx, at, shards...)
}

// tellHeld notes in results from where on they hold.
func (c *Control) tellHeld(ctx context.Context, changes []change) {
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = c.pauseHeldFrom(ctx, Paused{Scope: etcdkv.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = c.heldFrom(ctx, ch.at, ch.shard)
		}
	}
}
