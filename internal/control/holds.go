package control

import (
	"context"
	"fmt"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// heldFrom returns from where on an edit holds that is stored, of a job, or of all
// where uid is zero: no occurrence after that instant is committed without it. What
// the shards have committed by now, they may have committed before it. Zero: it
// cannot be told now, and holds all the same.
func (c *Control) heldFrom(ctx context.Context, at time.Time, uid job.UID, shards ...job.ShardID) time.Time {
	return committed{c: c}.heldFrom(ctx, at, uid, shards...)
}

// committed is what shards have committed, as far as that was looked at.
type committed struct {
	c *Control
	// last are, of shards, the last instants of jobs that may be yet to start; that of
	// the zero UID is the last of all. Nil: nothing is kept of it.
	last map[job.ShardID]map[job.UID]time.Time
}

// heldFrom is that of Control.
func (k committed) heldFrom(ctx context.Context, at time.Time, uid job.UID, shards ...job.ShardID) time.Time {
	names := make([]string, len(shards))
	for i, s := range shards {
		names[i] = k.c.cfg.Keys.State(s)
	}
	kvs, err := k.c.db.GetAll(ctx, "read shards", names)
	for i, kv := range kvs {
		if err != nil {
			break
		}
		if kv == nil {
			continue // nothing was ever committed
		}
		var state etcdkv.ShardState
		if state, err = store.Decode[etcdkv.ShardState](kv); err != nil {
			break
		}
		at = latest(at, state.Cursor)
		if latest(state.Ahead, state.Beyond).After(at) {
			// The cursor does not speak of what a wrong clock had planned, before it
			// was set back, nor of what had its turn before others that were due.
			var last map[job.UID]time.Time
			last, err = k.of(ctx, shards[i])
			at = latest(at, last[uid])
		}
	}
	if err != nil {
		k.c.log.Warn("from when an edit holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return at.UTC()
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// of returns, by their jobs, the last instants that are committed in a shard and may be
// yet to start.
func (k committed) of(ctx context.Context, shard job.ShardID) (map[job.UID]time.Time, error) {
	if last, ok := k.last[shard]; ok {
		return last, nil
	}
	last := map[job.UID]time.Time{}
	err := k.c.db.ListPages(ctx, "read shard "+shard.String(), k.c.cfg.Keys.Slots(shard), store.SlotPage, func(kv *mvccpb.KeyValue) error {
		slot, err := etcdkv.DecodeSlot(kv.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", kv.Key, err)
		}
		for i := range slot.Entries {
			e := &slot.Entries[i]
			starts := e.State == etcdkv.EntryOpen || e.State == etcdkv.EntryQueued
			if starts && e.Fire.Trigger == job.TriggerSchedule {
				last[e.Fire.Job] = latest(last[e.Fire.Job], e.Fire.Time())
				last[job.UID{}] = latest(last[job.UID{}], e.Fire.Time())
			}
		}
		return nil
	})
	if err == nil && k.last != nil {
		k.last[shard] = last
	}
	return last, err
}

// pausedShards returns the shards of what is paused, and which job it is; zero: there
// are several.
func (c *Control) pausedShards(ctx context.Context, p api.Paused) ([]job.ShardID, job.UID, error) {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case api.ScopeJob:
		at, err := c.locate(ctx, key)
		if err != nil {
			return nil, job.UID{}, err
		}
		if at.kv == nil {
			return nil, job.UID{}, noJob(key)
		}
		stored, err := store.Decode[etcdkv.StoredJob](at.kv)
		if err != nil {
			stored.UID = job.UID{} // it is paused as it is, and so as all of its shard
		}
		return []job.ShardID{at.shard}, stored.UID, nil
	case api.ScopeGroup:
		g, _, err := c.StoredGroup(ctx, key)
		return []job.ShardID{g.Shard}, job.UID{}, err
	case api.ScopeNamespace, api.ScopeAll:
	}
	var all []job.ShardID
	err := c.db.Shards(ctx, store.MaxOps, func(part []job.ShardID) error {
		all = append(all, part...)
		return nil
	})
	return all, job.UID{}, err
}

// pauseHeldFrom returns from where on a pause holds, or its end.
func (c *Control) pauseHeldFrom(ctx context.Context, p api.Paused, at time.Time) time.Time {
	shards, uid, err := c.pausedShards(ctx, p)
	if err != nil {
		c.log.Warn("from when a pause holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return c.heldFrom(ctx, at, uid, shards...)
}

// tellHeld notes in results from where on they hold.
func (c *Control) tellHeld(ctx context.Context, changes []change) {
	known := committed{c, map[job.ShardID]map[job.UID]time.Time{}}
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = c.pauseHeldFrom(ctx, api.Paused{Scope: api.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = known.heldFrom(ctx, ch.at, ch.uid, ch.shard)
		}
	}
}
