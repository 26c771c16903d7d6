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
	plans map[job.UID]*plan
	// until: every occurrence up to it must be accounted for. Later ones may be.
	until time.Time
	trace trace
	runs  []job.Run
	// ledger is what was asked for.
	ledger ledger
	// starts are the lines of the trace; last tells until when a task may start
	// under a token, where that is over. Nil: it is not looked at.
	starts []started
	last   func(job.ShardID, int64) (time.Time, bool)
	// groups are the specs of the groups, by name.
	groups map[string]job.GroupSpec
	// early is how long before its instant a fire may start. Not 0: the nodes' clocks
	// were made wrong.
	early time.Duration
	// stuck is what had not ended when it was no longer waited for; unready are nodes
	// that said they were ready while shards had no owner.
	stuck, unready []string
}

// finding is something that is wrong about a fire.
type finding struct {
	fire job.FireID
	what string
}

// verdict is what the oracle found; doc.go says what each figure is.
type verdict struct {
	fires int // that ran

	doubled, missing, unaccounted, disordered, early []finding
	stale, crowded, forbidden                        []finding
	stuck, unready                                   []string
	// grew are the sizes that did not stay flat.
	grew   []string
	states map[job.State]int
	late   []time.Duration // of what ran, sorted
}

// figure is one of the numbers that are to be 0.
type figure struct {
	name string
	list []finding
}

// figures returns what was found wrong about fires, in the order of the last line.
func (v *verdict) figures() []figure {
	return []figure{
		{"doubled", v.doubled}, {"missing", v.missing}, {"unaccounted", v.unaccounted}, {"out_of_order", v.disordered}, {"early", v.early},
		{"stale", v.stale}, {"crowded", v.crowded}, {"forbidden", v.forbidden},
	}
}

func (v *verdict) good() bool {
	for _, f := range v.figures() {
		if len(f.list) > 0 {
			return false
		}
	}
	return len(v.stuck) == 0 && len(v.unready) == 0 && len(v.grew) == 0
}

// maxOccurrences bounds how many occurrences of one job are listed.
const maxOccurrences = 1_000_000

// judge compares occurrences, what was asked for, trace and records.
func judge(e *evidence) verdict {
	v := verdict{fires: len(e.trace), states: map[job.State]int{}, stuck: e.stuck, unready: e.unready}
	records := v.recordsByFire(e)
	asked := newRequests(e)
	v.judgeTrace(e, asked, records)
	v.judgeRecords(e, asked)
	v.judgeOutcomes(e)
	v.judgeStarts(e)
	v.judgeGroups(e)
	v.judgeOrder(e)
	v.judgeOwed(e, asked, records)
	for _, f := range v.figures() {
		slices.SortFunc(f.list, func(a, b finding) int {
			return cmp.Or(cmp.Compare(a.fire.At, b.fire.At), cmp.Compare(a.fire.String(), b.fire.String()))
		})
	}
	slices.Sort(v.late)
	return v
}

// scheduled names an instant of a job's schedule.
func scheduled(uid job.UID, t time.Time) job.FireID {
	return job.FireID{Job: uid, At: t.UnixNano(), Trigger: job.TriggerSchedule}
}

