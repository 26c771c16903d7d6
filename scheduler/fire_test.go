package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A phase that may not follow stops a test, and no production node: it is logged there.
func TestAPhaseThatMayNotFollowIsLoud(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	task := f.tasks[0]
	for _, next := range []phase.Task{phase.Held, phase.Sent} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a task that runs is %s then, and nobody hears of it", next)
				}
			}()
			d.become(task, next)
		}()
	}
	d.become(task, phase.Ended)
	if !task.final() || task.endedFrom != phase.Running || !task.mayHaveBegun() {
		t.Errorf("a task that ran and has ended: %s, from %s", task.phase, task.endedFrom)
	}
}

// So with those of a fire. The phase that it had is what its slot stores of it.
func TestAPhaseOfAFireThatMayNotFollowIsLoud(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{Overlap: job.OverlapQueueAll})
	first := d.fire(e, fire{})
	d.clock++
	second := d.fire(e, fire{})
	for f, next := range map[*fire]phase.Fire{first: phase.FireHeldBack, second: phase.FireEnding} {
		was := f.phase
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a fire that is %s is %s then, and nobody hears of it", was, next)
				}
			}()
			d.proceed(f, next)
		}()
	}
	if got := [2]etcdkv.EntryState{first.entryState(), second.entryState()}; got != [2]etcdkv.EntryState{etcdkv.EntryOpen, etcdkv.EntryQueued} {
		t.Errorf("stored as %v", got)
	}
	d.end(second, job.StateSkipped, "")
	d.end(first, job.StateSucceeded, "")
	if got := [2]etcdkv.EntryState{first.entryState(), second.entryState()}; got != [2]etcdkv.EntryState{etcdkv.EntryOpen, etcdkv.EntryQueued} || !first.ended() || !second.ended() {
		t.Errorf("stored as %v once they have ended", got)
	}
}

// A run that waits for another when its shard gets another owner, and is past its
// deadline then, ends: it is not the next one to start when the other ends, so that
// those after it do.
func TestWhatEndsAtATakeOverKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{Overlap: job.OverlapQueueAll, Deadline: job.Duration(time.Minute), OnDeadline: job.DeadlineCancel})
	first := d.fire(e, fire{})
	d.says(first, "m00", job.StateRunning)
	d.clock += int64(time.Second)
	d.fire(e, fire{})
	d.clock += int64(2 * time.Minute)
	next, first := d.taken(first)
	next.says(first, "m00", job.StateRunning)
	next.says(first, "m00", job.StateCancelled)
	if third := next.fire(next.jobs[e.key], fire{}); third.phase != phase.FireStarted || next.sent["m00"] != 1 {
		t.Errorf("the run after them is %s, and %d orders were sent", third.phase, next.sent["m00"])
	}
}

// What a later release has written of a fire, and this one does not know, is not taken
// for one to be run.
func TestAnEntryThatIsNotKnownIsNotRun(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for state, known := range map[etcdkv.EntryState]bool{0: false, etcdkv.EntryOpen: true, etcdkv.EntryMissed: true, etcdkv.EntryMissed + 1: false} {
		sl := etcdkv.Slot{CommittedAt: d.clock, Entries: []etcdkv.SlotEntry{{Fire: job.FireID{At: d.clock}, State: state}}}
		if err := d.loadSlot(d.cfg.Keys.Slot(1, 9), etcdkv.EncodeSlot(&sl)); (err == nil) != known {
			t.Errorf("state %d: %v", state, err)
		}
	}
}
