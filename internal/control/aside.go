package control

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// checkAsides looks for jobs that cannot be planned.
func (c *Control) checkAsides(ctx context.Context) ([]api.Check, error) {
	asides, err := store.ListAll[etcdkv.Aside](ctx, c.db, "list jobs that are set aside", c.cfg.Keys.Asides())
	if err != nil {
		return nil, err
	}
	const shown = 5
	var checks []api.Check
	for i := range asides[:min(len(asides), shown)] {
		a := &asides[i]
		checks = append(checks, api.Check{
			Name: "set aside", Status: api.CheckFail,
			Detail: fmt.Sprintf("job %s/%s is set aside for %s: %s", a.Namespace, a.Name, c.now().Sub(a.Since).Round(time.Second), a.Reason),
			Hint:   "apply the job, or the calendar, again as the reason says; all other jobs fire",
		})
	}
	switch {
	case len(asides) > shown:
		checks = append(checks, api.Check{Name: "set aside", Status: api.CheckFail, Detail: fmt.Sprintf("and %s more", apiview.Counted(len(asides)-shown, "job"))})
	case len(asides) == 0:
		checks = []api.Check{{Name: "set aside", Status: api.CheckOK, Detail: "all jobs can be planned"}}
	}
	return checks, nil
}

// applySteps bounds the steps that looks at the calendars of applied jobs take in
// all. What is not looked at is accepted, and set aside if need be.
const applySteps = 20 * calendar.SearchSteps

// checkSearches tells which jobs have calendars among which their next instant
// cannot be found in the steps allowed.
func (p *planner) checkSearches(objects []manifest.Object) []job.Problem {
	inFile := map[job.Key]*job.CalendarSpec{}
	for i := range objects {
		if objects[i].Kind == job.KindCalendar {
			inFile[objects[i].Metadata.Key()] = &objects[i].Calendar
		}
	}
	compiled := map[job.Key]*calendar.Calendar{}
	find := func(k job.Key) *calendar.Calendar {
		if c, ok := compiled[k]; ok {
			return c
		}
		spec := inFile[k]
		if kv := p.calendars[k]; spec == nil && kv != nil {
			if stored, err := store.Decode[etcdkv.StoredCalendar](kv); err == nil {
				spec = &stored.Spec
			}
		}
		if spec != nil {
			if c, problems := calendar.New(k.String(), spec); len(problems) == 0 {
				compiled[k] = c
			}
		}
		return compiled[k]
	}
	var problems []job.Problem
	left := applySteps
	for i := range objects {
		o := &objects[i]
		var set calendar.Set
		for _, k := range o.Spec.CalendarKeys(o.Metadata.Namespace) {
			if c := find(k); c != nil {
				set = append(set, c)
			}
		}
		path, why := "spec.calendars", set.TooMuch()
		if why == "" && left > 0 {
			var used int
			used, why = p.search(o, set)
			path, left = "spec.onExcluded", left-used
		}
		if why != "" {
			problems = append(problems, o.Problem(path, why))
		}
	}
	return problems
}

// search looks for the next instant of a job whose calendars move instants, and
// tells how many steps that took, and what is wrong.
func (p *planner) search(o *manifest.Object, set calendar.Set) (used int, why string) {
	if len(set) == 0 || o.Spec.OnExcluded != job.ExcludedNext {
		return 0, ""
	}
	schedules, err := p.c.SetOf(&job.Job{Metadata: o.Metadata, Spec: o.Spec})
	zone, err2 := schedule.LoadZone(o.Spec.TimeZone)
	if err != nil || err2 != nil {
		return 0, "" // told when it was read
	}
	work := calendar.NewWork(calendar.SearchSteps)
	set.NextMoved(p.now, zone, work, schedules.Next)
	if work.Over() {
		why = calendar.TooFar
	}
	return calendar.SearchSteps - work.Left(), why
}
