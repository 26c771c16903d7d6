package jobstore

import (
	"context"
	"fmt"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// HeldFrom returns from where on an edit holds that is stored, of a job, or of all
// where uid is zero: no occurrence after that instant is committed without it. What
// the shards have committed by now, they may have committed before it. Zero: it
// cannot be told now, and holds all the same.
func (f *Finder) HeldFrom(ctx context.Context, at time.Time, uid job.UID, shards ...job.ShardID) time.Time {
	return Committed{f: f}.HeldFrom(ctx, at, uid, shards...)
}

// Committed is what shards have committed, as far as that was looked at.
type Committed struct {
	f *Finder
	// last are, of shards, the last instants of jobs that may be yet to start; that of
	// the zero UID is the last of all. Nil: nothing is kept of it.
	last map[job.ShardID]map[job.UID]time.Time
}

// Committed returns what shards have committed; nothing was looked at yet.
func (f *Finder) Committed() Committed {
	return Committed{f: f, last: map[job.ShardID]map[job.UID]time.Time{}}
}

// HeldFrom is that of Finder; what shards have committed is read once.
func (k Committed) HeldFrom(ctx context.Context, at time.Time, uid job.UID, shards ...job.ShardID) time.Time {
	names := make([]string, len(shards))
	for i, s := range shards {
		names[i] = k.f.db.Keys.State(s)
	}
	kvs, err := k.f.db.GetAll(ctx, "read shards", names)
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
		at = Later(at, state.Cursor)
		if Later(state.Ahead, state.Beyond).After(at) {
			// The cursor does not speak of what a wrong clock had planned, before it
			// was set back, nor of what had its turn before others that were due.
			var last map[job.UID]time.Time
			last, err = k.of(ctx, shards[i])
			at = Later(at, last[uid])
		}
	}
	if err != nil {
		k.f.log.Warn("from when an edit holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return at.UTC()
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// of returns, by their jobs, the last instants that are committed in a shard and may be
// yet to start.
func (k Committed) of(ctx context.Context, shard job.ShardID) (map[job.UID]time.Time, error) {
	if last, ok := k.last[shard]; ok {
		return last, nil
	}
	last := map[job.UID]time.Time{}
	err := k.f.db.ListPages(ctx, "read shard "+shard.String(), k.f.db.Keys.Slots(shard), store.SlotPage, func(kv *mvccpb.KeyValue) error {
		slot, err := etcdkv.DecodeSlot(kv.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", kv.Key, err)
		}
		for i := range slot.Entries {
			e := &slot.Entries[i]
			starts := e.State == etcdkv.EntryOpen || e.State == etcdkv.EntryQueued
			if starts && e.Fire.Trigger == job.TriggerSchedule {
				last[e.Fire.Job] = Later(last[e.Fire.Job], e.Fire.Time())
				last[job.UID{}] = Later(last[job.UID{}], e.Fire.Time())
			}
		}
		return nil
	})
	if err == nil && k.last != nil {
		k.last[shard] = last
	}
	return last, err
}
