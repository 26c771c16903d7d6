package apply

import (
	"cmp"
	"context"
	"fmt"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// maxVersionBytes bounds what is kept of a job's past: it goes into one transaction with
// the job itself, and stays until the tenth edit from now.
const maxVersionBytes = 128 << 10

// keepVersion keeps what a job was before an edit, in the place of what it was
// etcdkv.KeptVersions edits ago.
func (p *planner) keepVersion(ch *change, old *etcdkv.StoredJob) error {
	text, err := etcdkv.Encode(etcdkv.StoredVersion{Schema: etcdkv.Schema, Former: job.Former{
		Generation: old.Generation, ReplacedAt: p.now, UpdatedAt: old.UpdatedAt, AppliedBy: old.AppliedBy,
		Labels: old.Labels, Annotations: old.Annotations, Spec: old.Spec,
	}})
	if err != nil {
		return err
	}
	if len(text) > maxVersionBytes {
		ch.result.Warnings = append(ch.result.Warnings, fmt.Sprintf("it cannot be rolled back to generation %d: that has more than %d KiB, and is not kept", old.Generation, maxVersionBytes>>10))
		return nil
	}
	ch.Put(p.c.db.Keys.JobVersion(old.UID, old.Generation), text)
	return nil
}

// FormerObject is a job as it was, as a file would say it.
func (ap *Applier) FormerObject(ctx context.Context, key job.Key, generation int64) (manifest.Object, error) {
	at, err := ap.jobs.Locate(ctx, key)
	if err != nil {
		return manifest.Object{}, err
	}
	if at.KV == nil {
		return manifest.Object{}, jobstore.NoJob(key)
	}
	stored, err := store.Decode[etcdkv.StoredJob](at.KV)
	if err != nil {
		return manifest.Object{}, err
	}
	var kv *mvccpb.KeyValue
	if generation < stored.Generation {
		if kv, err = ap.db.Get(ctx, "read version of job "+key.String(), ap.db.Keys.JobVersion(stored.UID, generation)); err != nil {
			return manifest.Object{}, err
		}
	}
	none := fmt.Errorf("job %s has no version %d any more; it is at %d, and the last %d before that are kept: %w", key, generation, stored.Generation, etcdkv.KeptVersions, job.ErrNotFound)
	if kv == nil {
		return manifest.Object{}, none
	}
	v, err := store.Decode[etcdkv.StoredVersion](kv)
	if err != nil {
		return manifest.Object{}, err
	}
	if v.Generation != generation {
		return manifest.Object{}, none
	}
	return manifest.Object{
		Kind: job.KindJob, Spec: v.Spec,
		Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name, Labels: v.Labels, Annotations: v.Annotations},
	}, nil
}

// RollBack applies a job as it was. Defaults that its namespace has now are not filled in.
func (ap *Applier) RollBack(ctx context.Context, key job.Key, generation int64, o api.Order) (api.ApplyResult, error) {
	was, err := ap.FormerObject(ctx, key, generation)
	if err != nil {
		return api.ApplyResult{}, err
	}
	if problems := manifest.Validate(&was); len(problems) > 0 { // a release since then is stricter
		return api.ApplyResult{}, &job.InvalidError{Problems: problems}
	}
	r := caller.RequestOf(ctx)
	r.By = cmp.Or(r.By, o.By)
	ctx = caller.WithRequest(ctx, r)
	o.Reason = cmp.Or(o.Reason, r.Reason, fmt.Sprintf("rolled back to version %d", generation))
	for range store.Tries {
		changes, err := ap.planAs(ctx, []manifest.Object{was}, restoring)
		if err != nil {
			return api.ApplyResult{}, err
		}
		if changes[0].result.Action == api.ActionCreated {
			return api.ApplyResult{}, jobstore.NoJob(key) // deleted meanwhile
		}
		ok, err := ap.write(ctx, changes, "job.rollback", o)
		if err != nil {
			return api.ApplyResult{}, err
		}
		if ok {
			ap.tellHeld(ctx, changes)
			return changes[0].result, nil
		}
	}
	return api.ApplyResult{}, fmt.Errorf("roll back job %s: it keeps changing meanwhile: %w", key, job.ErrConflict)
}
