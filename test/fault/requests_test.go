package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// story is a job that was edited, paused, started and backfilled, and what became of
// it. It is due every second from 0 on; it was disabled at 10, which holds from 12
// on, and is due every two seconds from 20, which holds from 21 on.
type story struct {
	*evidence

	t    *testing.T
	from time.Time
	uid  job.UID
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{t: t, from: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), uid: job.UID{1}}
	s.evidence = &evidence{
		trace: trace{}, until: s.at(30),
		plans: map[job.UID]*plan{s.uid: {key: job.Key{Namespace: probeSpace, Name: "j"}, spans: []span{
			{set: s.set(every), after: s.at(0)},
			{after: s.at(10), holds: s.at(12), what: offWord},
			{set: s.set(probeEvery), after: s.at(20), holds: s.at(21), what: "it was enabled"},
		}}},
	}
	for second := 1; second <= 10; second++ {
		s.ran(s.fire(second))
	}
	s.ran(s.fire(12)) // committed before the answer
	for second := 22; second <= 30; second += 2 {
		s.ran(s.fire(second))
	}
	return s
}

func (s *story) set(expr string) schedule.Set {
	s.t.Helper()
	set, err := schedule.ParseSet([]string{expr}, schedule.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	return set
}

func (s *story) at(second int) time.Time { return s.from.Add(time.Duration(second) * time.Second) }

func (s *story) fire(second int) job.FireID { return scheduled(s.uid, s.at(second)) }

func (s *story) plan() *plan { return s.plans[s.uid] }

// ran adds a fire that ran, for half a second.
func (s *story) ran(fire job.FireID) *job.Run {
	s.trace[fire]++
	s.starts = append(s.starts, started{fire: fire, at: fire.Time(), minion: "w1", attempt: 1})
	return s.recorded(fire, job.StateSucceeded, "")
}

// recorded adds a record.
func (s *story) recorded(fire job.FireID, state job.State, reason string) *job.Run {
	r := job.Run{RunID: fire.RunID(), FireID: fire, ScheduledAt: fire.Time(), State: state, Reason: reason, Count: 1}
	if ran(state) {
		r.StartedAt, r.EndedAt = fire.Time(), fire.Time().Add(time.Second/2)
		r.Tasks = []job.Task{{Minion: "w1", Attempt: 1, State: state, StartedAt: r.StartedAt, EndedAt: r.EndedAt}}
	}
	s.runs = append(s.runs, r)
	return &s.runs[len(s.runs)-1]
}

// not takes away that a fire ran, and its record.
func (s *story) not(second int) {
	fire := s.fire(second)
	delete(s.trace, fire)
	for i := range s.runs {
		if s.runs[i].FireID == fire {
			s.runs = append(s.runs[:i], s.runs[i+1:]...)
			break
		}
	}
	for i := range s.starts {
		if s.starts[i].fire == fire {
			s.starts = append(s.starts[:i], s.starts[i+1:]...)
			break
		}
	}
}

func (s *story) manual(second int) job.FireID {
	return job.FireID{Job: s.uid, At: s.at(second).UnixNano() + 5, Trigger: job.TriggerManual}
}

// The oracle is shown what people did, and what became of it.
func TestJudgeRequests(t *testing.T) {
	t.Parallel()
	rests := func(scope etcdkv.Scope) *rest {
		return &rest{scope: scope, key: job.Key{Namespace: probeSpace, Name: "j"}}
	}
	// From 3 on, by an answer that says from 4 on, until it is ended at 7, which is done at 8.
	paused := func(s *story) *rest {
		r := rests(etcdkv.ScopeJob)
		r.asked, r.holds, r.resumed, r.over = s.at(3), s.at(4), s.at(7).Add(time.Millisecond), s.at(8)
		s.ledger.pauses = append(s.ledger.pauses, r)
		for second := 5; second <= 7; second++ {
			s.not(second)
			s.recorded(s.fire(second), job.StateSkipped, "the job is paused since then")
		}
		return r
	}
	shutAt5 := func(s *story, moves bool) {
		s.plan().spans[0].closed = &closing{name: "c", windows: []window{{s.at(5), s.at(7)}}, moves: moves}
		s.not(5)
		s.not(6)
	}
	filled := func(s *story) *backfill {
		s.ledger.backfills = []backfill{{id: "b", job: s.uid, instants: []time.Time{s.at(-9), s.at(-8)}}}
		b := &s.ledger.backfills[0]
		s.ran(b.fire(s.at(-9)))
		s.ran(b.fire(s.at(-8)))
		return b
	}
	for name, c := range map[string]struct {
		change func(*story)
		want   string // words of the only findings; empty: there are none
	}{
		"all is well": {func(*story) {}, ""},

		"lost before an edit":              {func(s *story) { s.not(10) }, "missing: did not run, and has no record"},
		"lost after an edit":               {func(s *story) { s.not(22) }, "missing: did not run, and has no record"},
		"not yet by the new":               {func(s *story) { s.plan().spans[2].holds = s.at(22); s.not(22) }, ""},
		"after an edit held":               {func(s *story) { s.ran(s.fire(13)) }, "forbidden: ran, though it was disabled, which holds from 2026-01-01T00:00:12Z on"},
		"missed after it held":             {func(s *story) { s.recorded(s.fire(13), job.StateMissed, "late") }, "forbidden: is recorded as missed, though it was disabled"},
		"disabled before it was committed": {func(s *story) { s.not(10); s.recorded(s.fire(10), job.StateSkipped, "the job was disabled at 10") }, ""},
		"disabled, by its word": {func(s *story) { s.not(24); s.recorded(s.fire(24), job.StateSkipped, "the job was disabled at 10") },
			"unaccounted: is recorded as skipped, though that was before"},
		"no instant of any":        {func(s *story) { s.ran(s.fire(23)) }, "forbidden: ran, though it was disabled"},
		"recorded, never due":      {func(s *story) { f := s.fire(24); f.At++; s.recorded(f, job.StateMissed, "late") }, "unaccounted: is recorded, and is no occurrence of its job"},
		"of no job that there was": {func(s *story) { f := s.fire(24); f.Job = job.UID{9}; s.recorded(f, job.StateMissed, "late") }, "unaccounted: is recorded, and is of no job that there was"},
		"waits for others untruly": {func(s *story) { s.not(24); s.recorded(s.fire(24), job.StateSkipped, saysEarlier) }, "unaccounted: is recorded as skipped, though its runs do not wait for one another"},
		"waits for others": {func(s *story) {
			s.plan().alone = true
			s.not(24)
			s.recorded(s.fire(24), job.StateSkipped, saysEarlier)
		}, ""},
		"an end":        {func(s *story) { s.plan().spans[2].to = s.at(28); s.not(30) }, ""},
		"beyond an end": {func(s *story) { s.plan().spans[2].to = s.at(28) }, "forbidden: ran, though it was disabled"},

		"paused":             {func(s *story) { paused(s) }, ""},
		"ran in a pause":     {func(s *story) { paused(s); s.not(6); s.ran(s.fire(6)) }, "forbidden: ran, in spite of the pause of job probe/j"},
		"ran before it held": {func(s *story) { paused(s).holds = s.at(5); s.not(5); s.ran(s.fire(5)) }, ""},
		"missed in a pause":  {func(s *story) { paused(s); s.not(6); s.recorded(s.fire(6), job.StateMissed, "late") }, "unaccounted: is recorded as missed, and not as skipped for the pause"},
		"lost in a pause":    {func(s *story) { paused(s); s.not(6) }, "missing: did not run, and has no record"},
		"paused after its end": {func(s *story) {
			paused(s)
			s.not(9)
			s.recorded(s.fire(9), job.StateSkipped, "the job is paused since then")
		}, "unaccounted: is recorded as skipped, though nothing is paused then"},
		"paused while it ended": {func(s *story) {
			paused(s)
			s.not(8)
			s.recorded(s.fire(8), job.StateSkipped, "the job is paused since then")
		}, ""},
		"ended by itself": {func(s *story) {
			r := paused(s)
			r.until, r.resumed, r.over = s.at(7), time.Time{}, time.Time{}
			s.not(7)
			s.ran(s.fire(7))
		}, ""},
		"the pause of another": {func(s *story) { paused(s).key.Name = "k"; s.not(6); s.ran(s.fire(6)) }, "unaccounted: is recorded as skipped, though nothing is paused then; unaccounted: is recorded as skipped, though nothing is paused then"},
		"all is paused":        {func(s *story) { paused(s).scope = etcdkv.ScopeAll; s.not(6); s.ran(s.fire(6)) }, "forbidden: ran, in spite of the pause of all"},
		"its group is paused": {func(s *story) {
			r := paused(s)
			r.scope, r.key.Name, s.plan().group = etcdkv.ScopeGroup, "g", "g"
			s.not(6)
			s.ran(s.fire(6))
		}, "forbidden: ran, in spite of the pause of group probe/g"},
		"its namespace is": {func(s *story) {
			r := paused(s)
			r.scope, r.key.Name = etcdkv.ScopeNamespace, ""
			s.not(6)
			s.ran(s.fire(6))
		}, "forbidden: ran, in spite of the pause of namespace probe"},
		"started in a pause": {func(s *story) { paused(s); s.ledger.starts = []job.FireID{s.manual(6)}; s.ran(s.manual(6)) }, ""},

		"closed": {func(s *story) {
			shutAt5(s, false)
			s.recorded(s.fire(5), job.StateSkipped, "calendar probe/c: closed")
			s.recorded(s.fire(6), job.StateSkipped, "calendar probe/c: closed")
		}, ""},
		"ran on a closed day": {func(s *story) {
			shutAt5(s, false)
			s.ran(s.fire(5))
			s.recorded(s.fire(6), job.StateSkipped, "calendar probe/c: closed")
		}, "forbidden: ran, in spite of calendar c"},
		"closed, and open": {func(s *story) {
			shutAt5(s, false)
			s.ran(s.fire(6))
			s.ran(s.fire(5))
			s.not(8)
			s.recorded(s.fire(8), job.StateSkipped, "calendar probe/c: closed")
		},
			"forbidden: ran, in spite of calendar c; forbidden: ran, in spite of calendar c; unaccounted: is recorded as skipped, though that calendar is open then"},
		"missed on a closed day": {func(s *story) {
			shutAt5(s, false)
			s.recorded(s.fire(5), job.StateMissed, "late")
			s.recorded(s.fire(6), job.StateSkipped, "calendar probe/c: closed")
		}, "unaccounted: is recorded as missed, and not as skipped for calendar c"},
		"moved":                {func(s *story) { shutAt5(s, true) }, ""},
		"moved, and lost":      {func(s *story) { shutAt5(s, true); s.not(7) }, "missing: did not run, and has no record"},
		"moved, and ran there": {func(s *story) { shutAt5(s, true); s.ran(s.fire(6)) }, "unaccounted: ran, and is no occurrence of its job"},

		"asked for":           {func(s *story) { s.ledger.starts = []job.FireID{s.manual(6)}; s.ran(s.manual(6)) }, ""},
		"asked for, and lost": {func(s *story) { s.ledger.starts = []job.FireID{s.manual(6)} }, "missing: did not run, and has no record"},
		"not asked for":       {func(s *story) { s.ran(s.manual(6)) }, "unaccounted: ran, and nobody has asked for it"},
		"recorded, not asked": {func(s *story) { s.recorded(s.manual(6), job.StateSkipped, "why") }, "unaccounted: is recorded, and nobody has asked for it"},
		"asked for, unanswered": {func(s *story) { s.ledger.unsure = map[job.UID]int{s.uid: 1}; s.ran(s.manual(6)); s.ran(s.manual(7)) },
			"unaccounted: ran, and nobody has asked for it"},

		"backfilled":              {func(s *story) { filled(s) }, ""},
		"backfilled, one is lost": {func(s *story) { b := filled(s); b.instants = append(b.instants, s.at(-7)) }, "missing: did not run, and has no record"},
		"backfilled twice":        {func(s *story) { s.trace[filled(s).fire(s.at(-8))]++ }, "doubled: ran 2 times"},
		"backfilled beyond":       {func(s *story) { s.ran(filled(s).fire(s.at(-7))) }, "unaccounted: ran, and nobody has asked for it"},
		"backfill, two at a time": {func(s *story) { filled(s); s.runs[len(s.runs)-2].EndedAt = s.at(-7) }, "crowded: is number 2 under way in backfill b, which allows 1"},

		"two of a job that allows one": {func(s *story) { s.plan().alone = true; s.runs[0].EndedAt = s.at(2).Add(1) }, "crowded: is number 2 under way in job probe/j"},
		"before its jitter":            {func(s *story) { s.plan().jitter = time.Nanosecond; s.runs[0].StartedAt = s.at(0) }, "early: started"},
		"by hand, out of order": {func(s *story) {
			s.groups, s.plan().group = map[string]job.GroupSpec{"g": {Ordered: true}}, "g"
			s.ledger.starts = []job.FireID{s.manual(6)}
			r := s.ran(s.manual(6))
			r.StartedAt, r.EndedAt, r.CommittedAt = s.at(7).Add(600*time.Millisecond), s.at(7).Add(700*time.Millisecond), s.at(6)
			s.runs[6].CommittedAt = s.at(6).Add(1) // that of 7
		}, "out_of_order: started after the run of probe/j"},
		"by hand, committed after the next": {func(s *story) {
			s.groups, s.plan().group = map[string]job.GroupSpec{"g": {Ordered: true}}, "g"
			s.ledger.starts = []job.FireID{s.manual(6)}
			r := s.ran(s.manual(6))
			r.StartedAt, r.EndedAt, r.CommittedAt = s.at(7).Add(600*time.Millisecond), s.at(7).Add(700*time.Millisecond), s.at(6)
			s.runs[6].CommittedAt = s.at(6) // that of 7
		}, ""},

		"succeeded by its record": {func(s *story) { s.starts[0].exits = 3 }, "unaccounted: ended with exit code 3, and is recorded as succeeded"},
		"failed by its record":    {func(s *story) { s.runs[0].State, s.runs[0].Tasks[0].State = job.StateFailed, job.StateFailed }, "unaccounted: ended with exit code 0, and is recorded as failed"},
		"failed": {func(s *story) {
			s.starts[0].exits = 3
			s.runs[0].State, s.runs[0].Tasks[0].State = job.StateFailed, job.StateFailed
			s.runs[0].Tasks[0].Exit = &job.Exit{Code: 3}
		}, ""},
		"failed with another code": {func(s *story) {
			s.starts[0].exits = 3
			s.runs[0].State, s.runs[0].Tasks[0].State = job.StateFailed, job.StateFailed
			s.runs[0].Tasks[0].Exit = &job.Exit{Code: 4}
		}, "unaccounted: ended with exit code 3"},
		"on another minion":     {func(s *story) { s.starts[0].minion = "w2" }, "unaccounted: ran on w2, attempt 1, and is recorded on w1, attempt 1"},
		"ended before it began": {func(s *story) { s.runs[0].Tasks[0].EndedAt = s.at(0) }, "unaccounted: is recorded as succeeded, from"},
		"a command that never was": {func(s *story) {
			s.plan().versions = 2
			for i := range s.starts {
				s.starts[i].version = 1
			}
			s.starts[0].version = 3
		}, "unaccounted: ran version 3 of its command, of which there are 2"},
		"stuck":                  {func(s *story) { s.stuck = []string{"a run"} }, "stuck: a run"},
		"ready without owners":   {func(s *story) { s.unready = []string{"node s1"} }, "unready: node s1"},
		"cancelled, and it left": {func(s *story) { s.runs[0].State = job.StateCancelled }, "unaccounted: ran, and is recorded as cancelled"},
		"cancelled by the next one": {func(s *story) {
			s.plan().cancels = true
			s.runs[0].State, s.runs[0].Reason = job.StateCancelled, "replaced"
			s.runs[0].Tasks[0].State = job.StateCancelled
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			c.change(s)
			v := judge(s.evidence)
			got := toldShortly(&v)
			want := strings.Split(c.want, "; ")
			if c.want == "" {
				want = nil
			}
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.HasPrefix(got[i], want[i])
			}
			if !ok || v.good() != (c.want == "") {
				t.Errorf("good %v, got\n%s\nwant\n%s", v.good(), strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// toldShortly writes the findings of a verdict.
func toldShortly(v *verdict) []string {
	var out []string
	for _, kind := range v.figures() {
		for _, f := range kind.list {
			out = append(out, fmt.Sprintf("%s: %s", kind.name, f.what))
		}
	}
	for _, what := range v.stuck {
		out = append(out, "stuck: "+what)
	}
	for _, what := range v.unready {
		out = append(out, "unready: "+what)
	}
	slices.Sort(out)
	return out
}

// The probes have an ordered group of every mode that there is, and what the oracle
// knows of their calendars is what the product makes of them.
func TestProbes(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	groups, specs := probeGroups(), probeSpecs("trace", begun, true)
	for _, name := range mode.Names() {
		if g, ok := groups["ordered-"+name]; !ok || !g.Ordered || g.Mode != name {
			t.Errorf("no ordered group of mode %s", name)
		}
		in := 0
		for _, spec := range specs {
			if spec["group"] == "ordered-"+name {
				in++
			}
		}
		if in < 2 {
			t.Errorf("%d jobs are in the ordered group of mode %s, want two", in, name)
		}
	}
	manifests, known := calendarsOf(begun)
	for name, spec := range manifests {
		compiled, problems := calendar.New(name, &spec)
		if len(problems) > 0 {
			t.Fatal(name, problems)
		}
		check := func(at time.Time) {
			t.Helper()
			_, is := known[name].at(at)
			if _, _, want := compiled.Closed(at); is != want {
				t.Errorf("calendar %s at %v: closed %v, want %v", name, at, is, want)
			}
		}
		for d := -30 * time.Hour; d < 40*time.Hour; d += 1307 * time.Second {
			if name == shutDays || name == otherDays {
				check(begun.Add(d))
			}
		}
		for d := time.Duration(0); d < time.Minute; d += 500 * time.Millisecond {
			check(begun.Truncate(time.Second).Add(d))
		}
	}
}

// TestReasonsAreTheSchedulers: the reasons that the oracle looks into are those that the
// scheduler gives. One that is worded anew there would be looked into no more.
func TestReasonsAreTheSchedulers(t *testing.T) {
	t.Parallel()
	files := []string{"../../calendar/calendar.go"}
	for _, rooms := range []string{"../../scheduler/*.go", "../../scheduler/*/*.go"} {
		found, err := filepath.Glob(rooms)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	var source strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	for _, reason := range []string{saysCalendar, saysPaused, saysDisabled, saysDeleted, saysEarlier} {
		if !regexp.MustCompile(`"[^"\n]*` + reason).MatchString(source.String()) {
			t.Errorf("no room of the scheduler has the text %q", reason)
		}
	}
}
