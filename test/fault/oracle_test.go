package main

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestOracle shows it evidence of each kind.
func TestOracle(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	uid := job.UID{1}
	at := func(s int) job.FireID {
		return job.FireID{Job: uid, At: from.Add(time.Duration(s) * time.Second).UnixNano(), Trigger: job.TriggerSchedule}
	}
	run := func(s int, state job.State, reason string) job.Run {
		return job.Run{FireID: at(s), State: state, Reason: reason, ScheduledAt: at(s).Time(), Count: 1}
	}
	good := func() *evidence {
		e := &evidence{
			jobs: []job.Job{{UID: uid, Spec: job.Spec{Schedules: []string{"@every 1s"}}}}, from: from, to: from.Add(5 * time.Second),
			trace: map[job.FireID]int{at(1): 1, at(2): 1},
			runs:  map[job.FireID]job.Run{at(1): run(1, job.StateSucceeded, ""), at(2): run(2, job.StateSucceeded, ""), at(3): run(3, job.StateSkipped, "busy")},
		}
		row := run(4, job.StateMissed, "late")
		row.Count, row.Until = 2, at(5).Time()
		e.runs[at(4)] = row
		return e
	}
	for name, c := range map[string]struct {
		change func(*evidence)
		want   verdict
	}{
		"all is well":    {func(*evidence) {}, verdict{fires: 5}},
		"ran twice":      {func(e *evidence) { e.trace[at(1)] = 2 }, verdict{fires: 5, duplicates: 1}},
		"lost":           {func(e *evidence) { delete(e.trace, at(1)); delete(e.runs, at(1)) }, verdict{fires: 5, missing: 1}},
		"no reason":      {func(e *evidence) { e.runs[at(3)] = run(3, job.StateSkipped, "") }, verdict{fires: 5, missing: 1}},
		"never ended":    {func(e *evidence) { delete(e.trace, at(1)); e.runs[at(1)] = run(1, job.StateRunning, "") }, verdict{fires: 5, missing: 1}},
		"only on paper":  {func(e *evidence) { delete(e.trace, at(2)) }, verdict{fires: 5, unaccounted: 1}},
		"row without it": {func(e *evidence) { delete(e.runs, at(4)) }, verdict{fires: 5, missing: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := good()
			c.change(e)
			got, err := judge(e)
			if err != nil {
				t.Fatal(err)
			}
			if got.fires != c.want.fires || got.duplicates != c.want.duplicates || got.missing != c.want.missing || got.unaccounted != c.want.unaccounted {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
