package manifest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/jobgen"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// decodeDoc reads a generated document.
func decodeDoc(d jobgen.Doc) (Object, error) {
	objects, err := Decode("f", d.JSON())
	if err != nil {
		return Object{}, err
	}
	return objects[0], nil
}

// behaviour tells what a job does, as the scheduler and the minions do it: when it is
// due, what becomes of what is missed, of overlaps, failures and unknown outcomes, and
// where and how it runs.
func behaviour(s *job.Spec) map[string]any {
	b := map[string]any{
		"group": s.Group, "work": []any{s.Command, s.Script, s.Steps, s.Params, s.Env}, "timeout": s.EffectiveTimeout(), "lostAfter": s.EffectiveLostAfter(),
		"deadline": s.Deadline, "lateAfter": s.LateAfter, "after": s.After.Keys("default"), "watch": s.Watch, "webhook": s.Webhook,
		"where": []any{s.Target.Names, s.Target.Labels, s.Target.Match, s.Target.Prefer, s.Target.EffectiveRun(), s.Target.By},
	}
	if len(s.Command) == 0 || !strings.HasPrefix(s.Command[0], "go:") {
		b["process"] = []any{s.WorkingDir, s.User, s.Limits}
	}
	if s.Target.Run == job.SpreadAny {
		b["count"] = s.Target.Count
	}
	if s.Target.EffectiveRun() != job.SpreadOne {
		r := s.Rollout
		if r.Canary == "" && r.CanaryCount == 0 {
			r.Promote = ""
		}
		if r.Batch == "" {
			r.Pause = 0
		}
		if r.Order != job.OrderLabel {
			r.OrderBy = ""
		}
		b["rollout"] = r
	}
	if s.Deadline > 0 {
		b["onDeadline"] = s.EffectiveOnDeadline()
	}
	if s.After != nil {
		b["on"] = s.After.EffectiveOn()
		b["any"] = s.After.Match == job.MatchAny && len(s.After.Jobs) > 1
	}
	if len(s.Schedules) > 0 || s.After != nil || s.Watch != nil || s.Webhook != nil {
		b["pauses"] = s.PauseAfterFailures
	}
	b["overlap"] = s.EffectiveOverlap()
	switch s.EffectiveOverlap() {
	case job.OverlapQueueAll:
		b["waiting"] = s.EffectiveOverlapLimit()
	case job.OverlapReplaceAfterGrace:
		b["grace"] = s.EffectiveOverlapGrace()
	default: // have nothing of their own
	}
	b["attempts"] = attempts(s)
	if s.Retry.Attempts > 2 || s.Idempotent {
		b["longest pause"] = s.Retry.MaxBackoff // a bound, reached or not
	}
	if len(s.Schedules) > 0 {
		timing(s, b)
	}
	return b
}

// attempts tells when a task is tried again, by how it ended each time.
func attempts(s *job.Spec) map[string][]time.Duration {
	out := map[string][]time.Duration{}
	for how, end := range map[string]struct {
		state job.State
		exit  *job.Exit
	}{
		"exit code 1": {job.StateFailed, &job.Exit{Code: 1}}, "exit code 3": {job.StateFailed, &job.Exit{Code: 3}},
		"timed out": {job.StateTimedOut, nil}, "unknown": {job.StateIndeterminate, nil},
	} {
		for n := 1; n < 20; n++ {
			again := s.Retry.Allows(end.state, end.exit) && n < s.Retry.Attempts
			if end.state == job.StateIndeterminate {
				again = s.Idempotent && n < max(s.Retry.Attempts, 3)
			}
			if !again {
				break
			}
			out[how] = append(out[how], s.Retry.Delay(n+1))
		}
	}
	return out
}

