package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// lastRuns is how many ended runs a JobView shows.
const lastRuns = 5

// Jobs returns the jobs that q selects, ordered by namespace and name. Their
// Last comes from the latest MaxRunLimit runs of all jobs in the namespace: a
// job whose last run is older than those shows none. Use Job for one job.
func (c *Catalog) Jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	views := []api.Job{}
	from := map[job.UID]job.ShardID{}
	err := c.db.List(ctx, "list jobs", c.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		shard, key, err := c.db.Keys.ParseJob(string(kv.Key))
		if err == nil && q.Namespace != "" && key.Namespace != q.Namespace {
			return nil
		}
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err != nil {
			// One damaged value must not hide all others.
			c.log.Warn("job unreadable", zap.Error(err))
			return nil
		}
		if hasLabels(stored.Labels, q.Labels) && (q.Passing || stored.ExpiresAt.IsZero()) {
			views = append(views, c.view(&stored.Job, shard))
			if stored.MovedFrom != nil {
				from[stored.UID] = *stored.MovedFrom
			}
		}
		return nil
	})
	if err != nil || len(views) == 0 {
		return views, err
	}
	if err := c.addAsides(ctx, views); err != nil {
		return nil, err
	}
	if err := c.addNext(ctx, views); err != nil {
		return nil, err
	}
	if err := c.addRunning(ctx, q.Namespace, "", views, from); err != nil {
		return nil, err
	}
	if err := c.addLast(ctx, history.Query{Namespace: q.Namespace, Limit: api.MaxRunLimit}, views); err != nil {
		return nil, err
	}
	slices.SortFunc(views, func(a, b api.Job) int { return a.Key().Compare(b.Key()) })
	return views, nil
}

// Job returns one job.
func (c *Catalog) Job(ctx context.Context, key job.Key) (api.Job, error) {
	stored, at, err := c.jobs.Stored(ctx, key)
	if err != nil {
		return api.Job{}, err
	}
	views := []api.Job{c.view(&stored.Job, at.Shard)}
	if err := c.addAsides(ctx, views); err != nil {
		return api.Job{}, err
	}
	if err := c.addNext(ctx, views); err != nil {
		return api.Job{}, err
	}
	from := map[job.UID]job.ShardID{}
	if stored.MovedFrom != nil {
		from[stored.UID] = *stored.MovedFrom
	}
	if err := c.addRunning(ctx, key.Namespace, key.Name, views, from); err != nil {
		return api.Job{}, err
	}
	q := history.Query{Namespace: key.Namespace, Job: key.Name, UID: stored.UID, Limit: lastRuns}
	if err := c.addLast(ctx, q, views); err != nil {
		return api.Job{}, err
	}
	return views[0], nil
}

// Delete removes a job. Its runs in flight go on, and its history stays. It returns
// from where on that holds: no occurrence after it is committed.
func (c *Catalog) Delete(ctx context.Context, key job.Key) (time.Time, error) {
	for range store.Tries {
		at, err := c.jobs.Locate(ctx, key)
		if err != nil {
			return time.Time{}, err
		}
		if at.KV == nil {
			return time.Time{}, jobstore.NoJob(key)
		}
		now, edits := c.db.Now(), c.db.Keys.Edits(at.Shard)
		var d store.Txn
		d.StillThere(string(at.KV.Key), at.KV.CreateRevision)
		d.Remove(string(at.KV.Key))
		d.Do(edits, c.db.Edited(edits))
		d.Remove(c.db.Keys.GroupedJob(key))
		d.Remove(c.db.Keys.Pause(etcdkv.ScopeJob, key.Namespace, key.Name))
		var uid job.UID
		if stored, err := store.Decode[etcdkv.StoredJob](at.KV); err == nil { // else it goes as it is
			uid = stored.UID
			if err := caller.Unchanged(ctx, "job "+key.String(), stored.Generation); err != nil {
				return time.Time{}, err
			}
			if err := c.jobs.LeaveRecord(&d, at, &stored); err != nil {
				return time.Time{}, err
			}
			c.jobs.Unchain(&d, key, &stored.Spec)
			d.Remove(c.db.Keys.Watched(stored.UID))
			d.Clear(c.db.Keys.JobVersions(stored.UID))
			d.Clear(c.db.Keys.HostStarts(stored.UID))
		}
		if err := c.audit.AddDelete(ctx, &d, "job", key.String(), at.KV); err != nil {
			return time.Time{}, err
		}
		ok, err := c.db.Commit(ctx, "delete job "+key.String(), &d)
		if err != nil {
			return time.Time{}, err
		}
		if ok {
			c.log.Info("job deleted", zap.Stringer("job", key))
			return c.jobs.HeldFrom(ctx, now, uid, at.Shard), nil
		}
	}
	return time.Time{}, fmt.Errorf("delete job %s: it keeps moving meanwhile: %w", key, job.ErrConflict)
}

