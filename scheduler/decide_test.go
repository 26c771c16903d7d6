package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// moment is the step of the virtual clock of these tests.
const moment = 100 * time.Millisecond

// The model below knows a job's life as a user is told of it, and nothing of how
// it is done. It is written apart from the code that it is held against.

// story is a job, what is done to it, and when its owner can plan.
type story struct {
	every, jitter, took  time.Duration
	misfire              job.Misfire
	overlap              job.Overlap
	limit                int
	overlapGrace         time.Duration
	grace, catchUp, pace time.Duration
	pauses               [2]span // of the job, and of its namespace
	stalls               []span  // in which nothing is planned
	end                  time.Duration
	backfill             span // empty: none
	backfillEvery        time.Duration
	backfillOverlap      bool
}

// span is [from, to).
type span struct{ from, to time.Duration }

func (s span) has(t time.Duration) bool { return t >= s.from && t < s.to }

func stories(t *rapid.T) story {
	ticks := func(name string, from, to int) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * moment
	}
	some := func(name string) span {
		from := ticks(name, 0, 60)
		return span{from, from + ticks(name+" for", 0, 30)}
	}
	s := story{
		every: ticks("every", 1, 12), took: ticks("took", 1, 25),
		misfire:      rapid.SampledFrom([]job.Misfire{job.MisfireSkip, job.MisfireLatest, job.MisfireAll}).Draw(t, "misfire"),
		overlap:      rapid.SampledFrom([]job.Overlap{job.OverlapAllow, job.OverlapSkip, job.OverlapQueueOne, job.OverlapQueueAll, job.OverlapReplace, job.OverlapReplaceAfterGrace}).Draw(t, "overlap"),
		limit:        rapid.IntRange(1, 4).Draw(t, "limit"),
		overlapGrace: ticks("overlap grace", 1, 8),
		grace:        ticks("grace", 5, 15), pace: ticks("pace", 1, 10),
		pauses: [2]span{some("pause"), some("namespace's pause")},
		stalls: []span{{0, ticks("down until", 0, 50)}, some("stall")},
		end:    6 * time.Second,
	}
	if rapid.Bool().Draw(t, "jittered") {
		s.jitter = ticks("jitter", 1, 25)
	}
	if rapid.Bool().Draw(t, "bounded") {
		s.catchUp = s.grace + ticks("catch up", 0, 30)
	}
	if rapid.Bool().Draw(t, "backfilled") {
		s.backfill = some("backfill")
		s.backfillEvery, s.backfillOverlap = ticks("backfill every", 1, 9), rapid.Bool().Draw(t, "backfill overlaps")
	}
	return s
}

// told is what became of an instant.
type told struct {
	state job.State
	start time.Duration // of what started
}

