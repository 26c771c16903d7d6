package schedule

import (
	"fmt"
	"time"
)

// Warnings returns what of an expression does less than it says, though its
// dialect takes it. None for expressions that Parse refuses.
func Warnings(expr string, opts Options) []string {
	var out []string
	opts.Strict = false
	if _, err := parse(expr, opts, LoadZone, func(text string) { out = append(out, fmt.Sprintf("%q: %s", expr, text)) }); err != nil {
		return nil
	}
	return out
}

// checkStep tells of a step by which nothing but the first value of a range is
// reached.
func (c *compiler) checkStep(text string, step, low, high int) error {
	if step == 1 || step <= high-low {
		return nil
	}
	why := fmt.Sprintf("the step %s is larger than the range %d-%d, so that only %d matches", text, low, high, low)
	if high > low {
		why += fmt.Sprintf("; the largest is %d", high-low)
	}
	switch {
	case c.wideSteps && c.warn != nil:
		c.warn(why)
	case !c.wideSteps && c.opts.Strict:
		return fmt.Errorf("%s", why)
	}
	return nil
}

// OnClock reports whether the schedule is due by the time of day, as all but
// @every and @at are.
func (s *Schedule) OnClock() bool { return s.kind == kindFields }

// Once reports whether the schedule is due once only, as @at is.
func (s *Schedule) Once() bool { return s.kind == kindAt }

// OwnZone reports whether the expression names its zone itself.
func (s *Schedule) OwnZone() bool { return s.ownZone }

// Named reports whether the expression is @daily or the like, which every dialect
// reads alike, or @every or @at.
func (s *Schedule) Named() bool { return s.named }

// Hashed reports whether Options.Seed matters.
func (s *Schedule) Hashed() bool { return s.hashed }

// Jumps reports whether it matters what happens when clocks jump: the schedule
// follows the clock of a zone that has ever jumped, and does not run through as
// S1 says.
func (s *Schedule) Jumps() bool {
	if s.kind != kindFields || s.fields.everyHour() || s.loc == time.UTC {
		return false
	}
	start, end := time.Unix(0, 0).In(s.loc).ZoneBounds()
	return !start.IsZero() || !end.IsZero()
}

// ZoneIsIdle reports whether the schedule is due at the instants at which it would be
// due in UTC, as is "*/5 * * * *" in each zone that is off UTC by a multiple of five
// minutes.
func (s *Schedule) ZoneIsIdle() bool {
	f := &s.fields
	if s.kind != kindFields || f.extra != nil || !f.everyHour() || f.month != 1<<13-2 || f.days(2027, 1) != 1<<32-2 {
		return false
	}
	for _, month := range []time.Month{time.January, time.July} { // clocks may be moved between
		_, offset := time.Date(2027, month, 1, 0, 0, 0, 0, time.UTC).In(s.loc).Zone()
		by := uint((offset/60%60 + 60) % 60) // 0 to 59
		const hour = 1<<60 - 1
		if offset%60 != 0 || (f.minute<<by|f.minute>>(60-by))&hour != f.minute {
			return false
		}
	}
	return true
}

// InZone returns an expression that does in a zone what s, which is an @every or
// an @at, seems to be meant to do there; empty: there is none, or none that the zone
// moves.
func (s *Schedule) InZone(zone string) string {
	switch s.kind {
	case kindEvery:
		expr := cronOf(time.Duration(s.nanos))
		if there, err := Parse(expr, Options{Zone: zone}); expr == "" || err != nil || there.ZoneIsIdle() {
			return "" // a zone does nothing for that either
		}
		return expr
	case kindAt:
		loc, err := LoadZone(zone)
		if err != nil {
			return ""
		}
		at := time.Unix(0, s.nanos).UTC()
		there := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), loc)
		return "@at " + there.Format(time.RFC3339Nano)
	case kindFields:
	}
	return ""
}

// cronOf writes an interval as fields, if it divides a day, an hour or a minute.
func cronOf(d time.Duration) string {
	each := func(n, of int) string {
		switch n {
		case of:
			return "0"
		case 1:
			return "*"
		}
		return fmt.Sprintf("*/%d", n)
	}
	switch {
	case d%time.Hour == 0 && 24*time.Hour%d == 0:
		return "0 " + each(int(d/time.Hour), 24) + " * * *"
	case d%time.Minute == 0 && time.Hour%d == 0:
		return each(int(d/time.Minute), 60) + " * * * *"
	case d%time.Second == 0 && time.Minute%d == 0:
		return each(int(d/time.Second), 60) + " * * * * *"
	}
	return ""
}

// idleZone tells that a zone does nothing for an @every or an @at, and what would
// do what seems to be meant.
func (s *Schedule) idleZone(zone string) string {
	meant := s.InZone(zone)
	if s.kind == kindAt {
		return fmt.Sprintf("the zone %s does nothing here, as @at has an offset of its own; leave the zone out or, if the time is that of %[1]s, write %s", zone, meant)
	}
	why := fmt.Sprintf("the zone %s does nothing here, as @every counts from 1970-01-01T00:00:00Z; leave the zone out", zone)
	if meant != "" {
		why += fmt.Sprintf(" or, for the clock of %s, write CRON_TZ=%[1]s %s", zone, meant)
	}
	return why
}