// timing tells when a job with schedules is due and starts.
func timing(s *job.Spec, b map[string]any) {
	set, err := schedule.ParseSet(s.Schedules, schedule.OptionsOf(job.Key{Namespace: "default", Name: "x"}, s))
	if err != nil {
		panic(err)
	}
	var starts []time.Time
	for _, from := range []string{"2027-03-12T23:59:59Z", "2027-03-26T23:59:59Z", "2027-10-29T23:59:59Z", "2027-11-05T23:59:59Z"} { // before clocks jump
		at, _ := time.Parse(time.RFC3339, from)
		if s.StartAt != nil && at.Before(*s.StartAt) {
			at = s.StartAt.Add(-1)
		}
		for n := 0; n < 300 && (s.Count == 0 || n < s.Count); n++ {
			next, ok := set.Next(at)
			if !ok || s.EndAt != nil && next.After(*s.EndAt) {
				break
			}
			at = next
			starts = append(starts, at.Add(s.Delay(job.FireID{At: at.UnixNano(), Trigger: job.TriggerSchedule})))
		}
	}
	b["starts"], b["calendars"], b["enabled"] = starts, s.Calendars, s.IsEnabled() // what it does once it is enabled
	var zones, dialects []string
	for _, one := range set {
		if !one.Once() {
			b["bounds"] = []*time.Time{s.StartAt, s.EndAt} // in the sample or not
		}
		if one.OnClock() {
			zones = append(zones, one.Location().String()) // as it is shown
		}
		if one.OnClock() && (!one.Named() || one.Jumps()) {
			dialects = append(dialects, string(s.Dialect)) // as the next edit is read, and what it does when clocks jump
		}
	}
	b["zones"], b["dialects"] = zones, dialects
	if len(s.Calendars) > 0 {
		b["excluded"] = s.OnExcluded
		if s.OnExcluded == job.ExcludedNext {
			b["to the day of"] = s.TimeZone
		}
	}
	// Of ten occurrences of the last ten hours, which run, and how far apart?
	var run []int
	for hours := 10; hours > 0; hours-- {
		old := s.CatchUp > 0 && time.Duration(hours)*time.Hour > time.Duration(s.CatchUp)
		switch {
		case old, s.EffectiveMisfire() == job.MisfireSkip, s.EffectiveMisfire() == job.MisfireLatest && hours > 1:
		default:
			run = append(run, hours)
		}
	}
	if b["missed"] = run; len(run) > 1 {
		b["pace"] = s.EffectiveCatchUpEvery()
	}
	if s.EffectiveMisfire() != job.MisfireSkip {
		b["no older than"] = s.CatchUp
	}
}

// TestM2_LeavingOutChangesWhatTheJobDoes: of a job that is taken, each field that is
// not its default does something: without it the job does another thing, or is none.
func TestM2_LeavingOutChangesWhatTheJobDoes(t *testing.T) {
	t.Parallel()
	inTable := map[string]bool{}
	for _, f := range job.Fields(job.KindJob) {
		inTable[f.Path] = true
	}
	for path := range jobgen.Values() {
		if !inTable["spec."+path] {
			t.Fatalf("%s is no field", path)
		}
	}
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		d, given := jobgen.Near(rt)
		o, err := decodeDoc(d)
		if err != nil {
			tellsWhere(rt, err, d)
			return
		}
		taken++
		does := behaviour(&o.Spec)
		for _, path := range given {
			less, err := decodeDoc(d.Without("spec." + path))
			if err != nil {
				continue // the job is none without it
			}
			if reflect.DeepEqual(does, behaviour(&less.Spec)) {
				rt.Fatalf("%s has no effect in %s", path, d.JSON())
			}
		}
	})
	if taken == 0 {
		t.Error("no job was taken at all")
	}
}

// tellsWhere checks that each problem names its field, its place and what is wrong.
func tellsWhere(rt *rapid.T, err error, d jobgen.Doc) {
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		rt.Fatalf("%T: %v", err, err)
	}
	for _, p := range invalid.Problems {
		if p.Path == "" || p.Line == 0 || p.Column == 0 || len(p.Message) < 8 || strings.Contains(p.Message, "%!") {
			rt.Fatalf("%+v of %s", p, d.JSON())
		}
		last := p.Message[len(p.Message)-1]
		if p.Message[0] == ' ' || last == '.' || last == ' ' || last == ';' {
			rt.Fatalf("%q of %s", p.Message, d.JSON())
		}
	}
}

// TestM1_SillyJobs: whatever is in a document, it is refused with the paths of its
// fields, or nothing that was given is lost.
func TestM1_SillyJobs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := jobgen.Silly(rt, Kinds())
		o, err := decodeDoc(d)
		if err != nil {
			tellsWhere(rt, err, d)
			return
		}
		text, err := Encode(o)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := Decode("f", text); err != nil {
			rt.Fatalf("is taken, and not when it is written anew: %v\n%s", err, text)
		}
		for _, path := range d.Given() {
			if !strings.Contains(string(text), path[strings.LastIndex(path, ".")+1:]+":") {
				rt.Fatalf("%s was given and is lost: %s\n%s", path, d.JSON(), text)
			}
		}
	})
}
