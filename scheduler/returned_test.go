package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestI20_ReturnedTasksAreOrderedAgain: an order carries the end of its owner's
// lease. What its minion gives back, though it had accepted it, is ordered again,
// with the end as it is then, by the same owner or by the next: once each time,
// and later each time.
func TestI20_ReturnedTasksAreOrderedAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	var got []time.Duration
	d.ordered = func(o *job.Order) { got = append(got, o.HoldUntil) }
	d.held = 7 * time.Second
	f := d.fire(d.job(job.Spec{}), fire{})
	if len(got) != 1 || got[0] != d.held {
		t.Fatalf("ordered with %v, want once with %v", got, d.held)
	}
	returned := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Returned: true}
	for i := range 3 {
		d.says(f, "m00", job.StateRunning) // accepted, and waits
		d.held += time.Second
		d.onReport(&returned)
		d.step()
		for range 100 {
			d.pass(returnPause) // it is not asked for in a loop
		}
		if len(got) != i+2 || got[i+1] != d.held {
			t.Fatalf("returned %d times, ordered with %v, want the last with %v", i+1, got, d.held)
		}
	}
	d.says(f, "m00", job.StateRunning)
	next, f := d.taken(f)
	next.held = time.Minute
	got = nil
	next.onReport(&returned)
	next.pass(time.Second)
	if len(got) != 1 || got[0] != time.Minute {
		t.Fatalf("the next owner ordered with %v, want once with its own %v", got, next.held)
	}
	next.says(f, "m00", job.StateSucceeded)
	next.wantRun(job.StateSucceeded, "")
	if n := f.tasks[0].attempt; n != 1 {
		t.Errorf("it was attempt %d; what was not started is none", n)
	}
}
