package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

// within is what somebody may have started.
func within(r job.StartRule) job.Bounds {
	return job.Bounds{{By: "ann", Rules: []job.StartRule{r}}}
}

// bounded puts a job into the shard that is bounded.
func (d *desk) bounded(b job.Bounds) *entry {
	d.t.Helper()
	e := d.job(job.Spec{})
	e.Optional = &plan.Optional{End: never, Bounds: b}
	return e
}

// TestI34_MinionsWithinTheBounds: of the minions that a target matches those are chosen
// that who stored the job, and who asked for the run, may use; also under a new owner.
func TestI34_MinionsWithinTheBounds(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(d *desk) *fire{
		"by its author": func(d *desk) *fire { return d.fire(d.bounded(within(job.StartRule{Targets: []string{"m00"}})), fire{}) },
		"by who asked for it": func(d *desk) *fire {
			e := d.job(job.Spec{})
			return d.fire(e, fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerManual}, bounds: within(job.StartRule{Targets: []string{"m00"}})})
		},
		"a redo on hosts": func(d *desk) *fire {
			e := d.bounded(within(job.StartRule{Targets: []string{"m00"}}))
			return d.fire(e, fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerRedo}, hosts: []job.MinionID{"m00", "m01"}})
		},
	} {
		d := newDesk(t, 3)
		d.canaries = []job.MinionID{"m00"} // what any expression matches
		f := begin(d)
		t.Log(name)
		d.wantSent("m00")
		if strings.Contains(name, "redo") {
			continue // its tasks are on record as they were chosen
		}
		next, nf := d.taken(f)
		next.says(nf, "m00", "")
		next.wantSent("m00")
	}
}

// TestI34_OrdersWithinTheBounds: an order is looked at before it is sent. What it starts, as
// whom and where is within the bounds then, or it is not sent.
func TestI34_OrdersWithinTheBounds(t *testing.T) {
	t.Parallel()
	const program = `{"program":"/bin/x"}`
	for name, c := range map[string]struct {
		rule job.StartRule
		why  string
	}{
		"another program": {job.StartRule{Commands: []job.CommandRule{program}}, `it is not what ann may start: the program is "x", and the rule has /bin/x`},
		"another account": {job.StartRule{RunAs: []string{"deploy"}}, "it is to run as @minion, and the rule has runAs deploy"},
		"unreadable":      {job.StartRule{Commands: []job.CommandRule{`{"prog":"/bin/x"}`}}, "what the job may start cannot be read"},
	} {
		d := newDesk(t, 2)
		d.fire(d.bounded(within(c.rule)), fire{})
		d.wantSent()
		if len(d.runs) != 1 || d.runs[0].State != job.StateRejected || !strings.Contains(d.runs[0].Tasks[0].Reason, c.why) {
			t.Errorf("%s: %+v", name, d.runs)
		}
	}
	// A minion that was chosen, and is another by now: its labels have changed.
	d := newDesk(t, 1)
	d.canaries = []job.MinionID{"m00"}
	e := d.bounded(within(job.StartRule{Targets: []string{"m00"}}))
	f := &fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerSchedule}, e: e}
	d.planFire(&batch{}, f, d.clock)
	d.canaries = nil
	d.commitSlot(f)
	d.wantSent()
	d.wantRun(job.StateRejected, "")
	// One that is not known yet is waited for.
	d = newDesk(t, 1)
	d.canaries = []job.MinionID{"m00"}
	f = &fire{id: f.id, e: e}
	d.jobs[e.key] = e
	d.planFire(&batch{}, f, d.clock)
	hosts := d.hosts
	d.canaries, d.hosts = nil, nil
	d.commitSlot(f)
	d.wantSent()
	if f.ended() {
		t.Error("a task ended whose minion is not known yet")
	}
	d.canaries, d.hosts = hosts, hosts
	d.pass(time.Second)
	d.wantSent("m00")
}

// TestI34_ScriptsWithinTheirBounds: a script of the library runs where, and as whom, it may by
// who stored its version, whoever has stored the job that names it.
func TestI34_ScriptsWithinTheirBounds(t *testing.T) {
	t.Parallel()
	bounds, err := command.ReadBounds(within(job.StartRule{Targets: []string{"m00"}, RunAs: []string{"deploy"}}))
	if err != nil {
		t.Fatal(err)
	}
	begin := func(user string) (*desk, *fire) {
		d := newDesk(t, 2)
		d.canaries = []job.MinionID{"m00"} // what any expression matches
		w := &work{scripts: []scriptHeld{{step: 0, name: "t/s", bounds: bounds}}}
		w.User, w.Steps = user, []job.OrderStep{{Name: "s", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: job.ScriptSum("id"), Source: "id"}}}
		return d, d.fire(d.job(job.Spec{Params: []job.Param{{Name: "p", Default: "1"}}}), fire{work: w})
	}
	d, f := begin("deploy")
	d.wantSent("m00")
	d.says(f, "m00", job.StateSucceeded)
	if len(d.runs) != 1 || !slices.ContainsFunc(d.runs[0].Tasks, func(t job.Task) bool {
		return t.Minion == "m01" && t.State == job.StateRejected && strings.Contains(t.Reason, "not one that this may be started on: (m00)")
	}) {
		t.Errorf("on the other minion: %+v", d.runs)
	}
	d, _ = begin("root")
	d.wantSent()
	if len(d.runs) != 1 || !strings.Contains(d.runs[0].Tasks[0].Reason, "script t/s: it is not what ann may start: it is to run as root") {
		t.Errorf("as root: %+v", d.runs)
	}
}

// roles are as a test says.
type roles struct {
	version uint64
	now     job.Bounds
}

func (r *roles) Version() uint64 { return r.version }
func (r *roles) Now(b job.Bounds, namespace string) job.Bounds {
	if namespace != "t" {
		return nil
	}
	return slices.Concat(b, r.now)
}

// TestI34_RolesAsTheyAreNow: what a role has taken back since a job was stored is not
// started, and what it gives is only once the roles have been read.
func TestI34_RolesAsTheyAreNow(t *testing.T) {
	t.Parallel()
	d, r := newDesk(t, 2), &roles{version: 1}
	d.choice.roles = r
	e := d.bounded(within(job.StartRule{RunAs: []string{job.OwnAccount}}))
	begin := func() *fire {
		d.pass(time.Second)
		return d.fire(e, fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: job.TriggerManual}})
	}
	ends := func(f *fire) {
		d.wantSent("m00", "m01")
		d.says(f, "m00", job.StateSucceeded)
		d.says(f, "m01", job.StateSucceeded)
		clear(d.sent)
	}
	ends(begin())
	// The role has lost what the job was stored by.
	r.version, r.now = 2, within(job.StartRule{RunAs: []string{"deploy"}})
	begin()
	d.wantSent()
	if last := d.runs[len(d.runs)-1]; last.State != job.StateRejected || !strings.Contains(last.Tasks[0].Reason, "it is to run as @minion, and the rule has runAs deploy") {
		t.Errorf("%+v", last)
	}
	// It has it again.
	r.version, r.now = 3, nil
	ends(begin())
	// A node that has not read the roles waits for them.
	r.version = 0
	begin()
	d.wantSent()
	r.version = 1
	d.pass(time.Minute / 2)
	d.wantSent("m00", "m01")
}
