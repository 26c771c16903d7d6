package calendar

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Calendar is a compiled calendar. It is immutable, and safe for concurrent use.
type Calendar struct {
	name string
	loc  *time.Location
	// business has the business days of the week as bits, from Sunday on.
	business uint8
	closed   []days
	open     []days
	windows  []window
	events   []event
}

// days is a row of days: of one year, or of every year when year is 0.
type days struct {
	from, to date
	name     string
}

// date is a day; year 0 stands for every year.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// key orders the days of one year, or of all of them.
func (d date) key() int { return (d.year*100+int(d.month))*100 + d.day }

// has reports whether a day is among them. A yearly row may go over new year.
func (d days) has(day date) bool {
	if d.from.year == 0 {
		day.year = 0
		if d.from.key() > d.to.key() {
			return day.key() >= d.from.key() || day.key() <= d.to.key()
		}
	}
	return day.key() >= d.from.key() && day.key() <= d.to.key()
}

// window is a time that is closed, once or again and again.
type window struct {
	from, to time.Time // once
	when     *schedule.Schedule
	long     time.Duration
	name     string
}

// at returns the end of the window that an instant lies in.
func (w *window) at(t time.Time) (time.Time, bool) {
	if w.when == nil {
		return w.to, !t.Before(w.from) && t.Before(w.to)
	}
	end, in := time.Time{}, false
	// Starts in (t-long, t] cover t; a later one ends later.
	for s, ok := w.when.Next(t.Add(-w.long)); ok && !s.After(t); s, ok = w.when.Next(s) {
		end, in = s.Add(w.long), true
	}
	return end, in
}

// New compiles a calendar. The problems are all that is wrong with it, with
// paths that begin with "spec".
func New(name string, spec *job.CalendarSpec) (*Calendar, []job.Problem) {
	c := &Calendar{name: name, business: 1<<7 - 1}
	p := problems{}
	loc, err := schedule.LoadZone(spec.TimeZone)
	if err != nil {
		p.add("spec.timeZone", "%v", err)
		loc = time.UTC
	}
	c.loc = loc
	if len(spec.Weekdays) > 0 {
		c.business = 0
		for i, text := range spec.Weekdays {
			bits, err := weekdays(text)
			if err != nil {
				p.add(at("spec.weekdays", i), "%v", err)
			}
			c.business |= bits
		}
	}
	c.closed = p.days("spec.closed", spec.Closed)
	c.open = p.days("spec.open", spec.Open)
	if len(spec.Windows) > job.MaxCalendarDays {
		p.add("spec.windows", "has %d entries; at most %d are allowed", len(spec.Windows), job.MaxCalendarDays)
	} else {
		for i, text := range spec.Windows {
			w, err := parseWindow(text, loc.String())
			if err != nil {
				p.add(at("spec.windows", i), "%v", err)
			}
			c.windows = append(c.windows, w)
		}
	}
	if spec.ICS != "" {
		if c.events, err = parseICS(spec.ICS, loc); err != nil {
			p.add("spec.ics", "%v", err)
		}
	}
	if len(p.list) == 0 && c.business == 0 && len(c.open) == 0 {
		p.add("spec.weekdays", "leaves no day open")
	}
	return c, p.list
}

// Name returns the calendar's name.
func (c *Calendar) Name() string { return c.name }

// Closed reports whether the calendar is closed at an instant: why, and until
// when. Where days are closed, it is until the end of that day.
func (c *Calendar) Closed(t time.Time) (why string, until time.Time, closed bool) {
	local := t.In(c.loc)
	if why := c.closedDay(local); why != "" {
		y, m, d := local.Date()
		return why, time.Date(y, m, d+1, 0, 0, 0, 0, c.loc), true
	}
	for i := range c.windows {
		w := &c.windows[i]
		if end, in := w.at(t); in {
			return orText(w.name, "a window of maintenance"), end, true
		}
	}
	for i := range c.events {
		if end, in := c.events[i].at(t); in {
			return orText(c.events[i].name, "an event"), end, true
		}
	}
	return "", time.Time{}, false
}

// closedDay returns why a day is closed; empty: it is not.
func (c *Calendar) closedDay(local time.Time) string {
	day := dateOf(local)
	has := func(d days) bool { return d.has(day) }
	if slices.ContainsFunc(c.open, has) {
		return ""
	}
	if i := slices.IndexFunc(c.closed, has); i >= 0 {
		return orText(c.closed[i].name, local.Format(time.DateOnly)+" is closed")
	}
	if c.business>>local.Weekday()&1 == 0 {
		return local.Weekday().String() + " is no business day"
	}
	return ""
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Set is the calendars of one job: a time is closed when any of them is.
type Set []*Calendar

// Closed is as of one calendar. The reason names the calendar.
func (s Set) Closed(t time.Time) (why string, until time.Time, closed bool) {
	for _, c := range s {
		if why, until, closed := c.Closed(t); closed {
			return fmt.Sprintf("calendar %s: %s", c.name, why), until, true
		}
	}
	return "", time.Time{}, false
}

// longestClosed is how far ahead an open time is looked for.
const longestClosed = 366 * 24 * time.Hour

// Resolve returns when an occurrence runs that is due at an instant: then, or
// when all calendars are open next, which is at the same time of an open day, by
// the clock of the job's zone, or at the end of a window. It is false when that
// is not within a year. The reason tells why it is moved; empty: it is not.
func (s Set) Resolve(t time.Time, zone *time.Location) (at time.Time, why string, ok bool) {
	at = t
	for at.Sub(t) < longestClosed {
		reason, until, closed := s.Closed(at)
		if !closed {
			return at.UTC(), why, true
		}
		if why == "" {
			why = reason
		}
		at = next(t, at, until, zone)
	}
	return time.Time{}, why, false
}

// next returns the time to look at after one that is closed until an instant:
// the occurrence's time of day on the day on which that instant lies, or on the
// one after, if a day or more is closed; else the instant itself.
func next(t, at, until time.Time, zone *time.Location) time.Time {
	local := t.In(zone)
	end := until.In(zone)
	y, m, d := end.Date()
	same := time.Date(y, m, d, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), zone)
	if same.Before(until) {
		if dateOf(at.In(zone)) == dateOf(end) {
			return until // a window within the day
		}
		same = time.Date(y, m, d+1, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), zone)
	}
	if !same.After(at) {
		return until
	}
	return same
}

