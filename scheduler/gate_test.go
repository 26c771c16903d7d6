package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/mode"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// grouped makes the desk's shard that of a group.
func (d *desk) grouped(spec job.GroupSpec) {
	id := d.number
	d.deps.Cluster.SetGroups(map[job.ShardID]*cluster.Group{id: {Key: job.Key{Namespace: "t", Name: "g"}, Spec: spec, Rev: 1}}, 1)
	d.turns = &turnPolicy{id: id, groups: d.deps.Cluster, node: alone{d}}
}

// alone is a node that knows of no other.
type alone struct{ d *desk }

func (a alone) Situation(id job.ShardID, g *cluster.Group) mode.Situation {
	return mode.Situation{Shard: id, Spec: &g.Spec, Now: a.d.clock}
}
func (alone) Lease() clientv3.LeaseID { return 0 }
func (alone) Leaving() bool           { return false }

// commitAll commits fires together, and does their first step.
func (d *desk) commitAll(fires ...*fire) {
	b := &batch{}
	for _, f := range fires {
		d.planFire(b, f, d.clock)
	}
	sl := newSlot(uint64(len(d.slots)+1), d.clock, "n", b.fires)
	d.slots[sl.seq] = sl
	for _, f := range b.fires {
		d.fires[f.id] = f
		d.joinGate(f)
	}
	for _, f := range b.fires {
		d.opened(f)
	}
	d.step()
}

// ordering is an ordered group as its minion and its history see it.
type ordering struct {
	d *desk
	// begun are the fires that the minion has accepted, in that order; going is
	// until when they run, recorded those in history.
	begun    []job.FireID
	going    map[job.FireID]int64
	recorded map[job.FireID]job.State
	slow     bool // history has not written yet
	// late are copies of answers that what is asked about was never accepted; they
	// may come once more, later, to the same owner or another.
	late []job.Report
	took int64
}

func (o *ordering) take(ord *job.Order) {
	if _, again := o.going[ord.Task.Fire]; !again {
		o.begun = append(o.begun, ord.Task.Fire)
		o.going[ord.Task.Fire] = o.d.clock + o.took
	}
}

// hear has the minion answer, and history write.
func (o *ordering) hear() {
	d := o.d
	for _, f := range d.fires {
		if !f.isOpen() || f.tasks[0].minion == "" || f.tasks[0].phase == phase.Waiting {
			continue
		}
		r := job.Report{Task: f.taskID(f.tasks[0]), Shard: d.number, Term: d.term}
		if until, ok := o.going[f.id]; ok {
			r.Known, r.State, r.StartedAt = true, job.StateRunning, time.Unix(0, until-o.took)
			if d.clock >= until {
				r.State, r.Spooled = job.StateSucceeded, true
			}
		} else {
			o.late = append(o.late, r)
		}
		d.onReport(&r)
	}
	d.step()
	if o.slow {
		return
	}
	for _, f := range d.fires {
		if _, ok := o.recorded[f.id]; f.ended() && !ok {
			o.recorded[f.id] = f.run.State
			d.close(f)
		}
	}
	d.step()
}

