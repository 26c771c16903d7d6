package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		"all is well":       {func(*evidence) {}, verdict{fires: 5, ran: 2}},
		"ran twice":         {func(e *evidence) { e.trace[at(1)] = 2 }, verdict{fires: 5, ran: 2, duplicates: 1}},
		"ran twice outside": {func(e *evidence) { e.trace[at(9)] = 2 }, verdict{fires: 5, ran: 2, duplicates: 1}},
		"lost":              {func(e *evidence) { delete(e.trace, at(1)); delete(e.runs, at(1)) }, verdict{fires: 5, ran: 1, missing: 1}},
		"no reason":         {func(e *evidence) { e.runs[at(3)] = run(3, job.StateSkipped, "") }, verdict{fires: 5, ran: 2, missing: 1}},
		"reason of a task": {func(e *evidence) {
			r := run(3, job.StateDropped, "")
			r.Tasks = []job.Task{{Reason: "full"}}
			e.runs[at(3)] = r
		}, verdict{fires: 5, ran: 2}},
		"never ended":     {func(e *evidence) { delete(e.trace, at(1)); e.runs[at(1)] = run(1, job.StateRunning, "on w1") }, verdict{fires: 5, ran: 1, missing: 1}},
		"timed out":       {func(e *evidence) { delete(e.trace, at(1)); e.runs[at(1)] = run(1, job.StateTimedOut, "20s") }, verdict{fires: 5, ran: 1, missing: 1}},
		"only on paper":   {func(e *evidence) { delete(e.trace, at(2)) }, verdict{fires: 5, ran: 1, unaccounted: 1}},
		"failed on paper": {func(e *evidence) { delete(e.trace, at(2)); e.runs[at(2)] = run(2, job.StateFailed, "exit 1") }, verdict{fires: 5, ran: 1, unaccounted: 1}},
		"row without it":  {func(e *evidence) { delete(e.runs, at(4)) }, verdict{fires: 5, ran: 2, missing: 2}},
		"row too short": {func(e *evidence) {
			r := run(3, job.StateMissed, "late")
			r.Count, r.Until = 2, at(4).Time()
			e.runs[at(3)] = r
			delete(e.runs, at(4))
		}, verdict{fires: 5, ran: 2, missing: 1}},
		"ran though missed": {func(e *evidence) { e.trace[at(3)] = 1 }, verdict{fires: 5, ran: 3, contradicted: 1}},
		"ran, nobody knows": {func(e *evidence) { e.trace[at(3)] = 1; e.runs[at(3)] = run(3, job.StateIndeterminate, "crash") }, verdict{fires: 5, ran: 3}},
		"ran, not recorded": {func(e *evidence) { delete(e.runs, at(1)) }, verdict{fires: 5, ran: 2, unrecorded: 1}},
		"ran at no instant": {func(e *evidence) { f := at(2); f.At++; e.trace[f] = 1 }, verdict{fires: 5, ran: 2, unexpected: 1}},
		"ran before window": {func(e *evidence) { e.trace[at(0)] = 1 }, verdict{fires: 5, ran: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := good()
			c.change(e)
			got, err := judge(e)
			if err != nil {
				t.Fatal(err)
			}
			if blamed := got.duplicates + got.missing + got.unaccounted; len(got.offenders) != blamed || got.ok() != (blamed == 0) {
				t.Errorf("%d offenders are told and ok is %v, want %d", len(got.offenders), got.ok(), blamed)
			}
			got.offenders, got.notes, got.states = nil, nil, nil
			if diff := cmp.Diff(&c.want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordsKeepFinalOnes(t *testing.T) {
	t.Parallel()
	id := job.FireID{Job: job.UID{1}, Trigger: job.TriggerSchedule}
	r := &records{runs: map[job.FireID]job.Run{}}
	for _, step := range []struct{ add, want job.State }{
		{job.StatePending, job.StatePending}, {job.StateRunning, job.StateRunning},
		{job.StateIndeterminate, job.StateIndeterminate}, {job.StateRunning, job.StateIndeterminate},
		{job.StateSucceeded, job.StateSucceeded},
	} {
		r.add(job.Run{FireID: id, State: step.add})
		if got := r.runs[id].State; got != step.want {
			t.Errorf("state is %s after %s, want %s", got, step.add, step.want)
		}
	}
}

func TestOwnersCountFromFirstLoss(t *testing.T) {
	t.Parallel()
	o := &owners{now: map[string]job.NodeID{"a": "s1", "b": "s2"}, losses: map[string]time.Time{}}
	o.lose("s1")
	first := o.losses["a"]
	o.lose("s1")
	if got := o.losses["a"]; len(o.losses) != 1 || !got.Equal(first) {
		t.Errorf("losses are %v, want the first one of a alone, %v", o.losses, first)
	}
}
