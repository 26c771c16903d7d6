package starts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// passingFor is how long a job is kept that was made for one run: so long the
// run can be done again.
const passingFor = 24 * time.Hour

// Exec runs a command once on the minions that its target matches: it makes a
// job for that, which goes after a day, and starts it. File and data are a
// manifest with one job; its name is not used. The error is job.ErrNoMinions
// when nothing matches, and a *minions.AllAwayError when none that matches takes orders:
// nothing is made then. Nor is it when the target spells out names that no minion
// has, unless req allows that.
func (st *Starter) Exec(ctx context.Context, file string, data []byte, req api.StartRequest) (api.Exec, error) {
	if err := checkParams(req.Params); err != nil {
		return api.Exec{}, err
	}
	objects, err := st.apply.Objects(file, data)
	if err != nil {
		return api.Exec{}, err
	}
	o := &objects[0]
	switch {
	case len(objects) != 1 || o.Kind != job.KindJob:
		return api.Exec{}, apiview.Invalid("kind", "one document with kind: "+job.KindJob+" is wanted, and nothing else")
	case len(o.Spec.Schedules) > 0 || o.Spec.After != nil || o.Spec.Watch != nil || o.Spec.OnStart || o.Spec.Webhook != nil:
		return api.Exec{}, apiview.Invalid("spec", "has a schedule or another condition; what is run once has none")
	case o.Spec.Group != "":
		return api.Exec{}, apiview.Invalid("spec.group", "is for jobs that are kept; what is run once is in no group")
	}
	problems, err := st.apply.BadTargets(ctx, objects)
	if err != nil {
		return api.Exec{}, err
	}
	if len(problems) > 0 {
		return api.Exec{}, &job.InvalidError{Problems: problems}
	}
	index, err := st.definitions.IndexScripts(ctx, o.Spec.ScriptRefs(o.Metadata.Namespace))
	if err != nil {
		return api.Exec{}, err
	}
	plain, sensitive, err := index.CheckStart(o.Metadata.Namespace, &o.Spec, req.Params)
	if err != nil {
		return api.Exec{}, err
	}
	req.Params = job.GivenParams(plain, sensitive)
	if problems := o.Spec.CheckStart(req.Params); len(problems) > 0 {
		return api.Exec{}, &job.InvalidError{Problems: problems}
	}
	found, err := st.minions.MatchTarget(ctx, o.Spec.Target)
	if err != nil {
		return api.Exec{}, err
	}
	switch {
	case len(found.Minions)+len(found.Uncontrollable) == 0:
		return api.Exec{}, job.ErrNoMinions
	case found.Missing != "" && !req.AllowMissing:
		return api.Exec{}, apiview.Invalid("spec.target.match", fmt.Sprintf("no minion is known by the name of %s; correct the target, or allow names to be missing (--allow-missing)", found.Missing))
	case len(found.Minions) == 0:
		return api.Exec{}, &minions.AllAwayError{Minions: found.Uncontrollable}
	}
	asked := job.Job{Metadata: o.Metadata, Spec: o.Spec}
	if asked.Bounds, err = st.bounded(ctx, &begin{requests: execOf(&asked.Metadata), job: &asked, params: req.Params}); err != nil {
		return api.Exec{}, err
	}
	if err := st.apply.RoomForJobs(ctx); err != nil {
		return api.Exec{}, err
	}
	fire, key, err := st.MakePassing(ctx, &asked, index, req)
	if err != nil {
		return api.Exec{}, err
	}
	found.RunID, found.FireID, found.Job = fire.RunID(), fire, key
	var set target.NodeSet // the run is under way: to fold the names of very many takes a while
	for _, m := range found.Minions {
		set.Add(string(m))
	}
	found.Hosts = set.String()
	st.log.Info("command started", zap.Stringer("fire", fire), zap.String("by", caller.Of(ctx, req.By)), zap.Int("minions", len(found.Minions)))
	return found, nil
}

// commanded is what the audit tells of a command that is run once.
type commanded struct {
	started
	Spec *job.Spec `json:"job"`
}

