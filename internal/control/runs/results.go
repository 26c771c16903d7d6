package runs

import (
	"cmp"
	"context"
	"maps"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// The pace at which a run is looked at: the more tasks it has, the slower.
const (
	lookFirst = 50 * time.Millisecond
	lookMost  = time.Second
)

// Results calls fn with what becomes of a run, until it has ended: each task
// once, when it has ended, and how far the run is, when that has changed. While
// nobody can tell, the reason of its progress says so; when that lasts, the error
// wraps job.ErrUnavailable.
func (book *Book) Results(ctx context.Context, id job.RunID, fn func(api.Result) error) error {
	run, err := book.FindRun(ctx, id, job.Key{})
	if err != nil {
		return err
	}
	type place struct {
		minion job.MinionID
		share  job.NodeID
	}
	told := map[place]int{}
	var last api.Progress
	begun := time.Now()
	seen := Sighting{Run: run}
	for pause := lookFirst; ; pause = min(pause*3/2, lookMost) {
		run := &seen.Run
		p := api.Progress{State: run.State, Reason: cmp.Or(seen.Gap, run.Reason), Tasks: len(run.Tasks), States: map[job.State]int{}}
		for i := range run.Tasks {
			t := &run.Tasks[i]
			p.States[t.State]++
			at := place{t.Minion, t.Share}
			if t.State.Final() && told[at] < max(t.Attempt, 1) {
				told[at] = max(t.Attempt, 1)
				if err := fn(api.Result{Task: t}); err != nil {
					return err
				}
			}
		}
		// Every start waits for the shard's owner for a moment.
		passing := p.Reason == ReasonWaiting && time.Since(begun) < lookMost
		if !sameProgress(&last, &p) && !passing {
			last = p
			if err := fn(api.Result{Progress: &p}); err != nil {
				return err
			}
		}
		if run.State.Final() {
			run.Tasks = nil
			return fn(api.Result{Run: run})
		}
		if !backoff.Sleep(ctx, pause+time.Duration(len(run.Tasks))*50*time.Microsecond) {
			return ctx.Err()
		}
		if err := book.LookAgain(ctx, &seen); err != nil {
			return err
		}
	}
}

func sameProgress(p, o *api.Progress) bool {
	return p.State == o.State && p.Reason == o.Reason && p.Tasks == o.Tasks && maps.Equal(p.States, o.States)
}
