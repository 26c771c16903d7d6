package scheduler

import (
	"maps"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// TestRedoThatWaitsKeepsItsHosts: a redo that waits for an earlier run of the job
// is on its own hosts also under a new owner.
func TestRedoThatWaitsKeepsItsHosts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	e := d.job(job.Spec{Overlap: job.OverlapQueueOne})
	first := d.fire(e, fire{})
	redo := d.fire(e, fire{
		id:   job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerRedo},
		redo: first.id.RunID(), hosts: []job.MinionID{"m01"},
	})
	if redo.phase != phase.FireHeldBack {
		t.Fatalf("the redo is %s, want it to wait", redo.phase)
	}
	next, _ := d.taken(first)
	for _, m := range next.hosts {
		next.says(next.fires[first.id], m, job.StateSucceeded)
	}
	next.pass(time.Second)
	next.wantSent("m01")
}

// TestRedoSkipsTheUncontrollable: a redo sends nothing to minions that get no
// orders now, and tells of them; it waits for a while when it has no others, also
// under a new owner.
func TestRedoSkipsTheUncontrollable(t *testing.T) {
	t.Parallel()
	const why = "its disk is full"
	redo := func(t *testing.T, hosts ...job.MinionID) (*desk, *fire) {
		t.Helper()
		d := newDesk(t, 2)
		d.away = []job.Uncontrollable{{Minion: "z00", Reason: why}, {Minion: "z01", Reason: "none of the redo's"}}
		e := d.job(job.Spec{})
		return d, d.fire(e, fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerRedo}, redo: "x", hosts: hosts})
	}
	d, f := redo(t, "gone", "m01", "z00")
	d.wantSent("m01")
	d.says(f, "m01", job.StateSucceeded)
	d.wantRun(job.StateSucceeded, "")
	told := map[job.MinionID]string{}
	for _, r := range d.runs[0].Tasks {
		if r.State == job.StateUncontrollable {
			told[r.Minion] = r.Reason
		}
	}
	if want := map[job.MinionID]string{"gone": "not known to the cluster", "z00": why}; !maps.Equal(told, want) {
		t.Errorf("told of as uncontrollable: %v, want %v", told, want)
	}

	d, f = redo(t, "z00")
	d.wantSent()
	next, f := d.taken(f)
	next.away, next.hosts = next.away[1:], append(next.hosts, "z00")
	next.pass(time.Second)
	next.wantSent("z00")
	next.says(f, "z00", job.StateSucceeded)
	next.wantRun(job.StateSucceeded, "")

	d, _ = redo(t, "z00")
	d.pass(d.cfg.MaxMessageExpired + time.Second)
	d.wantSent()
	d.wantRun(job.StateUncontrollable, why)
}

// TestRedoNeedsNoCanary: a redo on hosts none of which is a canary goes on.
func TestRedoNeedsNoCanary(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.canaries = []job.MinionID{"m00"}
	e := d.job(job.Spec{Rollout: job.Rollout{Canary: "m00"}})
	d.fire(e, fire{
		id:   job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerRedo},
		redo: "x", hosts: []job.MinionID{"m01", "m02"},
	})
	d.wantSent("m01", "m02")
}
