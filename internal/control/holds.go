package control

import (
	"context"
	"fmt"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
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

// heldFrom returns from where on an edit holds that is stored, of a job, or of all
// where uid is zero: no occurrence after that instant is committed without it. What
// the shards have committed by now, they may have committed before it. Zero: it
// cannot be told now, and holds all the same.
func (c *Control) heldFrom(ctx context.Context, at time.Time, uid job.UID, shards ...job.ShardID) time.Time {
	names := make([]string, len(shards))
	for i, s := range shards {
		names[i] = c.cfg.Keys.State(s)
	}
	kvs, err := c.getAll(ctx, "read shards", names)
	if err != nil {
		c.log.Warn("from when an edit holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	for i, kv := range kvs {
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
		if !state.Ahead.After(at) {
			continue
		}
		last, err := c.lastOpen(ctx, shards[i], uid)
		if err != nil {
			c.log.Warn("from when an edit holds cannot be told", zap.Error(err))
			return time.Time{}
		}
		if last.After(at) {
			at = last
		}
	}
	return at.UTC()
}

// lastOpen returns the last instant of a job, or of any where uid is zero, that is
// committed in a shard and may be yet to start. The cursor does not speak of those of
// a shard that a wrong clock had planned ahead, and that was set back.
func (c *Control) lastOpen(ctx context.Context, shard job.ShardID, uid job.UID) (time.Time, error) {
	last := int64(0)
	err := c.listPages(ctx, "read shard "+shard.String(), c.cfg.Keys.Slots(shard), slotPage, func(kv *mvccpb.KeyValue) error {
		slot, err := etcdkv.DecodeSlot(kv.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", kv.Key, err)
		}
		for i := range slot.Entries {
			e := &slot.Entries[i]
			starts := e.State == etcdkv.EntryOpen || e.State == etcdkv.EntryQueued
			if starts && e.Fire.Trigger == job.TriggerSchedule && (uid == job.UID{} || uid == e.Fire.Job) {
				last = max(last, e.Fire.At)
			}
		}
		return nil
	})
	return time.Unix(0, last), err
}

// pausedShards returns the shards of what is paused, and which job it is; zero: there
// are several.
func (c *Control) pausedShards(ctx context.Context, p Paused) ([]job.ShardID, job.UID, error) {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case etcdkv.ScopeJob:
		at, err := c.locate(ctx, key)
		if err != nil {
			return nil, job.UID{}, err
		}
		if at.kv == nil {
			return nil, job.UID{}, noJob(key)
		}
		stored, err := decode[etcdkv.StoredJob](at.kv)
		if err != nil {
			stored.UID = job.UID{} // it is paused as it is, and so as all of its shard
		}
		return []job.ShardID{at.shard}, stored.UID, nil
	case etcdkv.ScopeGroup:
		g, _, err := c.storedGroup(ctx, key)
		return []job.ShardID{g.Shard}, job.UID{}, err
	case etcdkv.ScopeNamespace, etcdkv.ScopeAll:
	}
	var all []job.ShardID
	err := c.shards(ctx, maxOps, func(part []job.ShardID) error {
		all = append(all, part...)
		return nil
	})
	return all, job.UID{}, err
}

// pauseHeldFrom returns from where on a pause holds, or its end.
func (c *Control) pauseHeldFrom(ctx context.Context, p Paused, at time.Time) time.Time {
	shards, uid, err := c.pausedShards(ctx, p)
	if err != nil {
		c.log.Warn("from when a pause holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return c.heldFrom(ctx, at, uid, shards...)
}

// tellHeld notes in results from where on they hold.
func (c *Control) tellHeld(ctx context.Context, changes []change) {
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = c.pauseHeldFrom(ctx, Paused{Scope: etcdkv.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = c.heldFrom(ctx, ch.at, ch.uid, ch.shard)
		}
	}
}