// MakePassing stores a job that is for one run, and the run's trigger, unless a
// script has gone that it names.
func (st *Starter) MakePassing(ctx context.Context, asked *job.Job, index *definitions.ScriptIndex, req api.StartRequest) (job.FireID, job.Key, error) {
	meta, spec := asked.Metadata, &asked.Spec
	plain, sensitive, err := index.CheckStart(meta.Namespace, spec, req.Params)
	if err != nil {
		return job.FireID{}, job.Key{}, err
	}
	uid, err := job.NewUID()
	if err != nil {
		return job.FireID{}, job.Key{}, err
	}
	now := st.db.Now().UTC()
	text := uid.String()
	meta.Name = "exec-" + text[len(text)-12:]
	key := meta.Key()
	stored := etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{
		Metadata: meta, Spec: *spec, UID: uid, Generation: 1, After: now, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(passingFor), Bounds: asked.Bounds,
		AppliedBy: caller.Subject(ctx, req.By),
	}}
	shard := st.jobs.HashShard(key)
	fire := job.FireID{Job: uid, At: now.UnixNano(), Trigger: job.TriggerManual}
	var d store.Txn
	for _, p := range []struct {
		key   string
		value any
	}{
		{st.db.Keys.Job(shard, key), stored},
		{st.db.Keys.PassingJob(uid), etcdkv.Passing{Schema: etcdkv.Schema, Key: key, Job: uid, ExpiresAt: stored.ExpiresAt}},
		{st.db.Keys.Trigger(shard, fire), etcdkv.Trigger{Schema: etcdkv.Schema, Key: key, Fire: fire, By: caller.Of(ctx, req.By), Subject: caller.Subject(ctx, req.By), Params: plain, Sensitive: sensitive}},
	} {
		value, err := etcdkv.Encode(p.value)
		if err != nil {
			return fire, key, err
		}
		d.StillThere(p.key, 0)
		d.Put(p.key, value)
	}
	index.Use(&d, st.db.Keys, spec.ScriptRefs(meta.Namespace))
	if text := definitions.LargeText(spec.Script); text != "" {
		d.Put(st.db.Keys.Blob(job.ScriptSum(text)), text)
	}
	o := order{action: "exec", object: "job " + key.String(), Order: api.Order{By: req.By}}
	if err := st.record(ctx, &d, &o, struct{}{}, commanded{started: started{Run: fire.RunID(), Params: job.MaskedParams(plain, sensitive)}, Spec: spec}); err != nil {
		return fire, key, err
	}
	ok, err := st.db.Commit(ctx, "start command", &d)
	if err == nil && !ok {
		err = fmt.Errorf("start command: a script that it names was changed or deleted meanwhile; try again: %w", job.ErrConflict)
	}
	return fire, key, err
}

// SweepPassing removes jobs that were made for one run, once they are due to go and
// none of their runs is open.
func (st *Starter) SweepPassing(ctx context.Context) error {
	all, err := store.ListAll[etcdkv.Passing](ctx, st.db, "list commands that were run", st.db.Keys.PassingJobs())
	if err != nil {
		return err
	}
	for i := range all {
		p := &all[i]
		if st.db.Now().Before(p.ExpiresAt) {
			continue
		}
		if live, missing, err := st.runs.LiveRuns(ctx, p.Key.Namespace, p.Key.Name); err != nil || len(missing) > 0 || len(live) > 0 {
			continue
		}
		if err := st.removePassing(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// removePassing removes a job that was made for one run.
func (st *Starter) removePassing(ctx context.Context, p *etcdkv.Passing) error {
	stored, at, err := st.jobs.Stored(ctx, p.Key)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return err // the job is there, perhaps: it would be forgotten
	}
	var d store.Txn
	if err == nil && stored.UID == p.Job {
		d.StillThere(string(at.KV.Key), at.KV.CreateRevision)
		d.Remove(string(at.KV.Key))
		if err := st.jobs.LeaveRecord(&d, at, &stored); err != nil {
			return err
		}
	}
	d.Remove(st.db.Keys.PassingJob(p.Job))
	_, err = st.db.Commit(ctx, "remove "+p.Key.String(), &d)
	return err
}
