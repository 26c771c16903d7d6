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
	closed   dayList
	open     dayList
	windows  []window
	// spans are the windows and events that come once, in order; they do not
	// overlap. events are those that come again.
	spans  []span
	events []event
	// cost is how many steps a look at it takes at most.
	cost int
}

// span is a time that is closed once.
type span struct {
	from, to time.Time
	name     string
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

// dayList is rows of days. Single days, of which there may be many, are found at
// once.
type dayList struct {
	single map[date]string
	rows   []days
}

func newDayList(all []days) dayList {
	l := dayList{single: map[date]string{}}
	for _, d := range all {
		if d.from != d.to {
			l.rows = append(l.rows, d)
		} else if _, twice := l.single[d.from]; !twice {
			l.single[d.from] = d.name
		}
	}
	return l
}

// find returns the name of a row that has a day.
func (l *dayList) find(day date) (name string, found bool) {
	if name, found = l.single[day]; found {
		return name, true
	}
	if name, found = l.single[date{0, day.month, day.day}]; found {
		return name, true
	}
	for i := range l.rows {
		if l.rows[i].has(day) {
			return l.rows[i].name, true
		}
	}
	return "", false
}

func (l *dayList) empty() bool { return len(l.single)+len(l.rows) == 0 }

// window is a time that is closed again and again.
type window struct {
	when *schedule.Schedule
	long time.Duration
	name string
}

// at returns the end of the window that an instant lies in.
func (w *window) at(t time.Time) (time.Time, bool) {
	// Starts in (t-long, t] cover t; a later one ends later. Next does not fall,
	// so the last start is found by halving.
	low, high := t.Add(-w.long), t
	last, ok := w.when.NextBy(low, t)
	if !ok {
		return time.Time{}, false
	}
	for low = last; high.Sub(low) >= schedule.MinEvery; {
		middle := low.Add(high.Sub(low) / 2)
		if s, ok := w.when.NextBy(middle, t); ok {
			low, last = s, s
		} else {
			high = middle
		}
	}
	return last.Add(w.long), true
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
	c.closed = newDayList(p.days("spec.closed", spec.Closed))
	c.open = newDayList(p.days("spec.open", spec.Open))
	var once []span
	if len(spec.Windows) > job.MaxCalendarDays {
		p.add("spec.windows", "has %d entries; at most %d are allowed", len(spec.Windows), job.MaxCalendarDays)
	} else {
		for i, text := range spec.Windows {
			w, s, err := parseWindow(text, loc.String())
			switch {
			case err != nil:
				p.add(at("spec.windows", i), "%v", err)
			case w.when == nil:
				once = append(once, s)
			default:
				c.windows = append(c.windows, w)
			}
		}
	}
	if spec.ICS != "" {
		events, err := parseICS(spec.ICS, loc)
		if err != nil {
			p.add("spec.ics", "%v", err)
			events = nil
		}
		for i := range events {
			if e := &events[i]; e.rule == nil {
				once = append(once, span{e.from, e.end(e.from), orText(e.name, "an event")})
			} else {
				c.events = append(c.events, *e)
			}
		}
	}
	c.spans = disjoint(once)
	if len(p.list) == 0 && c.business == 0 && c.open.empty() {
		p.add("spec.weekdays", "leaves no day open")
	}
	p.costs(c)
	return c, p.list
}

// MaxCost bounds how many steps one look at a calendar, or at all those of a job
// together, may take. A step is some 20 ns.
const MaxCost = 20_000

// The steps that a look takes.
const (
	stepsOfCalendar = 16
	stepsOfWindow   = 20
)

// costs works out what a look at the calendar costs, and refuses one that costs
// too much.
func (p *problems) costs(c *Calendar) {
	windows, events := len(c.windows)*stepsOfWindow, 0
	for i := range c.events {
		e := &c.events[i]
		events += e.back() * e.rule.cost()
	}
	c.cost = stepsOfCalendar + len(c.closed.rows) + len(c.open.rows) + windows + events
	switch {
	case c.cost <= MaxCost:
	case windows > events:
		p.add("spec.windows", "has %d windows that come again, more than can be looked through whenever a job is due; at most %d are allowed", len(c.windows), MaxCost/stepsOfWindow/2)
	default:
		p.add("spec.ics", "has %d events that come again, and a look through them would take %d steps; at most %d are allowed: name fewer or shorter ones, or single days", len(c.events), events, MaxCost)
	}
}

// disjoint sorts times that are closed once, and makes one of those that overlap
// or follow without a gap.
func disjoint(all []span) []span {
	slices.SortStableFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
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
	i, found := slices.BinarySearchFunc(c.spans, t, func(s span, t time.Time) int { return s.from.Compare(t) })
	if !found {
		i-- // the last that begins before t
	}
	if i >= 0 && t.Before(c.spans[i].to) {
		return c.spans[i].name, c.spans[i].to, true
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
	if _, open := c.open.find(day); open {
		return ""
	}
	if name, closed := c.closed.find(day); closed {
		return orText(name, local.Format(time.DateOnly)+" is closed")
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
func parseWindow(text, zone string) (window, span, error) {
	head, name := strings.TrimSpace(text), ""
	if i := strings.LastIndex(head, ": "); i >= 0 {
		head, name = strings.TrimSpace(head[:i]), strings.TrimSpace(head[i+2:])
	}
	if first, last, ok := strings.Cut(head, ".."); ok {
		from, err1 := time.Parse(time.RFC3339, strings.TrimSpace(first))
		to, err2 := time.Parse(time.RFC3339, strings.TrimSpace(last))
		switch {
		case err1 != nil || err2 != nil:
			return window{}, span{}, fmt.Errorf("%q: want two instants, as in 2027-08-01T20:00:00Z..2027-08-02T04:00:00Z", head)
		case !from.Before(to):
			return window{}, span{}, fmt.Errorf("%q: the end is not after the beginning", head)
		}
		return window{}, span{from, to, orText(name, "a window of maintenance")}, nil
	}
	i := strings.LastIndex(head, " for ")
	if i < 0 {
		return window{}, span{}, fmt.Errorf("%q: want two instants with .. between them, or a cron expression and how long, as in 0 2 * * SUN for 2h", text)
	}
	when, err := schedule.Parse(head[:i], schedule.Options{Zone: zone})
	if err != nil {
		return window{}, span{}, err
	}
	long, err := time.ParseDuration(strings.TrimSpace(head[i+len(" for "):]))
	if err != nil || long <= 0 || long > maxWindow {
		return window{}, span{}, fmt.Errorf("%q: behind \"for\" is how long, as in 2h; up to %v", text, maxWindow)
	}
	return window{when: when, long: long, name: name}, span{}, nil
}