// TestI12_OrderedMeansOrdered: whatever happens to the owner, the minions and
// history, and whatever policies the jobs of an ordered group have, its runs start
// in the order of their instants, each after the one before is in history.
func TestI12_OrderedMeansOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		o := &ordering{going: map[job.FireID]int64{}, recorded: map[job.FireID]job.State{}, took: int64(moment) * int64(rapid.IntRange(1, 12).Draw(rt, "took"))}
		d := newDesk(t, 1)
		watch := func(n *desk) {
			o.d = n
			n.grouped(job.GroupSpec{Mode: "failover", Ordered: true})
			n.ordered = o.take
		}
		watch(d)
		begin := d.clock
		specs := map[job.Key]job.Spec{}
		for i := range rapid.IntRange(1, 3).Draw(rt, "jobs") {
			spec := job.Spec{
				Command: []string{"x"}, Target: job.Target{Run: job.SpreadOne},
				Overlap: rapid.SampledFrom([]job.Overlap{job.OverlapAllow, job.OverlapSkip, job.OverlapQueueOne, job.OverlapQueueAll, job.OverlapReplace}).Draw(rt, "overlap"),
				Jitter:  job.Duration(rapid.SampledFrom([]time.Duration{0, 0, 3 * moment, 15 * moment}).Draw(rt, "jitter")),
			}
			specs[job.Key{Namespace: "t", Name: fmt.Sprintf("j%d", i)}] = spec
		}
		for _, k := range sortedKeys(specs) {
			d.jobNamed(k, job.UID{k.Name[1]}, specs[k])
		}
		committed := map[job.FireID]int{} // the step of the commit
		instant := begin
		steps := rapid.IntRange(5, 40).Draw(rt, "steps")
		startStep := map[job.FireID]int{}
		note := func(step int) {
			for _, id := range o.begun {
				if _, ok := startStep[id]; !ok {
					startStep[id] = step
				}
			}
			under := 0
			for _, id := range o.begun {
				if _, ok := o.recorded[id]; !ok || o.d.clock < o.going[id] {
					under++ // whatever is recorded of it
				}
			}
			if under > 1 {
				rt.Fatalf("step %d: %d runs are under way", step, under)
			}
		}
		for step := range steps {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2, 3: // an instant of some job is due soon, or a few that have passed
				var fires []*fire
				for range rapid.IntRange(1, 3).Draw(rt, "instants") {
					instant += int64(moment) * int64(rapid.IntRange(0, 4).Draw(rt, "after"))
					key := rapid.SampledFrom(sortedKeys(specs)).Draw(rt, "job")
					e := o.d.jobs[key]
					id := job.FireID{Job: e.uid, At: instant, Trigger: job.TriggerSchedule}
					if _, ok := committed[id]; ok {
						continue
					}
					f := &fire{id: id, e: e}
					if rapid.IntRange(0, 3).Draw(rt, "paced") == 0 {
						f.notBefore = o.d.clock + int64(moment)*int64(rapid.IntRange(0, 9).Draw(rt, "pace"))
					}
					committed[id] = step
					fires = append(fires, f)
				}
				o.d.commitAll(fires...)
			case 4:
				o.slow = !o.slow
			case 5: // no minion is at hand, or it is again
				if len(o.d.hosts) == 0 {
					o.d.hosts = []job.MinionID{"m00"}
				} else {
					o.d.hosts = nil
				}
			case 6: // answers to earlier owners arrive, or earlier ones to this one
				for i := range o.late {
					o.d.onReport(&o.late[i])
				}
				o.d.step()
			case 7: // another owner
				hosts := o.d.hosts
				next := o.d.successor(specs, watch)
				next.hosts = hosts
			default:
				o.d.pass(moment * time.Duration(rapid.IntRange(1, 6).Draw(rt, "passes")))
			}
			if rapid.IntRange(0, 2).Draw(rt, "heard") > 0 {
				o.hear()
			}
			note(step)
		}
		o.slow, o.d.hosts = false, []job.MinionID{"m00"}
		for i := 0; len(o.recorded) < len(committed); i++ {
			if i > 12*(len(committed)+10)*3 {
				for _, f := range o.d.fires {
					why, _ := o.d.admission.Why(f.asks)
					rt.Logf("%v %v %s due %v now %v why %s", f.e.key, f.id.At-begin, f.phase, f.due()-begin, o.d.clock-begin, why)
				}
				rt.Fatalf("%d of %d have ended, and no more do", len(o.recorded), len(committed))
			}
			o.d.pass(moment)
			o.hear()
			note(steps)
		}
		for i, a := range o.begun {
			for _, b := range o.begun[i+1:] {
				if b.At < a.At && committed[b] < startStep[a] {
					rt.Fatalf("the run of %v started after that of %v", time.Duration(b.At-begin), time.Duration(a.At-begin))
				}
			}
		}
	})
}

func sortedKeys(specs map[job.Key]job.Spec) []job.Key {
	out := make([]job.Key, 0, len(specs))
	for k := range specs {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b job.Key) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// jobNamed puts a job into the shard.
func (d *desk) jobNamed(key job.Key, uid job.UID, spec job.Spec) {
	d.t.Helper()
	value, err := etcdkv.Encode(etcdkv.StoredJob{Schema: 1, Job: job.Job{Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}, UID: uid, Spec: spec}})
	if err != nil {
		d.t.Fatal(err)
	}
	e, _, err := newEntry("j", []byte(value), d.deps.Schedules)
	if err != nil {
		d.t.Fatal(err)
	}
	d.jobs[key] = e
}

// successor returns the shard as its next owner has it; ready is called before it
// begins with what is open.
func (d *desk) successor(specs map[job.Key]job.Spec, ready func(*desk)) *desk {
	next := &desk{t: d.t, clock: d.clock, hosts: d.hosts, sent: map[job.MinionID]int{}, cancelled: map[job.MinionID]bool{}, number: d.number, terms: d.terms}
	next.open()
	ready(next)
	for seq, sl := range d.slots {
		if err := next.loadSlot(d.cfg.Keys.Slot(d.number, seq), sl.encode()); err != nil {
			d.t.Fatal(err)
		}
	}
	for key, spec := range specs {
		next.jobNamed(key, d.jobs[key].uid, spec)
	}
	next.recover()
	next.step()
	return next
}

// TestI10_UnsentIsStored: that a slot's orders have been sent by nobody is read
// from the state that was committed with it, and is true once.
func TestI10_UnsentIsStored(t *testing.T) {
	t.Parallel()
	old := newDesk(t, 1)
	f := old.fire(old.job(job.Spec{}), fire{})
	for name, c := range map[string]struct {
		unsent uint64
		rev    int64
		terms  uint32
		asks   bool
	}{
		"as it was passed on":                {unsent: f.slot.seq},
		"another slot, written with it":      {unsent: f.slot.seq + 1, asks: true},
		"a commit of the owner came since":   {unsent: f.slot.seq, rev: 1, asks: true},
		"the owner begins for a second time": {unsent: f.slot.seq, terms: 1, asks: true},
	} {
		d := newDesk(t, 1)
		d.state.Unsent, d.stateRev, d.term = c.unsent, c.rev, c.terms+1
		if err := d.loadSlot(d.cfg.Keys.Slot(1, f.slot.seq), f.slot.encode()); err != nil {
			t.Fatal(err)
		}
		if got := d.slots[f.slot.seq].fires[0]; got.recovered != c.asks || (got.tasks[0].phase == phase.Unknown) != c.asks {
			t.Errorf("%s: recovered %v, want %v", name, got.recovered, c.asks)
		}
	}
}
