package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// An edit that changes when a job is due, or its deletion, holds from an instant
// on, its After. Up to there the schedule that was replaced holds, whenever an
// owner comes to it: the edit stores it beside the new one, for as long as an owner
// may not have come to all of its instants (etcdkv.Earlier). So an instant has an
// end also if it was due while nobody owned the shard, or the owner was slow, and
// the job was edited, moved or deleted before it was committed.

// timed is a schedule that a job had before.
type timed struct {
	// e has the schedule and its calendars, and no fires.
	e *entry
	// since and until bound the instants: after since, up to and with until.
	since, until int64
	// disabled is when the job was disabled after it, 0: it was not.
	disabled int64
}

// readEarlier reads the earlier schedules of a job.
func (e *entry) readEarlier(stored []etcdkv.Earlier, after int64, cache *schedule.Cache) error {
	if len(stored) == 0 {
		return nil
	}
	if e.rare == nil {
		e.rare = &rare{end: never}
	}
	e.rare.holds = after
	for i := range stored {
		p := &stored[i]
		old := &entry{key: e.key, uid: e.uid, timer: timers.Timer[*entry]{Next: never}}
		old.rare = &rare{end: never}
		if err := old.readTiming(&p.Spec, p.CountedFrom, cache); err != nil {
			return fmt.Errorf("the schedule that it had up to %s: %w", p.Until.Format(time.RFC3339), err)
		}
		t := timed{e: old, since: p.Since.UnixNano(), until: p.Until.UnixNano()}
		if !p.Disabled.IsZero() {
			t.disabled = p.Disabled.UnixNano()
		}
		e.rare.earlier = append(e.rare.earlier, t)
	}
	return nil
}

// readTiming takes from a spec when the entry is due. It has its rare.
func (e *entry) readTiming(spec *job.Spec, counted time.Time, cache *schedule.Cache) error {
	r := e.rare
	r.calendars, r.moves, r.zone = spec.CalendarKeys(e.key.Namespace), spec.OnExcluded == job.ExcludedNext, spec.TimeZone
	if spec.StartAt != nil {
		r.start = spec.StartAt.UnixNano()
	}
	if spec.EndAt != nil {
		r.end = spec.EndAt.UnixNano()
	}
	if spec.IsEnabled() && len(spec.Schedules) > 0 {
		var err error
		if e.set, err = cache.ParseSet(spec.Schedules, schedule.OptionsOf(e.key, spec)); err != nil {
			return err
		}
	}
	if spec.Count > 0 {
		if last, ok := e.set.Nth(spec.Count, time.Unix(0, max(counted.UnixNano(), r.start-1))); ok {
			r.end = min(r.end, last.UnixNano())
		}
	}
	return nil
}

// at returns the earlier schedule that an instant is of; nil: it is of the
// present one.
func (r *rare) at(at int64) *timed {
	for i := range r.earlier {
		if t := &r.earlier[i]; at > t.since && at <= t.until {
			return t
		}
	}
	return nil
}

// nextAfter returns the first instant after t at which the job is due, by the
// schedule that holds then, or never.
func (s *shard) nextAfter(e *entry, t int64) int64 {
	if e.rare == nil || e.rare.earlier == nil && e.rare.deleted == 0 {
		return s.nextOwn(e, t)
	}
	n := s.nextOfAny(e, t)
	if e.gone && n > e.rare.deleted {
		return never
	}
	return n
}

func (s *shard) nextOfAny(e *entry, t int64) int64 {
	for i := range e.rare.earlier {
		p := &e.rare.earlier[i]
		if t >= p.until {
			continue
		}
		if n := s.nextOwn(p.e, max(t, p.since)); n <= p.until {
			return n
		}
	}
	return s.nextOwn(e, max(t, e.rare.holds))
}

// closedAt returns why a job does not run at an instant, by itself and by its
// calendars; empty: it does.
func (s *shard) closedAt(e *entry, at int64) string {
	if e.rare == nil {
		return ""
	}
	if e.gone {
		return "the job was deleted at " + instant(e.rare.deleted).Format(time.RFC3339) + whyBehind
	}
	if t := e.rare.at(at); t != nil {
		if t.disabled != 0 {
			return "the job was disabled at " + instant(t.disabled).Format(time.RFC3339) + whyBehind
		}
		e = t.e
	}
	return s.closedByCalendar(e, at)
}

// whyBehind follows on what was done to a job after an instant, and before that
// was committed.
const whyBehind = ", before this occurrence was committed"

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
	if m.e.rare == nil {
		m.e.rare = &rare{end: never}
	}
	// Who deleted it may have a clock that is ahead.
	m.e.rare.deleted = min(m.at, max(s.deps.now(), 1))
	s.setNext(m.e, s.nextAfter(m.e, from))
}
