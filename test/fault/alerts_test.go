package main

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// What records make of alerts, and what is wrong with what a receiver was told, is found,
// and nothing else is.
func TestJudgeAlerts(t *testing.T) {
	t.Parallel()
	ended := func(second int64, state job.State) job.Run {
		id := job.FireID{Job: job.UID{1}, At: second * 1e9, Trigger: job.TriggerSchedule}
		return job.Run{RunID: id.RunID(), FireID: id, Namespace: alertSpace, Job: "waver-0", State: state, StartedAt: time.Unix(second, 0)}
	}
	runs := []job.Run{
		ended(6, job.StateSucceeded), ended(1, job.StateSucceeded), ended(2, job.StateFailed), ended(3, job.StateSkipped), ended(4, job.StateFailed),
		ended(5, job.StateIndeterminate), ended(7, job.StateSucceeded),
	}
	owed := owedAlerts(runs)
	alert := func(n int, event job.AlertEvent) job.Alert {
		return job.Alert{ID: job.AlertID(runs[n].RunID, event), Run: runs[n].RunID, Event: event}
	}
	failed, unknown, recovered := alert(2, job.AlertFailed), alert(5, job.AlertIndeterminate), alert(0, job.AlertRecovered)
	if len(owed) != 3 || owed[failed.ID].ID == "" || owed[unknown.ID].ID == "" || owed[recovered.ID].ID == "" {
		t.Fatalf("owed: %+v", owed)
	}
	misnamed := failed
	misnamed.ID = "alert_x"
	for name, test := range map[string]struct {
		seen map[string][]job.Alert
		want string
	}{
		"fine":                    {map[string][]job.Alert{"m1": {failed}, "m2": {unknown, recovered}}, ""},
		"one is lacking":          {map[string][]job.Alert{"m1": {failed, unknown}}, "lost"},
		"one in two messages":     {map[string][]job.Alert{"m1": {failed}, "m2": {failed, unknown, recovered}}, "doubled"},
		"one that nobody owes":    {map[string][]job.Alert{"m1": {failed, unknown, recovered, alert(4, job.AlertFailed)}}, "untrue"},
		"one under an id of none": {map[string][]job.Alert{"m1": {failed, unknown, recovered, misnamed}}, "untrue"},
	} {
		told := toldAlerts{taken: map[string]string{}, seen: test.seen}
		for m, all := range test.seen {
			for i := range all {
				told.taken[all[i].ID] = m
			}
		}
		var r notifyResult
		r.judge("x", owed, &told)
		got := ""
		for _, kind := range []struct {
			what string
			list []string
		}{{"lost", r.lost}, {"doubled", r.doubled}, {"untrue", r.untrue}} {
			if len(kind.list) > 0 {
				got += kind.what
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q: %+v", name, got, test.want, r)
		}
	}
}
