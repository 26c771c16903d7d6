package sim

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/fakeetcd"
	"github.com/carillon-cron/carillon/job"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed only")
	simRuns  = flag.Int("sim.runs", 3, "run this many seeds")
	simFirst = flag.Uint64("sim.first", 1, "the first of them")
	simHours = flag.Float64("sim.hours", 0.25, "virtual hours of each")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSimulation runs seeds. Each failure names its seed, and how to run it again.
func TestSimulation(t *testing.T) {
	first, runs := *simFirst, uint64(*simRuns)
	if *simSeed != 0 {
		first, runs = *simSeed, 1
	}
	for seed := first; seed < first+runs; seed++ {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, seed, time.Duration(*simHours*float64(time.Hour))) })
		})
	}
}

func simulate(t *testing.T, seed uint64, long time.Duration) {
	w := newWorld(t, seed)
	defer w.end()
	w.populate()
	for _, n := range w.nodes {
		w.start(n)
	}
	time.Sleep(10 * time.Second)
	for end := time.Now().Add(long); time.Now().Before(end); {
		time.Sleep(time.Duration(w.rnd.IntN(40_000)) * time.Millisecond)
		w.disturb()
	}
	until := time.Now()
	w.settle()
	w.judge(until)
	if t.Failed() {
		for _, line := range w.story[max(0, len(w.story)-60):] {
			t.Log(line)
		}
		t.Logf("run it again: go test ./test/sim -run TestSimulation -sim.seed %d -sim.hours %g -v", seed, long.Hours())
	}
	fires := 0
	for range w.fleet.starts {
		fires++
	}
	t.Logf("seed %d: %v, %d disturbances, %d tasks started, %d records", seed, long, len(w.story), fires, len(w.store.runs))
}

// populate makes jobs of many kinds.
func (w *world) populate() {
	policies := []struct {
		overlap job.Overlap
		misfire job.Misfire
	}{
		{job.OverlapAllow, job.MisfireAll}, {job.OverlapSkip, job.MisfireLatest}, {job.OverlapQueueOne, job.MisfireSkip},
		{job.OverlapQueueAll, job.MisfireAll}, {job.OverlapReplace, job.MisfireLatest}, {job.OverlapReplaceAfterGrace, job.MisfireSkip},
	}
	schedules := []string{"@every 7s", "*/2 * * * *", "@every 61s", "*/20 * * * * *", "H/3 * * * *", "@every 13s"}
	for i, p := range policies {
		spec := job.Spec{Schedules: []string{schedules[i]}, Command: []string{"ok"}, Overlap: p.overlap, Misfire: p.misfire, Timeout: job.Duration(2 * time.Minute)}
		w.create(fmt.Sprintf("policy-%d", i), 0, spec)
	}
	w.create("jitter", 0, job.Spec{Schedules: []string{"@every 30s"}, Command: []string{"ok"}, Jitter: job.Duration(20 * time.Second), Overlap: job.OverlapAllow})
	w.create("retry", 0, job.Spec{Schedules: []string{"@every 17s"}, Command: []string{"fail"}, Retry: job.Retry{Attempts: 3, Backoff: job.Duration(time.Second)}, Overlap: job.OverlapAllow})
	w.create("count", 0, job.Spec{Schedules: []string{"@every 5s"}, Command: []string{"ok"}, Count: 50, Overlap: job.OverlapAllow})
	w.create("by-hand", 0, job.Spec{Command: []string{"ok"}, Overlap: job.OverlapQueueAll})
	for i := range edited {
		w.create(fmt.Sprintf("edited-%d", i), 0, job.Spec{Schedules: []string{"@every 11s"}, Command: []string{"ok"}, Overlap: job.OverlapAllow})
	}
	for i, spec := range []job.GroupSpec{
		{Mode: "failover", Ordered: true}, {Mode: "roundrobin", Ordered: true}, {Mode: "failback", HoldOff: job.Duration(10 * time.Second), Ordered: true},
		{Mode: "timeslice", Slice: job.Duration(time.Minute), Ordered: true}, {Mode: "balanced", Ordered: true}, {Mode: "preempt", Ordered: true},
		{Mode: "roundrobin-preempt", Grace: job.Duration(5 * time.Second), Ordered: true}, {Mode: "roundrobin"}, {Mode: "failover"},
	} {
		shard := w.group(job.ShardID(i), spec)
		w.create(fmt.Sprintf("in-%s-%d", spec.Mode, i), shard, job.Spec{Schedules: []string{"@every 19s"}, Command: []string{"ok"}, Overlap: job.OverlapAllow})
		if spec.Ordered { // and what has another pace, and starts late
			w.create(fmt.Sprintf("and-%s-%d", spec.Mode, i), shard, job.Spec{
				Schedules: []string{"@every 23s"}, Command: []string{"ok"}, Overlap: job.OverlapAllow, Jitter: job.Duration(20 * time.Second), Misfire: job.MisfireAll,
			})
		}
	}
}

