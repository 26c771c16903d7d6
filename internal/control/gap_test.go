package control

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// gap makes the open runs of a shard's owner unknown, and those of nobody, known.
func (e *env) gap(shards ...job.ShardID) {
	e.runs.mu.Lock()
	defer e.runs.mu.Unlock()
	e.runs.missing = nil
	if len(shards) > 0 {
		e.runs.missing = []api.MissingRuns{{Node: "n2", Shards: shards}}
	}
}

// TestRunThatMayBeOpenIsNotUnknown: a run that is in no part of the list is not
// found only if the list has all parts. Else nobody knows, and says whose word is
// missing.
func TestRunThatMayBeOpenIsNotUnknown(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := someRun(job.UID{1}, "a", e.now(), job.StateRunning).RunID
	if _, err := e.Run(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("all is known: %v", err)
	}
	e.gap(1, 2)
	for what, err := range map[string]error{
		"run":    errOf(e.Run(t.Context(), id)),
		"cancel": e.Cancel(t.Context(), id, api.Order{}),
		"redo":   errOf(e.Redo(t.Context(), id, nil, api.Order{})),
		"output": e.Output(t.Context(), id, "", false, nil),
		"result": e.Results(t.Context(), id, nil),
	} {
		if errors.Is(err, job.ErrNotFound) || !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "2 shards of node n2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What is in history, or waits for its owner, is found whoever is silent.
	e.runs.end(someRun(job.UID{1}, "a", e.now(), job.StateSucceeded))
	if r, err := e.Run(t.Context(), id); err != nil || r.State != job.StateSucceeded {
		t.Errorf("%v, %v", r.State, err)
	}
	fire := job.FireID{Job: job.UID{7}, At: e.now().UnixNano(), Trigger: job.TriggerManual}
	e.put(t, e.keys.Trigger(3, fire), etcdkv.Trigger{Schema: 1, Fire: fire, Key: job.Key{Namespace: "ops", Name: "b"}})
	if r, err := e.Run(t.Context(), fire.RunID()); err != nil || r.Reason != runs.ReasonWaiting {
		t.Errorf("%v, %v", r.Reason, err)
	}
}

// TestResultsBearAGap: who follows a run is told that nobody knows how it is, and
// goes on when somebody does. A gap that lasts is an error.
func TestResultsBearAGap(t *testing.T) {
	t.Parallel()
	e := setup(t)
	r := someRun(job.UID{1}, "a", e.now(), job.StateRunning)
	e.runs.begin(r)
	var told []string
	err := e.Results(t.Context(), r.RunID, func(res api.Result) error {
		switch {
		case res.Run != nil:
			told = append(told, string(res.Run.State))
		case res.Progress != nil && res.Progress.State.Final():
		case res.Progress != nil && res.Progress.Reason == "": // it is open: now its owner goes
			told = append(told, string(res.Progress.State))
			e.gap(1)
			e.runs.mu.Lock()
			e.runs.live = nil
			e.runs.mu.Unlock()
		case res.Progress != nil:
			told = append(told, res.Progress.Reason)
			e.gap()
			r.State = job.StateSucceeded
			e.runs.end(r)
		}
		return nil
	})
	if err != nil || len(told) != 3 || told[0] != "running" || !strings.Contains(told[1], "is not known: ") || told[2] != "succeeded" {
		t.Errorf("%q, %v", told, err)
	}
	e.gap(1)
	e.runs.ended = nil
	s := runs.Sighting{Run: r, Gap: "not known", Since: time.Now().Add(-runs.BearUnknown - time.Second)}
	if err := e.LookAgain(t.Context(), &s); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("nothing was known for long: %v", err)
	}
}

