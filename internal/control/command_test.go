package control

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestCancelOfARunThatHasEnded: of a run of which nobody knows whether it still runs,
// the minions that may run it are named to the owner; a run that has ended for sure, or
// whose shard is nobody's any more, cannot be cancelled.
func TestCancelOfARunThatHasEnded(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("x", func(o *manifest.Object) { o.Spec.Timeout = job.Duration(3 * time.Hour) }))
	at := e.now().Add(-20 * time.Minute)
	run := someRun(e.storedJob(t, "x").UID, "x", at, job.StateFailed)
	run.Shard = 3
	run.Tasks = []job.Task{
		{Minion: "m1", Attempt: 1, State: job.StateFailed},
		{Minion: "m2", Attempt: 2, State: job.StateIndeterminate},
		{Minion: "m3", Attempt: 1, State: job.StateIndeterminate, Share: "n2"},
	}
	e.runs.end(run)
	if err := e.Cancel(t.Context(), run.RunID, api.Order{By: "ada", Reason: "wrong"}); err != nil {
		t.Fatal(err)
	}
	kv, err := e.db.Get(t.Context(), "test", e.keys.RunCommand(run.RunID, etcdkv.CommandCancel))
	if err != nil || kv == nil {
		t.Fatalf("no command: %v", err)
	}
	got, err := store.Decode[etcdkv.RunCommand](kv)
	shared := run.FireID
	shared.Share = job.ShareOf("n2")
	want := etcdkv.RunCommand{
		Schema: etcdkv.Schema, Kind: etcdkv.CommandCancel, Fire: run.FireID, Shard: 3, By: "ada", Reason: "wrong", At: e.now(),
		Tasks: []job.TaskID{{Fire: run.FireID, Minion: "m2", Attempt: 2}, {Fire: shared, Minion: "m3", Attempt: 1}}, Until: e.now().Add(3 * time.Hour),
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}

	known := run
	known.FireID.At++
	known.RunID, known.Tasks = known.FireID.RunID(), run.Tasks[:1]
	e.runs.end(known)
	orphan := run
	orphan.FireID.At += 2
	orphan.RunID, orphan.Shard = orphan.FireID.RunID(), job.FirstGroupShard+7
	e.runs.end(orphan)
	for _, r := range []job.Run{known, orphan} {
		if err := e.Cancel(t.Context(), r.RunID, api.Order{}); !errors.Is(err, job.ErrConflict) {
			t.Errorf("run %s: %v, want that it has ended", r.RunID, err)
		}
	}
}
