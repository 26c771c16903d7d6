package control

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// pausedShards returns the shards of what is paused, and which job it is; zero: there
// are several.
func (c *Control) pausedShards(ctx context.Context, p api.Paused) ([]job.ShardID, job.UID, error) {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case api.ScopeJob:
		at, err := c.Locate(ctx, key)
		if err != nil {
			return nil, job.UID{}, err
		}
		if at.KV == nil {
			return nil, job.UID{}, jobstore.NoJob(key)
		}
		stored, err := store.Decode[etcdkv.StoredJob](at.KV)
		if err != nil {
			stored.UID = job.UID{} // it is paused as it is, and so as all of its shard
		}
		return []job.ShardID{at.Shard}, stored.UID, nil
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
	return c.HeldFrom(ctx, at, uid, shards...)
}

// tellHeld notes in results from where on they hold.
func (c *Control) tellHeld(ctx context.Context, changes []change) {
	known := c.Committed()
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = c.pauseHeldFrom(ctx, api.Paused{Scope: api.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = known.HeldFrom(ctx, ch.at, ch.uid, ch.shard)
		}
	}
}