// recordsByFire finds a record by any occurrence that it stands for. An occurrence
// has one.
func (v *verdict) recordsByFire(e *evidence) map[job.FireID]*job.Run {
	out, whose := map[job.FireID]*job.Run{}, map[job.FireID]bool{}
	for i := range e.runs {
		r := &e.runs[i]
		if out[r.FireID] != nil {
			v.doubled = append(v.doubled, finding{r.FireID, "has two records"})
		}
		out[r.FireID] = r
		whose[whole(r.FireID)] = true
	}
	for i := range e.runs {
		r := &e.runs[i]
		p := e.plans[r.FireID.Job]
		if r.Count <= 1 || p == nil {
			continue
		}
		// Those in between that have a record of their own are not of the row. Nor need
		// those be that an edit may have come to first.
		var rest, may []time.Time
		for _, t := range p.among(r.ScheduledAt, r.Until) {
			switch fire := scheduled(r.FireID.Job, t); {
			case whose[fire] && fire != r.FireID:
			case p.mustEnd(t):
				rest = append(rest, t)
			default:
				may = append(may, t)
			}
		}
		if n := r.Count - len(rest); n > 0 {
			if n > len(may) && e.early == 0 { // after a wrong clock instants are decided anew
				v.doubled = append(v.doubled, finding{r.FireID, fmt.Sprintf("is the first of a row of %d up to %v; of those %d have no record of their own",
					r.Count, r.Until.Format(time.TimeOnly), len(rest)+len(may))})
			}
			rest = append(rest, may[:min(n, len(may))]...)
		}
		for _, t := range rest[:min(r.Count, len(rest))] {
			fire := scheduled(r.FireID.Job, t)
			out[fire], whose[fire] = r, true
		}
	}
	return out
}

// judgeTrace looks at what ran.
func (v *verdict) judgeTrace(e *evidence, asked *requests, records map[job.FireID]*job.Run) {
	for fire, n := range e.trace {
		if n > 1 {
			v.doubled = append(v.doubled, finding{fire, fmt.Sprintf("ran %d times", n)})
		}
		r, ok := records[fire]
		if !ok { // the shares may be one run
			r, ok = records[whole(fire)]
		}
		if !v.mayRun(e, asked, fire) {
			continue
		}
		switch {
		case !ok:
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and has no record"})
		case !r.State.Final():
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and its record has not ended: " + string(r.State)})
		case r.State == job.StateCancelled && !r.StartedAt.IsZero() && e.plans[fire.Job].cancels:
		case !ran(r.State) && r.State != job.StateIndeterminate: // which judgeRecords tells of
			v.unaccounted = append(v.unaccounted, finding{fire, "ran, and is recorded as " + string(r.State)})
		}
	}
}

// judgeRecords looks at what is recorded.
func (v *verdict) judgeRecords(e *evidence, asked *requests) {
	for i := range e.runs {
		r := &e.runs[i]
		v.states[r.State] += max(r.Count, 1)
		if p := e.plans[r.FireID.Job]; p != nil && !r.StartedAt.IsZero() {
			late := r.StartedAt.Sub(p.starts(r.FireID))
			if r.FireID.Trigger != job.TriggerBackfill {
				v.late = append(v.late, late)
			}
			if late < -e.early {
				v.early = append(v.early, finding{r.FireID, fmt.Sprintf("started %v before its instant", -late)})
			}
		}
		if r.State == job.StateIndeterminate {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "is indeterminate, though no host and no shim has died: " + r.Reason})
		}
		if ran(r.State) && !traced(e.trace, r) {
			v.unaccounted = append(v.unaccounted, finding{r.FireID, "is recorded as " + string(r.State) + ", and left no trace"})
		}
		if e.trace[r.FireID] == 0 { // else judgeTrace has told
			v.mayBeRecorded(e, asked, r)
		}
		v.judgeReason(e, r)
	}
}

// judgeOwed looks for what has no record.
func (v *verdict) judgeOwed(e *evidence, asked *requests, records map[job.FireID]*job.Run) {
	// A share of an occurrence speaks for the occurrence.
	shared := map[job.FireID]bool{}
	for fire := range e.trace {
		shared[whole(fire)] = true
	}
	for fire := range records {
		shared[whole(fire)] = shared[whole(fire)] || whole(fire) != fire
	}
	owed := func(fire job.FireID) {
		switch r, ok := records[fire]; {
		case shared[fire]:
		case !ok:
			v.missing = append(v.missing, finding{fire, "did not run, and has no record"})
		case !r.State.Final():
			v.missing = append(v.missing, finding{fire, "did not run, and has not ended: " + string(r.State)})
		case r.Reason == "" && !ran(r.State):
			v.missing = append(v.missing, finding{fire, "did not run, and its record gives no reason: " + string(r.State)})
		}
	}
	for uid, p := range e.plans {
		for _, t := range p.owed(e.until) {
			owed(scheduled(uid, t))
		}
	}
	for fire := range asked.fires {
		owed(fire)
	}
}

