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
	// starts are the lines of the trace; last tells until when a task may start
	// under a token, where that is over. Nil: it is not looked at.
	starts []started
	last   func(job.ShardID, int64) (time.Time, bool)
	// groups are the specs of the groups, by name.
	groups map[string]job.GroupSpec
	// early is how long before its instant a fire may start.
	early time.Duration
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
	// stale are starts under an old token, crowded runs that should have waited,
	// disordered runs of an ordered group that started after one of a later instant,
	// early those that started before their instant.
	stale, crowded, disordered, early []finding
	// grew are the sizes that did not stay flat.
	grew   []string
	states map[job.State]int
	late   []time.Duration // of what ran, sorted
}

func (v *verdict) good() bool {
	return len(v.duplicates) == 0 && len(v.missing) == 0 && len(v.unaccounted) == 0 && len(v.stale) == 0 &&
		len(v.crowded) == 0 && len(v.disordered) == 0 && len(v.early) == 0 && len(v.grew) == 0
}

// maxOccurrences bounds how many occurrences of one job are listed.
const maxOccurrences = 1_000_000

// judge compares occurrences, trace and records.
func judge(e evidence) verdict {
	v := verdict{fires: len(e.trace), states: map[job.State]int{}}
	due := map[job.FireID]bool{}
	for uid, p := range e.plans {
		for _, at := range p.set.Between(p.after, e.end.Add(e.early), maxOccurrences) {
			due[job.FireID{Job: uid, At: at.UnixNano(), Trigger: job.TriggerSchedule}] = true
		}
	}
	records := recordsByFire(e)
	v.judgeTrace(e.trace, due, records)
	v.judgeRecords(e, records)
	v.judgeStarts(e)
	v.judgeGroups(e)
	v.judgeOrder(e)
	// A share of an occurrence speaks for the occurrence.
	shared := map[job.FireID]bool{}
	for fire := range e.trace {
		shared[whole(fire)] = true
	}
	for fire := range records {
		shared[whole(fire)] = shared[whole(fire)] || fire.Share != 0
	}
	for fire := range due {
		if fire.Time().After(e.until) || shared[fire] {
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
		if !ok { // the shares may be one run
			r, ok = records[whole(fire)]
		}
		switch {
		case !due[whole(fire)]:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is no occurrence of its job"})
		case !ok:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and has no record"})
		case !r.State.Final():
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and its record has not ended: " + string(r.State)})
		case !ran(r.State) && r.State != job.StateIndeterminate: // which judgeRecords tells of
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
			if late < -e.early {
				v.early = append(v.early, finding{r.FireID, fmt.Sprintf("started %v before its instant", -late)})
			}
		}
		if records[r.FireID] != r {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "has two records"})
		}
		if r.State == job.StateIndeterminate {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "is indeterminate, though no host and no shim has died: " + r.Reason})
		}
		if ran(r.State) && !traced(e.trace, r) {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "is recorded as " + string(r.State) + ", and left no trace"})
		}
	}
}

// whole returns the occurrence that a share is of.
func whole(f job.FireID) job.FireID {
	f.Share = 0
	return f
}

// traced reports whether a run has left its traces: one, or one for each share.
func traced(t trace, r *job.Run) bool {
	if len(r.Tasks) == 0 || r.Tasks[0].Share == "" {
		return t[r.FireID] > 0
	}
	for _, task := range r.Tasks {
		fire := r.FireID
		fire.Share = job.ShareOf(task.Share)
		if ran(task.State) && t[fire] == 0 {
			return false
		}
	}
	return true
}

// judgeStarts looks for tasks that were started under a token after the lease of
// its owner had ended. The start is what the record says, or else when the kernel
// made the process: what a busy machine takes from the one to the other is not the
// minion's.
func (v *verdict) judgeStarts(e evidence) {
	if e.last == nil {
		return
	}
	recorded := map[job.FireID]time.Time{}
	for i := range e.runs {
		r := &e.runs[i]
		if len(r.Tasks) == 0 {
			recorded[r.FireID] = r.StartedAt
		}
		for _, t := range r.Tasks {
			fire := r.FireID
			if t.Share != "" {
				fire.Share = job.ShareOf(t.Share)
			}
			recorded[fire] = t.StartedAt
		}
	}
	for _, s := range e.starts {
		p, ok := e.plans[s.fire.Job]
		if !ok {
			continue
		}
		at := s.at
		if r := recorded[s.fire]; !r.IsZero() && r.Before(at) {
			at = r
		}
		if last, over := e.last(p.shard, s.token.Revision); over && at.After(last) {
			v.stale = append(v.stale, finding{s.fire, fmt.Sprintf("started under token %v, %v after the lease of its owner ended", s.token, at.Sub(last).Round(time.Millisecond))})
		}
	}
}

// judgeGroups looks at how many runs of a group were under way at a time, by
// the minions' clock, which is one and the same here.
func (v *verdict) judgeGroups(e evidence) {
	type edge struct {
		at   time.Time
		step int
		fire job.FireID
	}
	edges := map[string][]edge{}
	limit := map[string]int{}
	for i := range e.runs {
		r := &e.runs[i]
		g, ok := e.groups[e.plans[r.FireID.Job].group]
		if !ok || r.StartedAt.IsZero() || r.EndedAt.IsZero() {
			continue
		}
		add := func(name string, n int) {
			limit[name] = n
			edges[name] = append(edges[name], edge{r.StartedAt, 1, r.FireID}, edge{r.EndedAt, -1, r.FireID})
		}
		if g.Ordered {
			add("ordered group "+e.plans[r.FireID.Job].group, 1)
		}
		if g.MaxConcurrent > 0 {
			add("bounded group "+e.plans[r.FireID.Job].group, g.MaxConcurrent)
		}
		if g.Mutex != "" {
			add("lock "+g.Mutex, 1)
		}
	}
	for name, list := range edges {
		slices.SortFunc(list, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
		n := 0
		for _, x := range list {
			if n += x.step; n > limit[name] {
				v.crowded = append(v.crowded, finding{x.fire, fmt.Sprintf("is number %d under way in %s, which allows %d", n, name, limit[name])})
			}
		}
	}
}

// judgeOrder looks for runs of ordered groups that started after one of a later
// instant.
func (v *verdict) judgeOrder(e evidence) {
	started := map[string][]*job.Run{}
	for i := range e.runs {
		r := &e.runs[i]
		group := e.plans[r.FireID.Job].group
		if e.groups[group].Ordered && !r.StartedAt.IsZero() {
			started[group] = append(started[group], r)
		}
	}
	for group, runs := range started {
		slices.SortFunc(runs, func(a, b *job.Run) int {
			return cmp.Or(a.StartedAt.Compare(b.StartedAt), a.ScheduledAt.Compare(b.ScheduledAt))
		})
		latest := runs[0]
		for _, r := range runs {
			if r.ScheduledAt.Before(latest.ScheduledAt) {
				v.disordered = append(v.disordered, finding{r.FireID, fmt.Sprintf("started after the run of %s, %v later, in ordered group %s",
					e.plans[latest.FireID.Job].key, latest.ScheduledAt.Sub(r.ScheduledAt), group)})
				continue
			}
			latest = r
		}
	}
}

// ran reports whether a run in this state has been started for certain.
func ran(s job.State) bool {
	return s == job.StateSucceeded || s == job.StateFailed || s == job.StateTimedOut
}
