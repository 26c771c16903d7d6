package cli

import (
	"time"

	"github.com/carillon-cron/carillon/schedule"
)

// onClock returns when the clock of a zone shows a time, which is in UTC here, and
// tells how one is read that the clock leaves out, or shows twice.
func (a *app) onClock(wall time.Time, loc *time.Location) time.Time {
	const day = 24 * time.Hour
	shows := func(offset int) (time.Time, bool) {
		t := wall.Add(-time.Duration(offset) * time.Second)
		there := t.In(loc)
		_, is := there.Zone()
		return there, is == offset
	}
	_, before := wall.Add(-day).In(loc).Zone()
	_, after := wall.Add(day).In(loc).Zone()
	first, isFirst := shows(before)
	second, isSecond := shows(after)
	const form = "2006-01-02T15:04:05"
	switch {
	case !isFirst && !isSecond:
		a.note("%s is no time in %s, where clocks go forward over it; read as %s (%s)",
			wall.Format(form), loc, first.Format(form), first.UTC().Format(time.RFC3339))
		return first
	case isFirst && isSecond && before != after:
		a.note("%s comes twice in %s, where clocks go back; read as the first one (%s)", wall.Format(form), loc, first.UTC().Format(time.RFC3339))
		return first
	case isFirst:
		return first
	}
	return second
}

// tellOf tells what is to be known of schedules that somebody asks about, and is not
// in their instants.
func (a *app) tellOf(exprs []string, options schedule.Options) {
	hashed := false
	for _, expr := range exprs {
		for _, w := range schedule.Warnings(expr, options) {
			a.note("warning: %s", w)
		}
		if s, err := schedule.Parse(expr, options); err == nil && s.Hashed() {
			hashed = true
		}
	}
	if hashed && options.Seed == "" {
		a.note("H follows from the name of a job; without one, this is not what any job has: give --seed NAMESPACE/NAME")
	}
}