// TestFireOfWhichNothingIsKnown: that there is no record of an instant means nothing
// while a run of it may be open where nobody tells. Other shards do not matter.
func TestFireOfWhichNothingIsKnown(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	key := job.Key{Namespace: "ops", Name: "a"}
	shard := e.HashShard(key)
	at := e.now()
	verdict := func(want api.Verdict, missing int) {
		t.Helper()
		v, err := e.Fire(t.Context(), key, at)
		if err != nil || v.Verdict != want || len(v.Missing) != missing {
			t.Errorf("%s, %d missing, %q, %v; want %s, %d", v.Verdict, len(v.Missing), v.Why, err, want, missing)
		}
		if said := slices.ContainsFunc(v.Why, func(s string) bool { return strings.Contains(s, "of node n2") }); said != (missing > 0) {
			t.Errorf("why: %q", v.Why)
		}
	}
	all, err := e.Fire(t.Context(), key, at)
	if err != nil || all.Verdict == api.VerdictUnknown {
		t.Fatalf("%+v, %v", all, err)
	}
	e.gap((shard + 1) % testShards)
	verdict(all.Verdict, 0)
	e.gap(shard)
	verdict(api.VerdictUnknown, 1)
	e.runs.end(someRun(e.storedJob(t, "a").UID, "a", at, job.StateSucceeded))
	verdict(api.VerdictRecorded, 1)

	gone := job.Key{Namespace: "ops", Name: "gone"}
	if _, err := e.Fire(t.Context(), gone, at); errors.Is(err, job.ErrNotFound) || !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a job that is deleted: %v", err)
	}
}

// TestRunningOfAMovedJob: what runs of a job is not known while the owner of the
// shard that it was moved out of does not tell.
func TestRunningOfAMovedJob(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	stored := e.storedJob(t, "a")
	before := job.ShardID((uint32(e.HashShard(stored.Key())) + 1) % testShards)
	stored.MovedFrom = &before
	e.put(t, e.jobKey(stored.Key()), stored)
	for _, missing := range [][]job.ShardID{nil, {before}, {(before + 1) % testShards}} {
		e.gap(missing...)
		want := len(missing) > 0 && missing[0] != (before+1)%testShards || len(missing) > 0 && missing[0] == e.HashShard(stored.Key())
		one, err := e.Job(t.Context(), stored.Key())
		if err != nil || one.RunningUnknown != want {
			t.Errorf("without %v: unknown %v, %v", missing, one.RunningUnknown, err)
		}
		all, err := e.Jobs(t.Context(), api.JobQuery{})
		if err != nil || len(all) != 1 || all[0].RunningUnknown != want {
			t.Errorf("without %v, listed: %+v, %v", missing, all, err)
		}
	}
}

// TestMinionsAreToldWhole: a node that has not read all minions tells of none, and
// starts no command on some of those that match.
func TestMinionsAreToldWhole(t *testing.T) {
	t.Parallel()
	read := false
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "web1", Node: "n1"}}
		d.MinionsRead = func() bool { return read }
	})
	e.put(t, e.keys.Minion("web1"), etcdkv.StoredMinion{Schema: 1, ID: "web1"})
	e.put(t, e.keys.PresenceBucket("n1", 0), etcdkv.Presence{Minions: []etcdkv.PresentMinion{{ID: "web1", Session: 1}}})
	ask := func() map[string]error {
		return map[string]error{
			"minions": errOf(e.Minions(t.Context())),
			"minion":  errOf(e.Minion(t.Context(), "web1")),
			"match":   errOf(e.MatchMinions(t.Context(), "web*")),
			"target":  errOf(e.MatchTarget(t.Context(), job.Target{Match: "web*"})),
			"all":     errOf(e.MatchTarget(t.Context(), job.Target{})),
			"forget":  e.ForgetMinion(t.Context(), "web1", api.Order{}),
		}
	}
	for what, err := range ask() {
		if !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	told := func() []api.Check {
		checks, err := e.Doctor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(checks, func(c api.Check) bool { return !strings.Contains(c.Detail, "has not read all minions") })
	}
	if checks := told(); len(checks) != 1 || checks[0].Name != "minions" || checks[0].Status != api.CheckWarn {
		t.Errorf("the doctor says %+v", checks)
	}
	read = true
	if checks := told(); len(checks) != 0 {
		t.Errorf("when all are read the doctor says %+v", checks)
	}
	for what, err := range ask() {
		if errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s, when all are read: %v", what, err)
		}
	}
}

// errOf returns the error of what returns a value, too.
func errOf[T any](_ T, err error) error { return err }
