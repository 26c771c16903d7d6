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

// TestI20_GivenBackTooLateIsAMisfire: what its minion has kept waiting for longer than
// the grace, and gives back or never accepted, is missed by a job that skips misfires.
// Other jobs have it started, however late; and what waited for its turn, and not at
// its minion, is not too late for that.
func TestI20_GivenBackTooLateIsAMisfire(t *testing.T) {
	t.Parallel()
	const late = 45 * time.Second // the grace is 30 s
	for name, c := range map[string]struct {
		misfire    job.Misfire
		turn, wait time.Duration
		accepted   bool
		missed     bool
	}{
		"given back too late":         {job.MisfireSkip, 0, late, true, true},
		"never accepted, too late":    {job.MisfireSkip, 0, late, false, true},
		"given back in time":          {job.MisfireSkip, 0, time.Second, true, false},
		"its turn came late":          {job.MisfireSkip, late, time.Second, true, false},
		"the latest misfire runs":     {job.MisfireLatest, 0, late, true, false},
		"each misfire runs":           {job.MisfireAll, 0, late, true, false},
		"never accepted, and it runs": {job.MisfireAll, 0, late, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			orders := 0
			d.ordered = func(*job.Order) { orders++ }
			at := d.clock - int64(c.turn)
			e := d.job(job.Spec{Misfire: c.misfire})
			f := d.fire(e, fire{id: job.FireID{Job: e.uid, At: at, Trigger: job.TriggerSchedule}})
			if c.accepted {
				d.says(f, "m00", job.StateRunning)
			}
			if orders != 1 {
				t.Fatalf("ordered %d times, want once", orders)
			}
			d.pass(c.wait)
			said := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Returned: c.accepted, Token: d.own.Token(), Term: d.term}
			d.onReport(&said)
			d.step()
			if !c.accepted { // it is asked whether that holds for the order
				said.Term = f.tasks[0].question
				d.onReport(&said)
				d.step()
			}
			if d.pass(time.Second); c.missed {
				d.wantRun(job.StateMissed, `misfire policy "skip"`)
				return
			}
			if orders != 2 {
				t.Errorf("ordered %d times, want again", orders)
			}
			d.says(f, "m00", job.StateSucceeded)
			d.wantRun(job.StateSucceeded, "")
		})
	}
}

// TestOrderThatIsNotTakenIsPaced: what its minion refuses each time at once, such as
// for a higher token that it has seen, is ordered again at a pace, and is not given
// up.
func TestOrderThatIsNotTakenIsPaced(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]job.Spec{"plain": {}, "rollout": {Rollout: job.Rollout{Batch: "1"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 2)
			orders, answered := 0, 0
			d.ordered = func(o *job.Order) {
				if o.Task.Minion == "m00" {
					orders++
				}
			}
			f := d.fire(d.job(spec), fire{})
			refused := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, State: job.StateRejected, Reason: "stale token"}
			refuse := func() {
				if answered < orders {
					answered = orders
					d.onReport(&refused)
					d.step()
				}
			}
			refuse()
			if orders != 2 {
				t.Errorf("ordered %d times, want the second at once: the first may have been lost", orders)
			}
			for range 10_000 { // ten seconds
				refuse()
				d.pass(time.Millisecond)
			}
			if orders < 10 || orders > 25 {
				t.Errorf("ordered %d times in ten seconds, want once or twice a second after a while", orders)
			}
			before := orders
			for range 10_000 {
				refuse()
				d.pass(time.Millisecond)
			}
			if n := orders - before; n < 9 || n > 11 {
				t.Errorf("ordered %d times in the next ten seconds, want once a second", n)
			}
			d.says(f, "m00", job.StateSucceeded)
			d.says(f, "m01", job.StateSucceeded)
			d.wantRun(job.StateSucceeded, "")
		})
	}
}

// TestOrderThatIsRefusedEndsWithTheReason: when the time for an order is over that
// its minion has refused each time, the run says why.
func TestOrderThatIsRefusedEndsWithTheReason(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	refused := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, State: job.StateRejected, Reason: "stale token 1.2: the minion has seen 1.3"}
	d.clock = f.tasks[0].notAfter + 1
	d.onReport(&refused)
	d.wantRun(job.StateDeliveryTimeout, "minion m00 never accepted the order: stale token 1.2: the minion has seen 1.3")

	// While the task runs it says nothing: another copy of the order was refused.
	d = newDesk(t, 1)
	f = d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.onReport(&refused)
	d.wantNoRun("a copy was refused of what runs")
	d.says(f, "m00", job.StateSucceeded)
	d.wantRun(job.StateSucceeded, "")
}

