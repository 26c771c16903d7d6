package starts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Cancel has a run end, with the process trees of its commands. The run's
// record tells what came of it. Of a run that has ended with tasks of which nobody
// knows whether they still run, their minions are told to end them once they are
// connected; what they say then mends the record.
func (st *Starter) Cancel(ctx context.Context, id job.RunID, o api.Order) error {
	_, err := st.command(ctx, id, etcdkv.CommandCancel, "run.cancel", o)
	return err
}

// unknownTasks are those of a run that has ended of which nobody knows whether they
// still run.
func unknownTasks(run *job.Run) []job.TaskID {
	var out []job.TaskID
	for i := range run.Tasks {
		t := &run.Tasks[i]
		if t.State != job.StateIndeterminate || t.Minion == "" {
			continue
		}
		id := job.TaskID{Fire: run.FireID, Minion: t.Minion, Attempt: t.Attempt}
		if t.Share != "" {
			id.Fire.Share = job.ShareOf(t.Share)
		}
		out = append(out, id)
	}
	return out
}

// Promote has the rollout of a run go on from its canaries.
func (st *Starter) Promote(ctx context.Context, id job.RunID, o api.Order) error {
	run, err := st.runs.FindRun(ctx, id, job.Key{})
	if err != nil {
		return err
	}
	stored, _, err := st.jobs.Stored(ctx, run.Key())
	if err != nil {
		return err
	}
	// A rollout is that of its commit: the job may have been edited since.
	if stored.Spec.Rollout.Promote != job.PromoteManual && !run.CommittedAt.Before(stored.UpdatedAt) {
		return fmt.Errorf("run %s waits for nobody: its job has no rollout with promote: %s: %w", id, job.PromoteManual, job.ErrConflict)
	}
	goesOn := begin{requests: runOf(rights.Runs, &stored.Job), job: &stored.Job, params: run.Params}
	for i := range run.Tasks {
		goesOn.hosts = append(goesOn.hosts, run.Tasks[i].Minion)
	}
	if _, err := st.bounded(ctx, &goesOn); err != nil {
		return err
	}
	_, err = st.command(ctx, id, etcdkv.CommandPromote, "run.promote", o)
	return err
}

// command stores what somebody wants of an open run.
func (st *Starter) command(ctx context.Context, id job.RunID, kind etcdkv.RunCommandKind, action string, o api.Order) (job.Run, error) {
	run, err := st.runs.FindRun(ctx, id, job.Key{})
	if err == nil {
		err = ofItem(&run)
	}
	if err != nil {
		return run, err
	}
	now := st.db.Now().UTC()
	w := etcdkv.RunCommand{
		Schema: etcdkv.Schema, Kind: kind, Fire: run.FireID, Shard: run.Shard, By: caller.Of(ctx, o.By), Reason: o.Reason, At: now,
	}
	if run.State.Final() {
		if kind == etcdkv.CommandCancel {
			w.Tasks = unknownTasks(&run)
		}
		owned, err := st.hasOwners(ctx, run.Shard)
		if err != nil {
			return run, err
		}
		if len(w.Tasks) == 0 || !owned {
			return run, fmt.Errorf("run %s has ended already (%s): %w", id, run.State, job.ErrConflict)
		}
		w.Until = now.Add(st.longest(ctx, &run))
	}
	key := st.db.Keys.RunCommand(id, kind)
	text, err := etcdkv.Encode(w)
	if err != nil {
		return run, err
	}
	kv, err := st.db.Get(ctx, action, key)
	if err != nil || kv != nil {
		return run, err // somebody wants so already
	}
	return run, st.audit.Write(ctx, action, string(id), o, key, nil, clientv3.OpPut(key, text))
}

// ofItem refuses a run of an item of a queue: what is wanted of it goes by its queue.
func ofItem(run *job.Run) error {
	if !run.FireID.Job.IsQueue() {
		return nil
	}
	return fmt.Errorf("run %s is of %s; see `carillon queue cancel` and `carillon queue put`: %w", run.RunID, run.Cause, job.ErrConflict)
}