// expect works out what becomes of each instant. look is how far ahead instants
// are planned, delay what the jitter of one is.
func (s *story) expect(look time.Duration, delay func(at time.Duration) time.Duration) map[time.Duration]told {
	type run struct {
		at, due, from, until time.Duration
		unsent, dropped      bool // unsent: its order is not on its way yet
	}
	out := map[time.Duration]told{}
	var planned, going, waiting []*run
	closed := func(at time.Duration) bool { return s.pauses[0].has(at) || s.pauses[1].has(at) }
	next := s.every
	planning := false
	begin := func(r *run, now time.Duration) {
		r.from, r.until, r.unsent = now, now+s.took, planning
		going = append(going, r)
	}
	supersede := func(r *run, now time.Duration) {
		for len(waiting) > 0 && waiting[0] != r && waiting[0].at < r.at {
			out[waiting[0].at] = told{state: job.StateSkipped}
			waiting = waiting[1:]
		}
		grace := time.Duration(0)
		if s.overlap == job.OverlapReplaceAfterGrace {
			grace = s.overlapGrace
		}
		for _, g := range going {
			// It is told to end then, and has ended a moment later.
			end := max(now, r.at) + grace + moment
			if g.unsent && grace == 0 {
				g.dropped = true
			} else if end < g.until && !out[g.at].replaced() {
				g.until = end
				out[g.at] = told{state: job.StateCancelled}
			}
		}
	}
	arrive := func(r *run, now time.Duration) {
		if s.overlap == job.OverlapAllow || len(going) == 0 {
			begin(r, now)
			return
		}
		hold := func() {
			waiting = append(waiting, r)
			slices.SortFunc(waiting, func(a, b *run) int { return cmp.Compare(a.at, b.at) })
		}
		switch limit := s.limit; s.overlap {
		case job.OverlapSkip:
			out[r.at] = told{state: job.StateSkipped}
		case job.OverlapQueueOne, job.OverlapQueueAll:
			if s.overlap == job.OverlapQueueOne {
				limit = 1
			}
			if len(waiting) >= limit {
				out[r.at] = told{state: job.StateSkipped}
				return
			}
			hold()
		default:
			hold()
			supersede(r, now)
		}
	}
	starts := func(now time.Duration) {
		slices.SortStableFunc(planned, func(a, b *run) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.at, b.at)) })
		for len(planned) > 0 && planned[0].due <= now {
			r := planned[0]
			planned = planned[1:]
			arrive(r, now)
		}
	}
	for now := time.Duration(0); now < s.end || len(planned)+len(going)+len(waiting) > 0; now += moment {
		for _, g := range slices.Clone(going) {
			if now < g.until {
				continue
			}
			i := slices.Index(going, g)
			going = slices.Delete(going, i, i+1)
			state := job.StateSucceeded
			if out[g.at].replaced() {
				state = job.StateCancelled
			}
			out[g.at] = told{state, g.from}
			if len(going) == 0 && len(waiting) > 0 {
				w := waiting[0]
				waiting = waiting[1:]
				begin(w, now)
			}
		}
		starts(now)
		if now < s.end && !s.stalls[0].has(now) && !s.stalls[1].has(now) {
			var open, late []time.Duration
			for ; next <= now+look; next += s.every {
				switch {
				case closed(next):
					out[next] = told{state: job.StateSkipped}
				case next < now-s.grace:
					late = append(late, next)
				default:
					open = append(open, next)
				}
			}
			keep := late
			switch {
			case s.misfire == job.MisfireSkip, s.misfire == job.MisfireLatest && len(open) > 0:
				keep = nil
			case s.misfire == job.MisfireLatest && len(late) > 0:
				keep = late[len(late)-1:]
			}
			for len(keep) > 0 && s.catchUp > 0 && keep[0] < now-s.catchUp {
				keep = keep[1:]
			}
			for _, at := range late[:len(late)-len(keep)] {
				out[at] = told{state: job.StateMissed}
			}
			planning = true
			for i, at := range append(keep, open...) {
				r := &run{at: at, due: at + delay(at)}
				if i > 0 && at <= now { // one after the other, as they have passed
					r.due = max(r.due, now+time.Duration(i)*s.pace)
				}
				if r.due > now {
					planned = append(planned, r)
				} else {
					arrive(r, now) // its start has come: one after the other
				}
			}
			planning = false
			if len(going) == 1 && going[0].dropped { // replaced before it was sent
				out[going[0].at] = told{state: job.StateCancelled}
				going = nil
				begin(waiting[0], now)
				waiting = waiting[1:]
			}
			for _, g := range going {
				g.unsent = false
			}
		}
		starts(now)
	}
	return out
}

func (t told) replaced() bool { return t.state == job.StateCancelled }

