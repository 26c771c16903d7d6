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
	v := &verdict{}
	var late []float64
	// A row of missed occurrences is one record.
	rows := map[job.UID][]job.Run{}
	for id, r := range e.runs {
		if r.Count > 1 {
			rows[id.Job] = append(rows[id.Job], r)
		}
	}
	for id, n := range e.trace {
		if n > 1 {
			v.duplicates++
			v.blame("duplicate", id, e.runs[id], fmt.Sprintf("%d times in the trace", n))
		}
	}
	for _, j := range e.jobs {
		set, err := schedule.ParseSet(j.Spec.Schedules, schedule.Options{Zone: j.Spec.TimeZone})
		if err != nil {
			return nil, err
		}
		for _, at := range set.Between(e.from, e.to, 1_000_000) {
			v.fires++
			id := job.FireID{Job: j.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule}
			r, recorded := e.runs[id]
			traced := e.trace[id] > 0
			switch {
			case recorded && started(r.State) && !traced:
				v.unaccounted++
				v.blame("unaccounted", id, r, "no trace")
			case traced || recorded && r.State.Final() && r.Reason != "" || inRow(rows[j.UID], at):
			default:
				v.missing++
				v.blame("missing", id, r, "")
			}
			if recorded && !r.StartedAt.IsZero() {
				late = append(late, float64(r.StartedAt.Sub(at).Microseconds())/1000)
			}
		}
	}
	v.lateP99 = percentile(late, .99)
	return v, nil
}

// started reports whether a run in this state has run its command to an end.
func started(s job.State) bool { return s == job.StateSucceeded || s == job.StateFailed }

func inRow(rows []job.Run, at time.Time) bool {
	for _, r := range rows {
		if !at.Before(r.ScheduledAt) && !at.After(r.Until) && r.Reason != "" {
			return true
		}
	}
	return false
}

func (v *verdict) blame(what string, id job.FireID, r job.Run, more string) {
	v.offenders = append(v.offenders, fmt.Sprintf("%s: fire %v run %s state %q reason %q node %s attempt %d committed %v dispatched %v started %v tasks %v %s",
		what, id, id.RunID(), r.State, r.Reason, r.Node, r.Attempt, r.CommittedAt, r.DispatchedAt, r.StartedAt, r.Tasks, more))
}

// percentile returns the p-quantile of values, 0 for none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(p*float64(len(values))), len(values)-1)]
}