// problems collects what is wrong.
type problems struct{ list []job.Problem }

func (p *problems) add(path, format string, args ...any) {
	p.list = append(p.list, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// days reads a list of days.
func (p *problems) days(path string, texts []string) []days {
	if len(texts) > job.MaxCalendarDays {
		p.add(path, "has %d entries; at most %d are allowed", len(texts), job.MaxCalendarDays)
		return nil
	}
	var out []days
	for i, text := range texts {
		d, err := parseDays(text)
		if err != nil {
			p.add(at(path, i), "%v", err)
			continue
		}
		out = append(out, d)
	}
	return out
}

// parseDays reads "2027-12-24 Christmas Eve", "12-25", or
// "2027-08-01..2027-08-14 Works holidays".
func parseDays(text string) (days, error) {
	head, name, _ := strings.Cut(strings.TrimSpace(text), " ")
	first, last, isRow := strings.Cut(head, "..")
	from, err := parseDate(first)
	if err != nil {
		return days{}, err
	}
	to := from
	if isRow {
		if to, err = parseDate(last); err != nil {
			return days{}, err
		}
	}
	switch {
	case (from.year == 0) != (to.year == 0):
		return days{}, fmt.Errorf("%q: give a year with both days, or with none", head)
	case from.year != 0 && from.key() > to.key():
		return days{}, fmt.Errorf("%q: the last day lies before the first", head)
	}
	return days{from, to, strings.TrimSpace(name)}, nil
}

func parseDate(text string) (date, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return dateOf(t), nil
	}
	// A leap year, so that 02-29 can be said.
	if t, err := time.Parse(time.DateOnly, "2000-"+text); err == nil {
		d := dateOf(t)
		d.year = 0
		return d, nil
	}
	return date{}, fmt.Errorf("%q is not a day such as 2027-12-24, or 12-24 for every year", text)
}

// weekdays reads MON or MON-FRI.
func weekdays(text string) (uint8, error) {
	names := []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	first, last, isRange := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), "-")
	from, to := slices.Index(names, first), slices.Index(names, last)
	if !isRange {
		to = from
	}
	if from < 0 || to < 0 {
		return 0, fmt.Errorf("%q is not a day of the week such as MON, or MON-FRI", text)
	}
	var bits uint8
	for d := from; ; d = (d + 1) % 7 {
		bits |= 1 << d
		if d == to {
			return bits, nil
		}
	}
}

// maxWindow bounds how long a recurring window lasts.
const maxWindow = 31 * 24 * time.Hour

// parseWindow reads "INSTANT..INSTANT: name" or "CRON for DURATION: name".
func parseWindow(text, zone string) (window, error) {
	head, name := strings.TrimSpace(text), ""
	if i := strings.LastIndex(head, ": "); i >= 0 {
		head, name = strings.TrimSpace(head[:i]), strings.TrimSpace(head[i+2:])
	}
	if first, last, ok := strings.Cut(head, ".."); ok {
		from, err1 := time.Parse(time.RFC3339, strings.TrimSpace(first))
		to, err2 := time.Parse(time.RFC3339, strings.TrimSpace(last))
		switch {
		case err1 != nil || err2 != nil:
			return window{}, fmt.Errorf("%q: want two instants, as in 2027-08-01T20:00:00Z..2027-08-02T04:00:00Z", head)
		case !from.Before(to):
			return window{}, fmt.Errorf("%q: the end is not after the beginning", head)
		}
		return window{from: from, to: to, name: name}, nil
	}
	i := strings.LastIndex(head, " for ")
	if i < 0 {
		return window{}, fmt.Errorf("%q: want two instants with .. between them, or a cron expression and how long, as in 0 2 * * SUN for 2h", text)
	}
	when, err := schedule.Parse(head[:i], schedule.Options{Zone: zone})
	if err != nil {
		return window{}, err
	}
	long, err := time.ParseDuration(strings.TrimSpace(head[i+len(" for "):]))
	if err != nil || long <= 0 || long > maxWindow {
		return window{}, fmt.Errorf("%q: behind \"for\" is how long, as in 2h; up to %v", text, maxWindow)
	}
	return window{when: when, long: long, name: name}, nil
}
