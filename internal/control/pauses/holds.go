package pauses

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
func (pz *Pauser) pausedShards(ctx context.Context, p api.Paused) ([]job.ShardID, job.UID, error) {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case api.ScopeJob:
		at, err := pz.jobs.Locate(ctx, key)
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
		g, _, err := pz.cluster.StoredGroup(ctx, key)
		return []job.ShardID{g.Shard}, job.UID{}, err
	case api.ScopeNamespace, api.ScopeAll:
	}
	var all []job.ShardID
	err := pz.db.Shards(ctx, store.MaxOps, func(part []job.ShardID) error {
		all = append(all, part...)
		return nil
	})
	return all, job.UID{}, err
}

// PauseHeldFrom returns from where on a pause holds, or its end.
func (pz *Pauser) PauseHeldFrom(ctx context.Context, p api.Paused, at time.Time) time.Time {
	shards, uid, err := pz.pausedShards(ctx, p)
	if err != nil {
		pz.log.Warn("from when a pause holds cannot be told", zap.Error(err))
		return time.Time{}
	}
	return pz.jobs.HeldFrom(ctx, at, uid, shards...)
}
