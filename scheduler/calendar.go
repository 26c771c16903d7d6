package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/schedule"
)

// A job's calendars say when it is not to run. What is due then is recorded as
// skipped, or is moved: the job is then due at the instants to which its
// schedule's are moved, each once, and these are what its fires are named by.
//
// How much is looked at is bounded by steps that are counted, so that no job keeps
// the others of its shard waiting. A job of which more would have to be looked at
// is set aside: its schedule goes on as it is written, and each occurrence is
// recorded as skipped with the reason, until the job or a calendar changes.

// calendarsOf returns a job's calendars. why tells that they do not let it run at
// all: one is not there, so nobody can know what it says, or it cannot be used,
// or the job is set aside.
func (s *shard) calendarsOf(e *entry) (set calendar.Set, why string) {
	if e.rare.aside != "" {
		return nil, e.rare.aside
	}
	for _, k := range e.rare.calendars {
		c, ok := s.deps.Cluster.Calendar(k)
		switch {
		case !ok:
			return nil, fmt.Sprintf("its calendar %s is not there", k)
		case c.Wrong != "":
			e.rare.aside = fmt.Sprintf("its calendar %s cannot be used: %s", k, c.Wrong)
			return nil, e.rare.aside
		}
		set = append(set, c.Calendar)
	}
	if why := set.TooMuch(); why != "" {
		e.rare.aside = why
		return nil, why
	}
	return set, ""
}

// closedByCalendar returns why a job's calendars do not let it run at an instant;
// empty: they do.
func (s *shard) closedByCalendar(e *entry, at int64) string {
	if e.rare == nil || len(e.rare.calendars) == 0 {
		return ""
	}
	set, why := s.calendarsOf(e)
	if why != "" {
		return why
	}
	why, _, _ = set.Closed(time.Unix(0, at))
	return why
}

// planSteps bounds the steps of all looks at calendars that one plan takes; what
// it leaves goes into the next one.
const planSteps = 2 * calendar.SearchSteps

// lookCost is how many steps it takes to see whether an occurrence may run.
func (s *shard) lookCost(e *entry) int {
	if e.rare == nil || len(e.rare.calendars) == 0 && len(e.rare.earlier) == 0 {
		return 0
	}
	set, _ := s.calendarsOf(e)
	cost := set.Cost()
	for i := range e.rare.earlier {
		cost += s.lookCost(e.rare.earlier[i].e)
	}
	return cost
}

// nextOwn returns the first instant of the job's own schedule after t, or never.
func (s *shard) nextOwn(e *entry, t int64) int64 {
	if e.rare == nil || !e.rare.moves {
		return e.nextAfter(t)
	}
	set, why := s.calendarsOf(e)
	if why != "" {
		return e.nextAfter(t) // and skipped
	}
	zone, err := schedule.LoadZone(e.rare.zone)
	if err != nil {
		zone = time.UTC // it could be read before
	}
	work := calendar.NewWork(calendar.SearchSteps)
	at, ok := set.NextMoved(time.Unix(0, t), zone, work, func(after time.Time) (time.Time, bool) {
		n := e.nextAfter(after.UnixNano())
		return time.Unix(0, n), n != never
	})
	s.looked += calendar.SearchSteps - work.Left()
	switch {
	case work.Over():
		e.rare.aside = calendar.TooFar
		return e.nextAfter(t)
	case !ok:
		return never
	}
	return at.UnixNano()
}

// followCalendars looks anew at when jobs are due that have calendars, once one
// has changed. It does so a few at a time; until it comes to a job, that is as
// the calendars were.
func (s *shard) followCalendars() {
	rev := s.deps.Cluster.CalendarsRev()
	if rev != s.calendarsRev && s.anyCalendars {
		s.calendarsRev = rev
		s.replan = s.replan[:0]
		for _, e := range s.jobs {
			if e.rare != nil && len(e.rare.calendars) > 0 {
				s.replan = append(s.replan, e)
			}
		}
	}
	s.looked = 0
	for len(s.replan) > 0 && s.looked < planSteps {
		e := s.replan[len(s.replan)-1]
		s.replan = s.replan[:len(s.replan)-1]
		if s.jobs[e.key] != e {
			continue // changed or deleted meanwhile
		}
		again := e.rare.moves && e.timer.Next != never || e.rare.aside != ""
		e.rare.aside = ""
		if again {
			s.setNext(e, s.nextAfter(e, max(e.rare.since, e.done, s.planned, s.state.Cursor.UnixNano())))
		}
		s.tellAside(e)
	}
	if len(s.replan) == 0 {
		s.calendarsDone = s.calendarsRev
	}
}