// TestI19_InstantsAreDecidedInOrder: whatever is combined, each instant ends as
// a user is told: first whether it is one, then whether it is too late, then
// whether it may start beside what runs.
func TestI19_InstantsAreDecidedInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := stories(rt)
		d := newDesk(t, 1)
		epoch := d.clock
		d.cfg.MisfireGrace, d.cfg.LookAhead = s.grace, 2*moment
		spec := job.Spec{
			Schedules: []string{"@every " + s.every.String()}, Misfire: s.misfire, Overlap: s.overlap, OverlapLimit: s.limit,
			OverlapGrace: job.Duration(s.overlapGrace), Jitter: job.Duration(s.jitter), CatchUp: job.Duration(s.catchUp), CatchUpEvery: job.Duration(s.pace),
		}
		if s.overlap != job.OverlapQueueAll {
			spec.OverlapLimit = 0
		}
		e := d.job(spec)
		// The first instant is one interval after the beginning, as in the model.
		first := e.Next(epoch)
		epoch = first - int64(s.every)
		d.clock = epoch
		d.setNext(e, first)
		at := func(t time.Duration) time.Time { return time.Unix(0, epoch+int64(t)).UTC() }
		view := cluster.Pauses{}
		if p := s.pauses[0]; p.to > p.from {
			view[etcdkv.Paused{Scope: etcdkv.ScopeJob, Key: e.key}] = []*etcdkv.Pause{{Scope: etcdkv.ScopeJob, Since: at(p.from), Until: at(p.to)}}
		}
		if p := s.pauses[1]; p.to > p.from {
			of := etcdkv.Paused{Scope: etcdkv.ScopeNamespace, Key: job.Key{Namespace: e.key.Namespace}}
			view[of] = []*etcdkv.Pause{{Scope: etcdkv.ScopeNamespace, Since: at(p.from), Until: at(p.to)}}
		}
		d.deps.Cluster.SetPauses(view, 1)
		var bf *backfilled
		if s.backfill.to > s.backfill.from {
			bf = &backfilled{Backfill: etcdkv.Backfill{
				ID: "b", Key: e.key, Job: e.uid, From: at(s.backfill.from), To: at(s.backfill.to), Every: job.Duration(s.backfillEvery), Overlap: s.backfillOverlap,
			}, share: 7}
			bf.next = d.backfills.nextOf(bf)
			d.backfills.all["b"] = bf
		}
		starts := map[job.FireID]time.Duration{}
		now := time.Duration(0)
		d.ordered = func(o *job.Order) { starts[o.Task.Fire] = now }
		d.act(s, bf, starts, &now, func(t time.Duration) int64 { return epoch + int64(t) })

		got, again := map[time.Duration]told{}, map[time.Duration]bool{}
		for _, run := range d.runs {
			t := time.Duration(run.FireID.At - epoch)
			if run.FireID.Trigger == job.TriggerBackfill {
				if run.State != job.StateSucceeded || again[t] {
					rt.Fatalf("backfilled instant %v: %+v, a second time: %v", t, run, again[t])
				}
				again[t] = true
				continue
			}
			if _, twice := got[t]; twice {
				rt.Fatalf("instant %v is recorded twice", t)
			}
			if (run.State == job.StateSkipped || run.State == job.StateMissed) != (len(run.Tasks) == 0) || !run.State.Final() {
				rt.Fatalf("instant %v is recorded as %+v", t, run)
			}
			got[t] = told{run.State, starts[run.FireID]}
		}
		sp := job.Spec{Jitter: job.Duration(s.jitter)}
		want := s.expect(2*moment, func(t time.Duration) time.Duration {
			return sp.Delay(job.FireID{Job: e.uid, At: epoch + int64(t), Trigger: job.TriggerSchedule})
		})
		if text := different(got, want); text != "" {
			rt.Fatalf("%+v\n%s", s, text)
		}
		if bf != nil {
			for i := e.Set.Between(at(s.backfill.from), at(s.backfill.to), 1000); len(i) > 0; i = i[1:] {
				if !again[time.Duration(i[0].UnixNano()-epoch)] {
					rt.Fatalf("instant %v was not backfilled", i[0].Sub(at(0)))
				}
			}
		}
	})
}

// act plays the story: runs end, what is due is planned and committed, and what
// is committed starts.
func (d *desk) act(s story, bf *backfilled, starts map[job.FireID]time.Duration, now *time.Duration, instant func(time.Duration) int64) {
	cancelled := map[job.FireID]bool{}
	for *now = 0; *now < s.end || d.anyOpen() || bf != nil && !bf.over; *now += moment {
		d.clock = instant(*now)
		for _, f := range d.inOrderOfStart(starts) {
			state := job.StateSucceeded
			switch {
			case *now >= starts[f.id]+s.took:
			case cancelled[f.id]:
				state = job.StateCancelled
			default:
				continue
			}
			d.onReport(&job.Report{Task: f.taskID(f.tasks[0]), Shard: 1, Known: true, State: state, Spooled: true, StartedAt: time.Unix(0, instant(starts[f.id]))})
		}
		d.step()
		if *now < s.end && !s.stalls[0].has(*now) && !s.stalls[1].has(*now) || bf != nil && !bf.over && *now >= s.end {
			if *now >= s.end {
				for _, e := range d.jobs {
					d.setNext(e, never)
				}
			}
			d.commitPlan(bf)
		}
		d.step()
		for _, f := range d.fires {
			if f.phase.IsEnding() && !f.ended() {
				cancelled[f.id] = true
			}
		}
		if *now > time.Hour {
			d.t.Fatal("it does not end")
		}
	}
}

// commitPlan plans what is due, and commits it.
func (d *desk) commitPlan(bf *backfilled) {
	b := d.plan(d.clock)
	if b == nil {
		return
	}
	sl := newSlot(uint64(len(d.slots)+1), d.clock, "n", b.fires)
	d.slots[sl.seq] = sl
	for _, f := range b.fires {
		d.fires[f.id] = f
	}
	for _, f := range b.fires {
		d.opened(f)
	}
	if bf != nil && len(b.backfills) > 0 {
		bf.busy, bf.over = false, bf.next == never
	}
}

func (d *desk) anyOpen() bool {
	for _, f := range d.fires {
		if !f.ended() {
			return true
		}
	}
	return false
}

// inOrderOfStart returns the fires that have started and not ended.
func (d *desk) inOrderOfStart(starts map[job.FireID]time.Duration) []*fire {
	var out []*fire
	for id := range starts {
		if f := d.fires[id]; !f.ended() {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *fire) int {
		return cmp.Or(cmp.Compare(starts[a.id], starts[b.id]), cmp.Compare(a.due(), b.due()))
	})
	return out
}

