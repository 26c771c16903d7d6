package control

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestApplyRefusesWhatCannotBePlanned: a job of whose calendars too much would
// have to be looked at is refused, with the field.
func TestApplyRefusesWhatCannotBePlanned(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) { d.Decode = nil })
	shut := manifest.Object{
		Kind: job.KindCalendar, Metadata: job.Metadata{Namespace: "ops", Name: "shut"},
		Calendar: job.CalendarSpec{Closed: []string{"01-01..11-30"}},
	}
	moved := func(schedule string) manifest.Object {
		return object("j", func(o *manifest.Object) {
			o.Spec.Schedules, o.Spec.Calendars, o.Spec.OnExcluded = []string{schedule}, []string{"shut"}, job.ExcludedNext
		})
	}
	_, err := e.applied(t, shut, moved("*/15 * * * *"))
	if err == nil || !strings.Contains(err.Error(), "spec.onExcluded: its next instant cannot be found in the steps allowed") {
		t.Errorf("apply: %v", err)
	}
	if _, err := e.applied(t, shut, moved("@monthly")); err != nil {
		t.Errorf("apply of one that is due seldom: %v", err)
	}
}

// TestSetAsideIsTold: what an owner says of a job that it sets aside is told with
// the job, and by the doctor; what is said of an earlier job of that name is not.
func TestSetAsideIsTold(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j"))
	aside := etcdkv.Aside{Schema: 1, Namespace: "ops", Name: "j", Job: e.storedJob(t, "j").UID, Reason: "too much", Since: e.now()}
	for _, told := range []bool{true, false} {
		e.put(t, e.keys.Aside(jobNamed("j")), aside)
		v, err := e.Job(t.Context(), jobNamed("j"))
		if err != nil || (v.Aside != nil) != told || told && v.Aside.Reason != "too much" {
			t.Errorf("job: %+v, %v", v.Aside, err)
		}
		all, err := e.Jobs(t.Context(), api.JobQuery{})
		if err != nil || (all[0].Aside != nil) != told {
			t.Errorf("jobs: %+v, %v", all, err)
		}
		aside.Job = job.UID{9}
	}
	if c := e.findings(t)["set aside"]; c.Status != api.CheckFail || !strings.Contains(c.Detail, "job ops/j is set aside for 0s: too much") {
		t.Errorf("doctor: %+v", c)
	}
}
