package scheduler

import "github.com/carillon-cron/carillon/scheduler/plan"

// nextAfter returns the first instant after t at which the job is due, by the schedule
// that holds then, or never.
func (s *shard) nextAfter(e *entry, t int64) int64 { return e.NextAfter(&s.look, t) }

// followCalendars looks anew at when jobs are due that have calendars, once one
// has changed. It does so a few at a time; until it comes to a job, that is as
// the calendars were.
func (s *shard) followCalendars() {
	rev := s.deps.Cluster.CalendarsRev()
	if rev != s.calendarsRev && s.anyCalendars {
		s.calendarsRev = rev
		s.replan = s.replan[:0]
		for _, e := range s.jobs {
			if e.Optional != nil && len(e.Optional.Calendars) > 0 {
				s.replan = append(s.replan, e)
			}
		}
	}
	s.look.Steps = 0
	for len(s.replan) > 0 && s.look.Steps < plan.MaxSteps {
		e := s.replan[len(s.replan)-1]
		s.replan = s.replan[:len(s.replan)-1]
		if s.jobs[e.key] != e {
			continue // changed or deleted meanwhile
		}
		o := e.Optional
		again := o.Moves && e.timer.Next != never || o.Aside != ""
		o.Aside = ""
		if again {
			s.setNext(e, s.nextAfter(e, max(o.Since, e.done, s.planned, s.state.Cursor.UnixNano())))
		}
		s.noteAside(e)
	}
	if len(s.replan) == 0 {
		s.calendarsDone = s.calendarsRev
	}
}

// replanFrom returns from where on an edited job is planned: behind all that is
// committed of it. Nothing is planned of it that is not, since edits are applied
// between commits. The cursor does not speak of a job that came with instants that
// had passed, and has some left. That nothing of the shard was due beyond the cursor
// is not so any more, perhaps.
func (s *shard) replanFrom(old *entry) int64 {
	s.planned = s.state.Cursor.UnixNano()
	return max(old.done, min(s.planned, old.timer.Next-1))
}

// hold has the instants of a deleted job recorded that were due before it was.
func (s *shard) hold(m *movedOut, from int64) {
	if m.at == 0 {
		return
	}
	if m.e.Optional == nil {
		m.e.Optional = &plan.Optional{End: never}
	}
	// Who deleted it may have a clock that is ahead.
	m.e.Optional.Deleted = min(m.at, max(s.deps.now(), 1))
	s.setNext(m.e, s.nextAfter(m.e, from))
}
