package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// TestAnothersTurnIsWaitedFor: an owner that may not fire what is due, and has not
// passed the lock on yet, since it says good-bye first, sleeps between its looks. It
// does nothing else meanwhile: without the pause it would look without end.
func TestAnothersTurnIsWaitedFor(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.grouped(job.GroupSpec{})
	d.turns.group().Mode = mode.Mode{Fires: func(*mode.Situation, int64) mode.Turn { return mode.Turn{Node: "another"} }}
	e := d.job(job.Spec{Schedules: []string{"@every 19s"}})
	d.setNext(e, d.clock+int64(100*time.Millisecond))
	d.lastCommit = d.clock - int64(time.Minute)
	if next := d.commitDue(t.Context(), d.clock); next != d.clock+turnPause {
		t.Errorf("looks again after %v, want %v", time.Duration(next-d.clock), time.Duration(turnPause))
	}
}
