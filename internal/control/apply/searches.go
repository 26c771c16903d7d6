package apply

import (
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

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
	schedules, err := p.c.jobs.SetOf(&job.Job{Metadata: o.Metadata, Spec: o.Spec})
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
