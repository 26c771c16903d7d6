package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/job"
)

// bare returns a Control for what needs no etcd.
func bare(runs *fakeRuns) *Control {
	return justRuns(runs, nil, 0)
}

func TestRunsRefusesBadQueries(t *testing.T) {
	t.Parallel()
	c := bare(&fakeRuns{})
	for _, tc := range []struct {
		q    api.RunQuery
		path string
	}{
		{api.RunQuery{Limit: -1}, "limit"},
		{api.RunQuery{Limit: api.MaxRunLimit + 1}, "limit"},
		{api.RunQuery{State: "dead"}, "state"},
		{api.RunQuery{Cursor: "x"}, "cursor"},
		{api.RunQuery{Cursor: "e30~1.abcd-0123456789abcdef"}, "cursor"},
	} {
		_, err := c.Runs(t.Context(), tc.q)
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) || invalid.Problems[0].Path != tc.path {
			t.Errorf("%+v: got %v", tc.q, err)
		}
	}
	page, err := c.Runs(t.Context(), api.RunQuery{})
	if err != nil || page.Runs == nil || len(page.Runs) != 0 || page.NextCursor != "" {
		t.Errorf("nothing at all: %+v, %v", page, err)
	}
}

// TestI5_PagesNeitherRepeatNorLose: while pages are read, runs begin, and runs
// in flight end. Whatever was there from the first page on is shown once, in
// order, and nothing is shown twice.
func TestI5_PagesNeitherRepeatNorLose(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		runs := &fakeRuns{}
		// Few instants, so that many runs share one.
		at := func(label string) time.Time {
			return start.Add(time.Duration(rapid.IntRange(0, 6).Draw(rt, label)) * time.Second)
		}
		made := 0
		next := func() job.Run {
			made++
			return someRun(job.UID{byte(made), byte(made >> 8)}, "a", at("at"), job.StateRunning)
		}
		all := map[job.RunID]bool{}
		for range rapid.IntRange(0, 40).Draw(rt, "runs") {
			r := next()
			all[r.RunID] = true
			switch rapid.IntRange(0, 4).Draw(rt, "where") {
			case 0:
				runs.begin(r)
			case 1: // about to leave the view of those in flight
				r.State = job.StateSucceeded
				runs.end(r)
				r.State = job.StateRunning
				runs.begin(r)
			default:
				r.State = job.StateSucceeded
				runs.end(r)
			}
		}
		c := bare(runs)
		limit := rapid.IntRange(1, 7).Draw(rt, "limit")
		seen := map[job.RunID]bool{}
		var last history.Position
		q := api.RunQuery{Limit: limit}
		for pages := 0; ; pages++ {
			if pages > 200 {
				rt.Fatal("pages without end")
			}
			page, err := c.Runs(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			if page.NextCursor != "" && len(page.Runs) != limit {
				rt.Fatalf("a page of %d that is not the last, limit %d", len(page.Runs), limit)
			}
			for i := range page.Runs {
				r := &page.Runs[i]
				if seen[r.RunID] {
					rt.Fatalf("%s is shown twice", r.RunID)
				}
				seen[r.RunID] = true
				if last.ID != "" && history.PositionOf(r).Compare(last) <= 0 {
					rt.Fatalf("%s is out of order", r.RunID)
				}
				last = history.PositionOf(r)
				if _, err := runs.Get(t.Context(), r.RunID); err == nil && !r.State.Final() {
					rt.Fatalf("%s has a final record, and is shown as %s", r.RunID, r.State)
				}
			}
			if page.NextCursor == "" {
				break
			}
			q.Cursor = page.NextCursor
			live, err := runs.LiveRuns(t.Context(), "", "")
			if err != nil {
				rt.Fatal(err)
			}
			for _, r := range live {
				if rapid.Bool().Draw(rt, "ends") {
					r.State = job.StateFailed
					runs.end(r)
				}
			}
			if rapid.Bool().Draw(rt, "another") {
				runs.begin(next())
			}
		}
		for id := range all {
			if !seen[id] {
				rt.Fatalf("%s is lost", id)
			}
		}
	})
}

