package catalog

import (
	"context"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Versions returns what a job was before its last edits, the newest first.
func (c *Catalog) Versions(ctx context.Context, key job.Key) ([]job.Former, error) {
	at, err := c.jobs.Locate(ctx, key)
	if err != nil {
		return nil, err
	}
	if at.KV == nil {
		return nil, jobstore.NoJob(key)
	}
	stored, err := store.Decode[etcdkv.StoredJob](at.KV)
	if err != nil {
		return nil, err
	}
	out := []job.Former{}
	err = c.db.List(ctx, "list versions of job "+key.String(), c.db.Keys.JobVersions(stored.UID), func(kv *mvccpb.KeyValue) error {
		if v, err := store.Decode[etcdkv.StoredVersion](kv); err == nil && v.Generation < stored.Generation {
			out = append(out, v.Former)
		}
		return nil // one that cannot be read is of a later release
	})
	slices.SortFunc(out, func(a, b job.Former) int { return int(b.Generation - a.Generation) })
	return out, err
}
