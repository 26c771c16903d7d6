package control

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestPassingJobIsRemovedAsAWhole: the note that a job is to go stays until the
// job can be removed.
func TestPassingJobIsRemovedAsAWhole(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := job.Key{Namespace: "ops", Name: "exec-1"}
	p := etcdkv.Passing{Schema: 1, Key: key, Job: job.UID{1}}
	e.put(t, e.keys.PassingJob(p.Job), p)
	e.put(t, e.jobKey(key), "what no release can read")
	left := func() int64 {
		n := int64(0)
		for _, k := range []string{e.keys.PassingJob(p.Job), e.jobKey(key)} {
			resp, err := e.cli.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			n += resp.Count
		}
		return n
	}
	if err := e.SweepPassing(t.Context()); err == nil || left() != 2 {
		t.Errorf("%v, and %d of 2 keys are left", err, left())
	}
	e.put(t, e.jobKey(key), etcdkv.StoredJob{Schema: 1, Job: job.Job{Metadata: job.Metadata{Namespace: "ops", Name: "exec-1"}, UID: p.Job}})
	if err := e.SweepPassing(t.Context()); err != nil || left() != 0 {
		t.Errorf("%v, and %d keys are left", err, left())
	}
	e.put(t, e.keys.PassingJob(p.Job), p) // its job was deleted by hand
	if err := e.SweepPassing(t.Context()); err != nil || left() != 0 {
		t.Errorf("%v, and %d keys are left of one whose job is gone", err, left())
	}
}

// TestPromoteIsOfTheRunsRollout: whether a run waits for somebody follows from
// the job as it was at the run's commit, which edits do not change.
func TestPromoteIsOfTheRunsRollout(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j"))
	stored := e.storedJob(t, "j")
	run := someRun(stored.UID, "j", e.now(), job.StateRunning)
	run.CommittedAt = stored.UpdatedAt.Add(time.Second)
	e.runs.live = []job.Run{run}
	if err := e.Promote(t.Context(), run.RunID, api.Order{}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("a run that waits for nobody: %v", err)
	}
	e.runs.live[0].CommittedAt = stored.UpdatedAt.Add(-time.Second)
	if err := e.Promote(t.Context(), run.RunID, api.Order{}); err != nil {
		t.Errorf("a run that is older than the job's spec: %v", err)
	}
}

// TestResultsTellEveryShare: the shares of nodes on one minion are tasks of their
// own.
func TestResultsTellEveryShare(t *testing.T) {
	t.Parallel()
	e := setup(t)
	run := someRun(job.UID{1}, "j", e.now(), job.StateSucceeded)
	for _, share := range []job.NodeID{"n1", "n2"} {
		run.Tasks = append(run.Tasks, job.Task{Minion: "m1", Share: share, Attempt: 1, State: job.StateSucceeded})
	}
	e.runs.end(run)
	var told []job.NodeID
	if err := e.Results(t.Context(), run.RunID, func(r api.Result) error {
		if r.Task != nil {
			told = append(told, r.Task.Share)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]job.NodeID{"n1", "n2"}, told); d != "" {
		t.Errorf("told of (-want +got):\n%s", d)
	}
}