func TestRunsOfAJob(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	uid := e.storedJob(t, "a").UID
	var want []job.RunID
	for i := range 5 {
		r := someRun(uid, "a", e.now().Add(-time.Duration(i)*time.Minute), job.StateSucceeded)
		want = append(want, r.RunID)
		e.runs.end(r)
		e.runs.end(someRun(job.UID{1}, "a", r.ScheduledAt, job.StateFailed)) // of a deleted job of that name
		e.runs.end(someRun(job.UID{2}, "b", r.ScheduledAt, job.StateFailed))
	}
	ids := func(q api.RunQuery) (got []job.RunID) {
		t.Helper()
		for {
			page, err := e.Runs(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				got = append(got, r.RunID)
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return got
			}
		}
	}
	if d := cmp.Diff(want, ids(api.RunQuery{Namespace: "ops", Job: "a", Limit: 2})); d != "" {
		t.Errorf("runs of a (-want +got):\n%s", d)
	}
	if got := ids(api.RunQuery{Namespace: "ops", State: job.StateFailed}); len(got) != 10 {
		t.Errorf("%d failed runs, want 10", len(got))
	}
	if _, err := e.Delete(t.Context(), job.Key{Namespace: "ops", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := ids(api.RunQuery{Namespace: "ops", Job: "a", Limit: 3}); len(got) != 10 {
		t.Errorf("%d runs of deleted jobs, want 10", len(got))
	}
}

// TestI6_RunIsFoundAllItsLife: as a start that waits, in flight, and ended.
func TestI6_RunIsFoundAllItsLife(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	fire, err := e.Start(t.Context(), job.Key{Namespace: "ops", Name: "a"}, api.StartRequest{By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	id := fire.RunID()
	r, err := e.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != job.StatePending || r.Reason != "waiting for its shard's owner" || r.RunID != id || r.FireID != fire ||
		r.Namespace != "ops" || r.Job != "a" || !r.ScheduledAt.Equal(fire.Time()) || r.Trigger != "manual" {
		t.Errorf("waiting: %+v", r)
	}
	r.State, r.Reason = job.StateRunning, ""
	e.runs.begin(r)
	if r, err := e.Run(t.Context(), id); err != nil || r.State != job.StateRunning {
		t.Errorf("in flight: %v %v", r.State, err)
	}
	r.State = job.StateSucceeded
	e.runs.end(r)
	if r, err := e.Run(t.Context(), id); err != nil || r.State != job.StateSucceeded {
		t.Errorf("ended: %v %v", r.State, err)
	}
	for _, id := range []job.RunID{"", "nonsense", "abcd-0123456789abcdef"} {
		if _, err := e.Run(t.Context(), id); !errors.Is(err, job.ErrNotFound) || !strings.Contains(err.Error(), fmt.Sprint(id)) {
			t.Errorf("run %q: %v", id, err)
		}
	}
}

// TestI6_RunIsFoundWhileItMovesOn: it is committed just while the triggers are
// searched.
func TestI6_RunIsFoundWhileItMovesOn(t *testing.T) {
	t.Parallel()
	e := setup(t)
	r := someRun(job.UID{1}, "a", e.now(), job.StateRunning)
	whole := e.cli.KV
	e.cli.KV = &beforeTxn{KV: whole, do: func() { e.runs.begin(r) }}
	got, err := e.Run(t.Context(), r.RunID)
	e.cli.KV = whole
	if err != nil || got.RunID != r.RunID {
		t.Errorf("got %v, %v", got.RunID, err)
	}
}

// TestRunsTellWhatIsMissing: a page says whose open runs it lacks, in data and in
// a line for people; without a gap it says nothing.
func TestRunsTellWhatIsMissing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	e.runs.begin(someRun(e.storedJob(t, "a").UID, "a", e.now(), job.StateRunning))
	page := func() api.RunPage {
		t.Helper()
		p, err := e.Runs(t.Context(), api.RunQuery{})
		if err != nil || len(p.Runs) != 1 {
			t.Fatalf("%v, %v", p, err)
		}
		return p
	}
	if p := page(); p.Missing != nil || p.Gap() != "" {
		t.Errorf("nothing is missing, and it says %v: %q", p.Missing, p.Gap())
	}
	e.runs.missing = []api.MissingRuns{{Shards: []job.ShardID{3}}, {Node: "s2", Shards: []job.ShardID{1, 2}}}
	p := page()
	if d := cmp.Diff(e.runs.missing, p.Missing); d != "" {
		t.Error(d)
	}
	want := "not all open runs are listed; missing are those of 1 shard that no node owns now, and those of 2 shards of node s2, which has not answered"
	if p.Gap() != want {
		t.Errorf("it says %q, want %q", p.Gap(), want)
	}
}
