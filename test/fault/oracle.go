package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// verdict is what the oracle finds.
type verdict struct {
	fires, duplicates, missing, unaccounted int
	takeoverP50, takeoverMax, lateP99       float64
	// offenders describe what is wrong, one line each.
	offenders []string

	// What follows is told, and fails nothing. ran counts the instants whose
	// command left a trace; contradicted ran although their record says that
	// they were not started; unrecorded ran and have no final record;
	// unexpected ran at instants that the schedule does not have.
	ran, contradicted, unrecorded, unexpected int
	// states counts the records of the instants.
	states map[job.State]int
	// notes describe what is odd, one line each.
	notes []string
}

func (v *verdict) summary() string {
	return fmt.Sprintf("ran=%d contradicted=%d unrecorded=%d unexpected=%d records=%v", v.ran, v.contradicted, v.unrecorded, v.unexpected, v.states)
}

func (v *verdict) ok() bool { return v.duplicates == 0 && v.missing == 0 && v.unaccounted == 0 }

// evidence is what the oracle judges by.
type evidence struct {
	jobs []job.Job
	// from and to bound the instants that are judged; from is exclusive.
	from, to time.Time
	// trace counts the lines of each fire.
	trace map[job.FireID]int
	// runs are the records, by fire.
	runs map[job.FireID]job.Run
}

// judge holds the evidence against the schedule.
func judge(e *evidence) (*verdict, error) {
	v := &verdict{states: map[job.State]int{}}
	// A row of missed occurrences is one record.
	rows := map[job.UID][]job.Run{}
	for id, r := range e.runs {
		if r.Count > 1 {
			rows[id.Job] = append(rows[id.Job], r)
		}
	}
	expected := map[job.FireID]bool{}
	var late []float64
	for _, j := range e.jobs {
		set, err := schedule.ParseSet(j.Spec.Schedules, schedule.Options{Zone: j.Spec.TimeZone})
		if err != nil {
			return nil, fmt.Errorf("schedule of %s: %w", j.Key(), err)
		}
		for _, at := range set.Between(e.from, e.to, 1_000_000) {
			id := job.FireID{Job: j.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule}
			expected[id] = true
			v.weigh(id, e, rows[j.UID])
			if r := e.runs[id]; !r.StartedAt.IsZero() {
				late = append(late, float64(r.StartedAt.Sub(at).Microseconds())/1000)
			}
		}
	}
	for id, n := range e.trace {
		if n > 1 {
			v.duplicates++
			v.blame("duplicate", id, e.runs[id], fmt.Sprintf("%d times in the trace", n))
		}
		if at := id.Time(); !expected[id] && at.After(e.from) && !at.After(e.to) {
			v.unexpected++
			v.note("unexpected", id, e.runs[id])
		}
	}
	v.lateP99 = percentile(late, .99)
	slices.Sort(v.offenders)
	return v, nil
}

// weigh judges one instant that was due, but for duplicates.
func (v *verdict) weigh(id job.FireID, e *evidence, rows []job.Run) {
	v.fires++
	r, recorded := e.runs[id]
	traced := e.trace[id] > 0
	if traced {
		v.ran++
	}
	if recorded {
		v.states[r.State]++
	}
	explained := recorded && excused(r)
	switch {
	case !traced && recorded && started(r.State):
		v.unaccounted++
		v.blame("unaccounted", id, r, "no trace")
	case !traced && !explained && !inRow(rows, id.Time()):
		v.missing++
		v.blame("missing", id, r, "")
	case traced && explained && r.State != job.StateIndeterminate && r.State != job.StateCancelled:
		v.contradicted++
		v.note("contradicted", id, r)
	case traced && !(recorded && r.State.Final()):
		v.unrecorded++
		v.note("unrecorded", id, r)
	}
}

// started reports whether a run in this state claims to have run its command.
func started(s job.State) bool { return s == job.StateSucceeded || s == job.StateFailed }

// excused reports whether the record says, with a reason, why the command did
// not run, or that nobody knows.
func excused(r job.Run) bool {
	switch r.State {
	case job.StateSkipped, job.StateMissed, job.StateDeliveryTimeout, job.StateUndeliverable,
		job.StateDropped, job.StateRejected, job.StateCancelled, job.StateIndeterminate:
		return r.Reason != "" || slices.ContainsFunc(r.Tasks, func(t job.Task) bool { return t.Reason != "" })
	}
	return false
}

func inRow(rows []job.Run, at time.Time) bool {
	return slices.ContainsFunc(rows, func(r job.Run) bool {
		return excused(r) && !at.Before(r.ScheduledAt) && !at.After(r.Until)
	})
}

func (v *verdict) note(what string, id job.FireID, r job.Run) {
	v.notes = append(v.notes, describe(what, id, r, ""))
}

func (v *verdict) blame(what string, id job.FireID, r job.Run, more string) {
	v.offenders = append(v.offenders, describe(what, id, r, more))
}

func describe(what string, id job.FireID, r job.Run, more string) string {
	return fmt.Sprintf("%s: fire %v run %s state %q reason %q node %s shard %d token %v attempt %d committed %v dispatched %v started %v tasks %v %s",
		what, id, id.RunID(), r.State, r.Reason, r.Node, r.Shard, r.Token, r.Attempt, r.CommittedAt, r.DispatchedAt, r.StartedAt, r.Tasks, more)
}

// percentile returns the p-quantile of values, 0 for none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(p*float64(len(values))), len(values)-1)]
}