// view returns the job with its schedule in words.
func (c *Catalog) view(j *job.Job, shard job.ShardID) api.Job {
	v := api.Job{Job: *j, Shard: shard, Words: []string{}, Last: []job.Run{}}
	if len(j.Spec.Schedules) == 0 {
		return v
	}
	set, err := c.jobs.SetOf(j)
	if err != nil {
		// Stored by a release that knew more: say so where the words stand.
		v.Words = append(v.Words, "cannot be read: "+err.Error())
		return v
	}
	v.Words = set.Words()
	return v
}

// addRunning counts the runs of each job that run, and those that wait. from are the shards that jobs
// were moved out of: runs may be open there, too.
func (c *Catalog) addRunning(ctx context.Context, namespace, name string, views []api.Job, from map[job.UID]job.ShardID) error {
	live, missing, err := c.runs.LiveRuns(ctx, namespace, name)
	if err != nil {
		return err
	}
	unknown := map[job.ShardID]bool{}
	for _, m := range missing {
		for _, s := range m.Shards {
			unknown[s] = true
		}
	}
	running, waiting := map[job.UID]int{}, map[job.UID]int{}
	for i := range live {
		switch {
		case live[i].State == job.StateRunning:
			running[live[i].FireID.Job]++
		case !live[i].State.Final():
			waiting[live[i].FireID.Job]++
		}
	}
	for i := range views {
		before, moved := from[views[i].UID]
		views[i].Running, views[i].Waiting = running[views[i].UID], waiting[views[i].UID]
		views[i].RunningUnknown = unknown[views[i].Shard] || moved && unknown[before]
	}
	return nil
}

// addLast gives each job its latest ended runs out of one page of history.
func (c *Catalog) addLast(ctx context.Context, q history.Query, views []api.Job) error {
	page, err := c.history.List(ctx, q)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return fmt.Errorf("last runs: %w", err)
	}
	index := make(map[job.UID]int, len(views))
	for i := range views {
		index[views[i].UID] = i
	}
	for i := range page.Runs {
		at, wanted := index[page.Runs[i].FireID.Job]
		if wanted && len(views[at].Last) < lastRuns {
			views[at].Last = append(views[at].Last, withoutOutput(page.Runs[i]))
		}
	}
	return nil
}

// withoutOutput returns the run without what its tasks wrote.
func withoutOutput(r job.Run) job.Run {
	r.Tasks = slices.Clone(r.Tasks)
	for i := range r.Tasks {
		r.Tasks[i].Stdout.Head, r.Tasks[i].Stdout.Tail = "", ""
		r.Tasks[i].Stderr.Head, r.Tasks[i].Stderr.Tail = "", ""
	}
	return r
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// addAsides tells of each job whether it is set aside.
func (c *Catalog) addAsides(ctx context.Context, views []api.Job) error {
	asides, err := store.ListAll[etcdkv.Aside](ctx, c.db, "list jobs that are set aside", c.db.Keys.Asides())
	if err != nil || len(asides) == 0 {
		return err
	}
	of := make(map[job.Key]*etcdkv.Aside, len(asides))
	for i := range asides {
		of[job.Key{Namespace: asides[i].Namespace, Name: asides[i].Name}] = &asides[i]
	}
	for i := range views {
		if a := of[views[i].Key()]; a != nil && (a.Job.IsZero() || a.Job == views[i].UID) {
			views[i].Aside = apiview.Aside(a)
		}
	}
	return nil
}
