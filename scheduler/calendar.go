package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// A job's calendars say when it is not to run. What is due then is recorded as
// skipped, or is moved: the job is then due at the instants to which its
// schedule's are moved, each once, and these are what its fires are named by.

// newCalendar compiles a stored calendar.
func newCalendar(key string, value []byte) (*calendar.Calendar, error) {
	stored, err := etcdkv.Decode[etcdkv.StoredCalendar](key, value)
	if err != nil {
		return nil, err
	}
	c, problems := calendar.New(stored.Key().String(), &stored.Spec)
	if len(problems) > 0 {
		return nil, fmt.Errorf("calendar %s: %w", stored.Key(), &job.InvalidError{Problems: problems})
	}
	return c, nil
}

// calendarsOf returns a job's calendars, and the name of one that is not there.
func (s *shard) calendarsOf(e *entry) (set calendar.Set, missing string) {
	entries, _ := s.deps.Cluster.calendars.Snapshot()
	for _, k := range e.rare.calendars {
		c, ok := entries[s.cfg.Keys.Calendar(k)]
		if !ok {
			return nil, k.String()
		}
		set = append(set, c.Value)
	}
	return set, ""
}

// closedAt returns why a job's calendars do not let it run at an instant; empty:
// they do. One that is not there lets nothing run: nobody can know what it said.
func (s *shard) closedAt(e *entry, at int64) string {
	if e.rare == nil || len(e.rare.calendars) == 0 {
		return ""
	}
	set, missing := s.calendarsOf(e)
	if missing != "" {
		return fmt.Sprintf("its calendar %s is not there", missing)
	}
	why, _, _ := set.Closed(time.Unix(0, at))
	return why
}

const (
	// movedFrom is how far back instants are looked for that are moved beyond
	// the present one: nothing is closed for longer.
	movedFrom = 370 * 24 * time.Hour
	// maxMoved bounds how many are looked at.
	maxMoved = 50_000
)

// nextAfter returns the first instant after t at which the job is due, or never.
func (s *shard) nextAfter(e *entry, t int64) int64 {
	if e.rare == nil || !e.rare.moves {
		return e.nextAfter(t)
	}
	set, missing := s.calendarsOf(e)
	if missing != "" {
		return e.nextAfter(t) // and skipped
	}
	zone, err := schedule.LoadZone(e.rare.zone)
	if err != nil {
		zone = time.UTC // it could be read before
	}
	best := never
	from := s.closedSince(set, t)
	for n, i := e.nextAfter(from), 0; n < best && i < maxMoved; n, i = e.nextAfter(n), i+1 {
		at, _, ok := set.Resolve(time.Unix(0, n), zone)
		if ok && at.UnixNano() > t {
			best = min(best, at.UnixNano())
		}
	}
	return best
}

// closedSince returns an instant before which nothing is moved beyond t: one at
// which the calendars were open for a whole day.
func (s *shard) closedSince(set calendar.Set, t int64) int64 {
	const day = 24 * time.Hour
	at := time.Unix(0, t)
	for back := at; at.Sub(back) < movedFrom; back = back.Add(-day) {
		open := true
		for hour := time.Duration(0); hour < 2*day && open; hour += time.Hour {
			_, _, closed := set.Closed(back.Add(-hour))
			open = !closed
		}
		if open {
			return back.Add(-2 * day).UnixNano()
		}
	}
	return at.Add(-movedFrom).UnixNano()
}

// followCalendars looks anew at when jobs are due that calendars move, once a
// calendar has changed.
func (s *shard) followCalendars() {
	_, rev := s.deps.Cluster.calendars.Snapshot()
	if rev == s.calendarsRev || !s.anyMoves {
		return
	}
	s.calendarsRev = rev
	for _, e := range s.jobs {
		if e.rare != nil && e.rare.moves && e.next != never {
			s.timers.set(e, s.nextAfter(e, max(e.done, s.planned, s.state.Cursor.UnixNano())))
		}
	}
}