// hasOwners reports whether a shard is one that a node may own: a group's goes with
// its group.
func (st *Starter) hasOwners(ctx context.Context, s job.ShardID) (bool, error) {
	if int(s) < st.db.Meta.Shards {
		return true, nil
	}
	groups, err := st.cluster.GroupNames(ctx)
	if err != nil {
		return false, err
	}
	_, is := groups[s]
	return is, nil
}

// longest is how long a task of a run may run: as its job says today, or, if the job
// is gone or another one by now, the default.
func (st *Starter) longest(ctx context.Context, run *job.Run) time.Duration {
	stored, _, err := st.jobs.Stored(ctx, run.Key())
	if err != nil || stored.UID != run.FireID.Job {
		return job.DefaultTimeout
	}
	return stored.Spec.EffectiveTimeout()
}

// partOf returns the part to which a task belongs.
func partOf(t *job.Task) api.RedoPart {
	switch {
	case t.State == job.StateSucceeded:
		return api.RedoSucceeded
	case t.State == job.StateIndeterminate:
		return api.RedoIndeterminate
	case t.State.Started() || !t.StartedAt.IsZero():
		return api.RedoFailed
	}
	return api.RedoNotStarted
}

// Redo does a run again that has ended, with the same parameters, as its job is
// now: on all its minions, or on some of them. A run that is on one of several
// minions, or that had none, finds its minions anew.
func (st *Starter) Redo(ctx context.Context, id job.RunID, only []api.RedoPart, o api.Order) (api.Redo, error) {
	for _, p := range only {
		if !slices.Contains(api.RedoParts(), p) {
			return api.Redo{}, apiview.Invalid("only", fmt.Sprintf("%q is unknown; want some of %v", p, api.RedoParts()))
		}
	}
	run, err := st.runs.FindRun(ctx, id, job.Key{})
	if err == nil {
		err = ofItem(&run)
	}
	if err != nil {
		return api.Redo{}, err
	}
	if !run.State.Final() {
		return api.Redo{}, fmt.Errorf("run %s has not ended (%s); wait for it, or cancel it first: %w", id, run.State, job.ErrConflict)
	}
	stored, _, err := st.jobs.Stored(ctx, run.Key())
	if err != nil {
		return api.Redo{}, fmt.Errorf("redo run %s: %w", id, err)
	}
	if len(run.Sensitive) > 0 {
		return api.Redo{}, apiview.Invalid("params", fmt.Sprintf("run %s was started with values of sensitive parameters (%s), which are not kept; start the job anew, with these parameters: carillon run %s", id, strings.Join(run.Sensitive, ", "), run.Key()))
	}
	if stored.UID != run.FireID.Job {
		return api.Redo{}, fmt.Errorf("redo run %s: its job was deleted, and %s is another one: %w", id, run.Key(), job.ErrConflict)
	}
	v := api.Redo{Of: id, Minions: []job.MinionID{}}
	for i := range run.Tasks {
		if t := &run.Tasks[i]; len(only) == 0 || slices.Contains(only, partOf(t)) {
			v.Minions = append(v.Minions, t.Minion)
		}
	}
	if len(v.Minions) == 0 && len(only) > 0 && (len(run.Tasks) > 0 || !slices.Contains(only, api.RedoNotStarted)) {
		return v, fmt.Errorf("redo run %s: none of its %d minions is %s: %w", id, len(run.Tasks), partsText(only), job.ErrConflict)
	}
	if stored.Spec.Target.EffectiveRun() != job.SpreadAll {
		v.Minions = v.Minions[:0]
	}
	slices.Sort(v.Minions)
	v.Minions = slices.Compact(v.Minions)
	cause := "redo of run " + string(id)
	if len(only) > 0 {
		cause += ", where it was " + partsText(only)
	}
	if who := caller.Of(ctx, o.By); who != "" {
		cause += ", started by " + who
	}
	fire, err := st.start(ctx, run.Key(), job.TriggerRedo, etcdkv.Trigger{
		By: caller.Of(ctx, o.By), Subject: caller.Subject(ctx, o.By), Cause: cause, Params: run.Params, Redo: id, Hosts: v.Minions,
	}, asked{order: &order{action: "run.redo", object: string(id), kind: rights.Runs, Order: o}})
	v.RunID, v.FireID = fire.RunID(), fire
	return v, err
}

func partsText(parts []api.RedoPart) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = string(p)
	}
	return strings.Join(words, " or ")
}
