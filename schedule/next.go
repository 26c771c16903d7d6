package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// searchYears bounds the search for the next instant: the rarest expression
// that comes due at all, 29 February around a year that is no leap year, waits
// eight years.
const searchYears = 9

// Next returns the first instant strictly after t, in UTC; false when there is
// none.
func (s *Schedule) Next(t time.Time) (time.Time, bool) {
	switch {
	case s.every > 0:
		return nextEvery(t, s.every), true
	case !s.at.IsZero():
		return s.at, s.at.After(t)
	}
	limit := t.AddDate(searchYears, 0, 0)
	if s.everyHour || s.loc == time.UTC {
		return match(s.spec, t, limit, s.loc)
	}
	return s.nextWall(t, limit)
}

// nextEvery returns the first multiple of d since the Unix epoch after t.
func nextEvery(t time.Time, d time.Duration) time.Time {
	n, step := t.UnixNano(), int64(d)
	k := n / step
	if n%step < 0 {
		k--
	}
	return time.Unix(0, (k+1)*step).UTC()
}

// nextWall finds the next instant of an expression that goes by the wall clock
// (S2). It looks at each change of the clock on the way.
func (s *Schedule) nextWall(t, limit time.Time) (time.Time, bool) {
	found, ok := match(s.spec, t, limit, s.loc)
	for ok && repeated(found, s.loc) {
		found, ok = match(s.spec, found, limit, s.loc)
	}
	until := limit
	if ok {
		until = found
	}
	for from := t; ; {
		_, change := from.In(s.loc).ZoneBounds()
		if change.IsZero() || change.After(until) {
			return found, ok
		}
		if !change.After(from) {
			// Where the tz rules take over from the table, a bound can be its
			// own: step past it.
			from = from.Add(time.Hour)
			continue
		}
		if change.After(t) && s.inGap(change) {
			return change.UTC(), true
		}
		from = change
	}
}

// inGap reports whether a matching wall-clock time is left out at the change.
func (s *Schedule) inGap(change time.Time) bool {
	_, before := change.Add(-time.Nanosecond).In(s.loc).Zone()
	_, after := change.In(s.loc).Zone()
	if after <= before {
		return false
	}
	// The wall clock as if it were UTC: from the last time before the gap on.
	first := change.Add(time.Duration(before) * time.Second)
	end := change.Add(time.Duration(after) * time.Second)
	_, ok := match(s.spec, first.Add(-time.Second), end.Add(-time.Second), time.UTC)
	return ok
}

// repeated reports whether the wall clock showed t's time once before.
func repeated(t time.Time, loc *time.Location) bool {
	start, _ := t.In(loc).ZoneBounds()
	if start.IsZero() {
		return false
	}
	_, before := start.Add(-time.Nanosecond).In(loc).Zone()
	_, after := start.In(loc).Zone()
	return before > after && t.Sub(start) < time.Duration(before-after)*time.Second
}

// match returns the first instant after t and not after limit whose wall clock
// in loc matches all fields.
func match(spec *cron.SpecSchedule, t, limit time.Time, loc *time.Location) (time.Time, bool) {
	t = t.Truncate(time.Second).Add(time.Second).In(loc)
	for !t.After(limit) {
		if !has(spec.Month, int(t.Month())) {
			t = startOf(t, t.Year(), t.Month()+1, 1)
			continue
		}
		if !dayMatches(spec, t) {
			t = startOf(t, t.Year(), t.Month(), t.Day()+1)
			continue
		}
		h, m, s := t.Clock()
		switch {
		case !has(spec.Hour, h):
			t = t.Add(time.Duration(3600-m*60-s) * time.Second)
		case !has(spec.Minute, m):
			t = t.Add(time.Duration(60-s) * time.Second)
		case !has(spec.Second, s):
			t = t.Add(time.Second)
		default:
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func has(bits uint64, v int) bool { return bits&(1<<uint(v)) != 0 } //nolint:gosec // 0..59

// starBit is set by robfig/cron in a field that is `*` or `?`.
const starBit = 1 << 63

func dayMatches(spec *cron.SpecSchedule, t time.Time) bool {
	dom, dow := has(spec.Dom, t.Day()), has(spec.Dow, int(t.Weekday()))
	if spec.Dom&starBit != 0 || spec.Dow&starBit != 0 {
		return dom && dow
	}
	return dom || dow
}

// startOf returns the first instant of a day that lies ahead of t. Where that
// midnight does not exist, or the whole day does not, it is the first instant
// after; it is always later than t.
func startOf(t time.Time, y int, m time.Month, d int) time.Time {
	next := time.Date(y, m, d, 0, 0, 0, 0, t.Location())
	if next.Day() != 1 && m != t.Month() || !next.After(t) || next.Day() == t.Day() && next.Month() == t.Month() {
		// Midnight lies in a gap and was moved back, or the day is left out.
		return t.Add(time.Hour).Truncate(time.Hour)
	}
	return next
}