func different(got, want map[time.Duration]told) string {
	var out []string
	for at, w := range want {
		if g, ok := got[at]; !ok || g != w {
			out = append(out, fmt.Sprintf("instant %v: got %+v, want %+v", at, got[at], w))
		}
	}
	for at, g := range got {
		if _, ok := want[at]; !ok {
			out = append(out, fmt.Sprintf("instant %v: got %+v, want none", at, g))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// lifeOf plays a story in which the job's runs take no longer than took, and
// counts the states that its instants end in.
func lifeOf(t *testing.T, s story, spec job.Spec) map[job.State]int {
	t.Helper()
	d := newDesk(t, 1)
	d.cfg.MisfireGrace = time.Second
	spec.Schedules = []string{"@every " + s.every.String()}
	e := d.job(spec)
	d.setNext(e, e.Next(d.clock))
	epoch := d.clock
	if p := s.pauses[0]; p.to > 0 {
		d.deps.Cluster.SetPauses(cluster.Pauses{{Scope: etcdkv.ScopeJob, Key: e.key}: {
			{Scope: etcdkv.ScopeJob, By: "ada", Since: time.Unix(0, epoch+int64(p.from)), Until: time.Unix(0, epoch+int64(p.to))},
		}}, 1)
	}
	starts := map[job.FireID]time.Duration{}
	now := time.Duration(0)
	d.ordered = func(o *job.Order) { starts[o.Task.Fire] = now }
	d.act(s, nil, starts, &now, func(t time.Duration) int64 { return epoch + int64(t) })
	states := map[job.State]int{}
	for _, r := range d.runs {
		states[r.State]++
		if r.State == job.StateSkipped && s.pauses[0].to > 0 && !strings.Contains(r.Reason, "by ada") {
			t.Errorf("instant %v is skipped because %q, want the pause", r.ScheduledAt, r.Reason)
		}
	}
	return states
}

// TestI19_PausedInstantsAreNotMissed: nobody is alerted of an instant that would
// not have run, though all owners were down.
func TestI19_PausedInstantsAreNotMissed(t *testing.T) {
	t.Parallel()
	s := story{every: time.Second, took: moment, end: time.Minute, pauses: [2]span{{0, time.Minute}}, stalls: []span{{0, 50 * time.Second}, {}}}
	for _, m := range []job.Misfire{job.MisfireSkip, job.MisfireLatest, job.MisfireAll} {
		if got := lifeOf(t, s, job.Spec{Misfire: m}); got[job.StateMissed] != 0 || got[job.StateSkipped] < 59 {
			t.Errorf("misfire %s: %v, want all skipped", m, got)
		}
	}
}

// TestI19_ClosedInstantTakesNoOnesPlace: with misfire latest the last instant
// that ought to run is run, though closed ones follow it.
func TestI19_ClosedInstantTakesNoOnesPlace(t *testing.T) {
	t.Parallel()
	s := story{every: time.Second, took: moment, end: 50 * time.Second, pauses: [2]span{{20 * time.Second, time.Minute}}, stalls: []span{{0, 40 * time.Second}, {}}}
	if got := lifeOf(t, s, job.Spec{Misfire: job.MisfireLatest}); got[job.StateSucceeded] != 1 {
		t.Errorf("%v, want one run: that of the last instant before the pause", got)
	}
}

// TestI19_CatchUpIsNotInItsOwnWay: what is planned and has not started keeps
// nothing from starting: all missed instants are run, at their pace.
func TestI19_CatchUpIsNotInItsOwnWay(t *testing.T) {
	t.Parallel()
	s := story{every: 5 * time.Second, took: moment, end: 156 * time.Second, stalls: []span{{0, 155 * time.Second}, {}}}
	for _, o := range []job.Overlap{job.OverlapSkip, job.OverlapReplace, job.OverlapQueueOne, job.OverlapQueueAll, job.OverlapAllow} {
		spec := job.Spec{Misfire: job.MisfireAll, Overlap: o, CatchUpEvery: job.Duration(200 * time.Millisecond)}
		if got := lifeOf(t, s, spec); got[job.StateSucceeded] != 31 {
			t.Errorf("overlap %s: %v, want 31 runs", o, got)
		}
	}
}

// TestI19_JitterAboveTheIntervalLosesNothing as long as no two runs meet.
func TestI19_JitterAboveTheIntervalLosesNothing(t *testing.T) {
	t.Parallel()
	s := story{every: time.Minute, took: moment, end: 30 * time.Minute, stalls: []span{{}, {}}}
	spec := job.Spec{Overlap: job.OverlapSkip, Jitter: job.Duration(2 * time.Minute)}
	if got := lifeOf(t, s, spec); got[job.StateSucceeded] != 30 {
		t.Errorf("%v, want 30 runs", got)
	}
}