// disturb does something to the world.
func (w *world) disturb() {
	n := w.nodes[w.rnd.IntN(nodes)]
	if n.engine == nil {
		w.tell("%s comes back", n.id)
		w.start(n)
		return
	}
	away := time.Duration(w.rnd.IntN(20_000)) * time.Millisecond
	switch w.rnd.IntN(10) {
	case 0, 1:
		w.tell("%s crashes", n.id)
		w.crash(n)
	case 2:
		if w.rnd.IntN(2) == 0 {
			// What it does before it hands its shards over takes a while.
			n.link.Set(fakeetcd.Faults{MinDelay: 500 * time.Millisecond, MaxDelay: 900 * time.Millisecond})
		}
		w.tell("%s leaves in good order", n.id)
		n.stop()
	case 3:
		how := []fakeetcd.Partition{fakeetcd.Cut, fakeetcd.NoAnswers}[w.rnd.IntN(2)]
		w.tell("%s is cut off (%d) for %v", n.id, how, away)
		n.link.Partition(how)
		link := n.link
		time.AfterFunc(away, func() { link.Partition(fakeetcd.Whole) })
	case 4, 5:
		w.tell("%s has a bad way to etcd for %v", n.id, away)
		n.link.Set(fakeetcd.Faults{
			MinDelay: time.Millisecond, MaxDelay: time.Duration(1+w.rnd.IntN(300)) * time.Millisecond,
			Refuse: .02, LoseRequest: .02, LoseAnswer: .02, Ambiguous: .05, Stall: .02, StallFor: 3 * time.Second, Break: .01,
		})
		link := n.link
		time.AfterFunc(away, func() { link.Set(fakeetcd.Faults{}) })
	case 6:
		most := []time.Duration{slightSkew, maxSkew}[w.rnd.IntN(2)]
		to := time.Duration(w.rnd.Int64N(2*int64(most))) - most
		wait := w.rightClocks(n)
		w.tell("the clock of %s is wrong by %v for %v, after %v", n.id, to, away, wait)
		turn := w.clockTurn.Add(1)
		time.AfterFunc(wait, func() {
			if w.clockTurn.Load() == turn {
				n.step(to)
				time.AfterFunc(away, func() { n.step(0) })
			}
		})
	case 7:
		m := w.fleet.each[job.MinionID(fmt.Sprintf("m%d", 1+w.rnd.IntN(minions)))]
		w.tell("minion %s is away for %v", m.id, away)
		w.fleet.away(m, true)
		time.AfterFunc(away, func() { w.fleet.away(m, false) })
	case 8:
		w.startByHand()
	case 9:
		w.edit()
	}
}

// compared is within how long all nodes have compared their clocks.
const compared = 5 * time.Second

// rightClocks makes the clocks of all others right, and returns how long it takes
// until all know: most of the clocks are right, also as they were compared last.
func (w *world) rightClocks(but *node) (wait time.Duration) {
	for _, o := range w.nodes {
		if o == but {
			continue
		}
		o.step(0)
		o.mu.Lock()
		wait = max(wait, compared-time.Since(o.stepped))
		o.mu.Unlock()
	}
	return wait
}

func (f *fleet) away(m *minion, away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if away && !m.away {
		m.left = time.Now()
		f.absences++
	}
	m.away = away
}

// startByHand starts a job that has no schedule.
func (w *world) startByHand() {
	for _, p := range w.jobs {
		if p.Name == "by-hand" {
			fire := job.FireID{Job: p.UID, At: time.Now().UnixNano(), Trigger: job.TriggerManual}
			text, err := etcdkv.Encode(etcdkv.Trigger{Schema: 1, Fire: fire, Key: p.Key()})
			if err != nil {
				w.t.Fatal(err)
			}
			if _, err := w.admin.Put(context.Background(), w.keys.Trigger(p.shard, fire), text); err != nil {
				w.t.Fatal(err)
			}
			w.tell("%s is started by hand", p.Name)
			w.fleet.mu.Lock()
			w.asked = append(w.asked, fire)
			w.fleet.mu.Unlock()
		}
	}
}

// edited is how many jobs are edited.
const edited = 3

// edit changes when a job is due, or disables or enables it.
func (w *world) edit() {
	name := fmt.Sprintf("edited-%d", w.rnd.IntN(edited))
	every, toggle := fmt.Sprintf("@every %ds", 5+w.rnd.IntN(20)), w.rnd.IntN(2) == 0
	for _, p := range w.jobs {
		if p.Name != name {
			continue
		}
		done := w.change(p, func(s *job.Spec) {
			if on := !s.IsEnabled(); toggle {
				s.Enabled = &on
			} else {
				s.Schedules = []string{every}
			}
		})
		w.tell("%s is now %s, enabled %v: done %v", p.Name, p.Spec.Schedules[0], p.Spec.IsEnabled(), done)
	}
}