// TestI31_NeverAcceptedByWhoHadIt: a task waits at its minion, which gives it back,
// and the word of that is lost. The minion is asked though the time-out is far, and
// when the process that had the task has never accepted it, it is ordered again. That
// of another process tells nothing, nor of what has begun.
func TestI31_NeverAcceptedByWhoHadIt(t *testing.T) {
	t.Parallel()
	spec := job.Spec{Timeout: job.Duration(24 * time.Hour), Misfire: job.MisfireAll}
	for name, c := range map[string]struct {
		begun    bool
		had, now string
		again    bool
	}{
		"the same process":           {false, "a", "a", true},
		"another process":            {false, "a", "b", false},
		"the same, and it has begun": {true, "a", "a", false},
		"nodes that do not tell":     {false, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			f := d.fire(d.job(spec), fire{})
			held := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Known: true, State: job.StateRunning, Instance: c.had}
			d.onReport(&held)
			d.wait(askHeld - time.Second)
			if d.asked != 0 {
				t.Errorf("asked %d times before its time", d.asked)
			}
			d.wait(time.Second)
			if d.asked != 1 {
				t.Errorf("asked %d times after %v, want once", d.asked, askHeld)
			}
			if c.begun {
				held.StartedAt = time.Unix(0, d.clock)
				d.onReport(&held)
			}
			never := job.Report{Task: held.Task, Shard: 1, Instance: c.now}
			d.onReport(&never) // perhaps overtaken by the word that it has it (I24)
			d.step()
			d.wantNoRun("asked anew")
			never.Term = f.tasks[0].question
			d.onReport(&never)
			d.step()
			if !c.again {
				d.wantRun(job.StateIndeterminate, "has lost its journal")
				return
			}
			d.wantNoRun("given back")
			if d.sent["m00"] != 2 {
				t.Fatalf("ordered %d times, want twice", d.sent["m00"])
			}
			d.onReport(&held)
			d.says(f, "m00", job.StateSucceeded)
			d.wantRun(job.StateSucceeded, "")
			if n := f.tasks[0].attempt; n != 1 {
				t.Errorf("it was attempt %d; what was not started is none", n)
			}
		})
	}
}

// TestWhatWaitsAtItsMinionHasTime: the time-out of a task counts from its start. While
// its minion says that it waits there it is not given up, and once it has started it
// is asked about no more.
func TestWhatWaitsAtItsMinionHasTime(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{Timeout: job.Duration(time.Minute), LostAfter: job.Duration(24 * time.Hour)}), fire{})
	held := job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Known: true, State: job.StateRunning, Instance: "a"}
	d.onReport(&held)
	asked := 0
	for range int(time.Hour / time.Second) {
		d.wait(time.Second)
		d.wantNoRun("its minion says that it waits")
		if d.asked > asked {
			asked = d.asked
			d.onReport(&held)
		}
	}
	if want := int(time.Hour / askHeldMost); asked < want || asked > want+5 {
		t.Errorf("asked %d times in an hour, want about %d", asked, want)
	}
	begun := d.clock
	d.says(f, "m00", job.StateRunning)
	d.asked = 0
	d.wait(time.Minute - time.Second)
	if d.asked != 0 {
		t.Errorf("asked %d times while it runs", d.asked)
	}
	d.wait(silentRun)
	d.wantNoRun("its time-out is not over for long")
	d.wait(silentAfter + 2*time.Second)
	d.wantRun(job.StateIndeterminate, "has not said how it ended")
	if got := d.runs[0].StartedAt.UnixNano(); got != begun {
		t.Errorf("started at %d, want %d", got, begun)
	}

	// One that nobody speaks of is not waited for.
	silent := newDesk(t, 1)
	f = silent.fire(silent.job(job.Spec{Timeout: job.Duration(time.Minute)}), fire{})
	held.Task = f.taskID(f.tasks[0])
	silent.onReport(&held)
	silent.wait(time.Minute + askHeldMost + silentRun + silentAfter)
	silent.wantRun(job.StateIndeterminate, "accepted the task and has said nothing of it since")
}