// whole returns the occurrence that a share is of. A backfill's number is no share.
func whole(f job.FireID) job.FireID {
	if f.Trigger != job.TriggerBackfill {
		f.Share = 0
	}
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

// recordedTask is a task, and the run that it is of.
type recordedTask struct {
	run  *job.Run
	task *job.Task
}

// tasksByFire finds recorded tasks by the fire that they ran under.
func tasksByFire(runs []job.Run) map[job.FireID]recordedTask {
	out := map[job.FireID]recordedTask{}
	for i := range runs {
		r := &runs[i]
		for k := range r.Tasks {
			fire := r.FireID
			if share := r.Tasks[k].Share; share != "" {
				fire.Share = job.ShareOf(share)
			}
			out[fire] = recordedTask{r, &r.Tasks[k]}
		}
	}
	return out
}

// judgeOutcomes compares how tasks ended, by their records, with what they did.
func (v *verdict) judgeOutcomes(e *evidence) {
	tasks := tasksByFire(e.runs)
	for i := range e.starts {
		s := &e.starts[i]
		wrong := func(format string, args ...any) {
			v.unaccounted = append(v.unaccounted, finding{s.fire, fmt.Sprintf(format, args...)})
		}
		if p := e.plans[s.fire.Job]; p != nil && p.versions > 0 && (s.version < 1 || s.version > p.versions) {
			wrong("ran version %d of its command, of which there are %d", s.version, p.versions)
		}
		t := tasks[s.fire].task
		switch {
		case t == nil: // that it has no record is told
		case t.Minion != s.minion || max(t.Attempt, 1) != s.attempt:
			wrong("ran on %s, attempt %d, and is recorded on %s, attempt %d", s.minion, s.attempt, t.Minion, t.Attempt)
		case t.State == job.StateSucceeded && s.exits != 0, t.State == job.StateFailed && (t.Exit == nil || t.Exit.Code != s.exits || s.exits == 0):
			wrong("ended with exit code %d, and is recorded as %s, %+v", s.exits, t.State, t.Exit)
		case ran(t.State) && (t.StartedAt.IsZero() || t.EndedAt.Before(t.StartedAt)):
			wrong("is recorded as %s, from %v to %v", t.State, t.StartedAt, t.EndedAt)
		}
	}
}

// judgeStarts looks for tasks that were started under a token after the lease of
// its owner had ended. The start is what the record says, or else when the kernel
// made the process: what a busy machine takes from the one to the other is not the
// minion's.
func (v *verdict) judgeStarts(e *evidence) {
	if e.last == nil {
		return
	}
	tasks := tasksByFire(e.runs)
	for _, s := range e.starts {
		p, ok := e.plans[s.fire.Job]
		if !ok {
			continue
		}
		at, shard := s.at, p.shard
		if t := tasks[s.fire]; t.run != nil {
			shard = t.run.Shard // a job may have moved
			if r := t.task.StartedAt; !r.IsZero() && r.Before(at) {
				at = r
			}
		}
		if last, over := e.last(shard, s.token.Revision); over && at.After(last) {
			v.stale = append(v.stale, finding{s.fire, fmt.Sprintf("started under token %v, %v after the lease of its owner ended", s.token, at.Sub(last).Round(time.Millisecond))})
		}
	}
}

// ran reports whether a run in this state has been started for certain.
func ran(s job.State) bool {
	return s == job.StateSucceeded || s == job.StateFailed || s == job.StateTimedOut
}
