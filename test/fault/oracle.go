package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// evidence is all that is known of a run of a scenario.
type evidence struct {
	plans map[job.UID]plan
	// until: every occurrence up to it must be accounted for. Later ones may
	// be; the jobs were paused then.
	until time.Time
	// end is an instant after which there can be no occurrence any more.
	end   time.Time
	trace trace
	runs  []job.Run
}

// finding is something that is wrong about a fire.
type finding struct {
	fire job.FireID
	what string
}

// verdict is what the oracle found.
type verdict struct {
	fires       int // that ran
	duplicates  []finding
	missing     []finding
	unaccounted []finding
	states      map[job.State]int
	late        []time.Duration // of what ran, sorted
}

func (v *verdict) good() bool {
	return len(v.duplicates) == 0 && len(v.missing) == 0 && len(v.unaccounted) == 0
}

// maxOccurrences bounds how many occurrences of one job are listed.
const maxOccurrences = 1_000_000

// judge compares occurrences, trace and records.
func judge(e evidence) verdict {
	v := verdict{fires: len(e.trace), states: map[job.State]int{}}
	due := map[job.FireID]bool{}
	for uid, p := range e.plans {
		for _, at := range p.set.Between(p.after, e.end, maxOccurrences) {
			due[job.FireID{Job: uid, At: at.UnixNano(), Trigger: job.TriggerSchedule}] = true
		}
	}
	records := recordsByFire(e)
	v.judgeTrace(e.trace, due, records)
	v.judgeRecords(e, records)
	for fire := range due {
		if fire.Time().After(e.until) || e.trace[fire] > 0 {
			continue
		}
		switch r, ok := records[fire]; {
		case !ok:
			v.missing = append(v.missing, finding{fire, "did not run, and has no record"})
		case !r.State.Final():
			v.missing = append(v.missing, finding{fire, "did not run, and has not ended: " + string(r.State)})
		case r.Reason == "" && !ran(r.State):
			v.missing = append(v.missing, finding{fire, "did not run, and its record gives no reason: " + string(r.State)})
		}
	}
	for _, list := range []*[]finding{&v.duplicates, &v.missing, &v.unaccounted} {
		slices.SortFunc(*list, func(a, b finding) int {
			return cmp.Or(cmp.Compare(a.fire.At, b.fire.At), cmp.Compare(a.fire.String(), b.fire.String()))
		})
	}
	slices.Sort(v.late)
	return v
}

// recordsByFire finds a record by any occurrence that it stands for.
func recordsByFire(e evidence) map[job.FireID]*job.Run {
	out := map[job.FireID]*job.Run{}
	for i := range e.runs {
		r := &e.runs[i]
		out[r.FireID] = r
		p, known := e.plans[r.FireID.Job]
		if r.Count <= 1 || !known {
			continue
		}
		for _, at := range p.set.Between(r.ScheduledAt.Add(-1), r.Until, r.Count) {
			out[job.FireID{Job: r.FireID.Job, At: at.UnixNano(), Trigger: r.FireID.Trigger}] = r
		}
	}
	return out
}

// judgeTrace looks at what ran.
func (v *verdict) judgeTrace(t trace, due map[job.FireID]bool, records map[job.FireID]*job.Run) {
	for fire, n := range t {
		if n > 1 {
			v.duplicates = append(v.duplicates, finding{fire, fmt.Sprintf("ran %d times", n)})
		}
		r, ok := records[fire]
		switch {
		case !due[fire]:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is no occurrence of its job"})
		case !ok:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and has no record"})
		case !r.State.Final():
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and its record has not ended: " + string(r.State)})
		case !ran(r.State) && r.State != job.StateIndeterminate:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is recorded as " + string(r.State)})
		}
	}
}

// judgeRecords looks at what is recorded.
func (v *verdict) judgeRecords(e evidence, records map[job.FireID]*job.Run) {
	for i := range e.runs {
		r := &e.runs[i]
		v.states[r.State] += max(r.Count, 1)
		if !r.StartedAt.IsZero() {
			late := r.StartedAt.Sub(r.ScheduledAt)
			v.late = append(v.late, late)
			if late < 0 {
				v.unaccounted = append(v.unaccounted, finding{r.FireID, fmt.Sprintf("started %v before its instant", -late)})
			}
		}
		if records[r.FireID] != r {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "has two records"})
		}
		if ran(r.State) && e.trace[r.FireID] == 0 {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "is recorded as " + string(r.State) + ", and left no trace"})
		}
	}
}

// ran reports whether a run in this state has been started for certain.
func ran(s job.State) bool {
	return s == job.StateSucceeded || s == job.StateFailed || s == job.StateTimedOut
}
