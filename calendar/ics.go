package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/schedule"
)

// event is an event of an iCalendar file (RFC 5545), once or recurring.
type event struct {
	from time.Time
	long time.Duration
	// days: it lasts from day to day, by the clock.
	days int
	name string
	rule *rule
	// not are the occurrences that are left out, in order.
	not []time.Time
}

// at returns the end of the occurrence of a recurring event that an instant lies
// in.
func (e *event) at(t time.Time) (time.Time, bool) {
	start, ok := e.rule.last(t, e.back(), e.leftOut)
	if !ok {
		return time.Time{}, false
	}
	end := e.end(start)
	return end, t.Before(end)
}

// leftOut reports whether the occurrence that begins then is left out.
func (e *event) leftOut(start time.Time) bool {
	_, found := slices.BinarySearchFunc(e.not, start, time.Time.Compare)
	return found
}

func (e *event) end(start time.Time) time.Time {
	if e.days > 0 {
		return start.AddDate(0, 0, e.days)
	}
	return start.Add(e.long)
}

// back is how many days before an instant an occurrence may begin that has not
// ended then.
func (e *event) back() int { return max(e.days, int(e.long/(24*time.Hour))) + 1 }

// Bounds of one file.
const (
	maxEvents = 5000
	// maxEventDays bounds an occurrence of an event that comes again, maxLong
	// every event.
	maxEventDays = 366
	maxLong      = 100 * 366 * 24 * time.Hour
	// maxCountSteps bounds the steps spent on all rules that end by a COUNT.
	maxCountSteps = 2_000_000
	// maxWrong bounds the events whose faults are told.
	maxWrong = 20
)

// parseICS reads the events of an iCalendar file. Times without a zone are
// meant in loc.
func parseICS(text string, loc *time.Location) ([]event, error) {
	lines := unfold(text)
	if len(lines) == 0 || !strings.EqualFold(lines[0].text, "BEGIN:VCALENDAR") {
		return nil, errors.New("is not an iCalendar file: it does not begin with BEGIN:VCALENDAR")
	}
	var out []event
	var errs []error
	var inside map[string]property
	var not []property
	begun, steps := 0, maxCountSteps
	for _, l := range lines {
		switch {
		case strings.EqualFold(l.text, "BEGIN:VEVENT"):
			inside, not, begun = map[string]property{}, nil, l.number
		case strings.EqualFold(l.text, "END:VEVENT") && inside != nil:
			e, err := newEvent(inside, not, loc, &steps)
			if err != nil {
				if errs = append(errs, fmt.Errorf("event in line %d: %w", begun, err)); len(errs) == maxWrong {
					return nil, errors.Join(append(errs, errors.New("and maybe more"))...)
				}
			}
			if out = append(out, e); len(out) > maxEvents {
				return nil, fmt.Errorf("has more than %d events", maxEvents)
			}
			inside = nil
		case inside != nil:
			p, ok := newProperty(l.text)
			if p.name == "EXDATE" {
				not = append(not, p)
			} else if _, twice := inside[p.name]; ok && !twice {
				inside[p.name] = p
			}
		}
	}
	if inside != nil {
		errs = append(errs, fmt.Errorf("event in line %d has no END:VEVENT", begun))
	}
	return out, errors.Join(errs...)
}

type line struct {
	text   string
	number int
}

// unfold joins lines that were folded.
func unfold(text string) []line {
	var out []line
	var parts []string // of the last line, which may be folded many times
	end := func() {
		if len(parts) > 0 {
			out[len(out)-1].text = strings.Join(parts, "")
		}
	}
	for i, l := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		switch {
		case l == "":
		case (l[0] == ' ' || l[0] == '\t') && len(out) > 0:
			parts = append(parts, l[1:])
		default:
			end()
			out, parts = append(out, line{number: i + 1}), []string{l}
		}
	}
	end()
	return out
}

// property is NAME;PARAM=X:VALUE.
type property struct {
	name, value string
	zone        string
	isDate      bool
}

func newProperty(text string) (property, bool) {
	head, value, ok := strings.Cut(text, ":")
	parts := strings.Split(head, ";")
	p := property{name: strings.ToUpper(parts[0]), value: strings.TrimSpace(value)}
	for _, param := range parts[1:] {
		k, v, _ := strings.Cut(param, "=")
		switch strings.ToUpper(k) {
		case "TZID":
			p.zone = strings.Trim(v, `"`)
		case "VALUE":
			p.isDate = strings.EqualFold(v, "DATE")
		}
	}
	return p, ok
}

// times reads one or more times, with commas between them.
func (p property) times(loc *time.Location) ([]time.Time, error) {
	if p.zone != "" {
		var err error
		if loc, err = schedule.LoadZone(p.zone); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	var out []time.Time
	for text := range strings.SplitSeq(p.value, ",") {
		t, err := time.ParseInLocation("20060102", text, loc)
		if err != nil {
			t, err = time.ParseInLocation("20060102T150405", text, loc)
		}
		if err != nil {
			t, err = time.Parse("20060102T150405Z", text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q is not a time such as 20271224, 20271224T090000 or 20271224T090000Z", p.name, shortened(text))
		}
		out = append(out, t)
	}
	return out, nil
}

func newEvent(has map[string]property, not []property, loc *time.Location, steps *int) (event, error) {
	start, ok := has["DTSTART"]
	if !ok {
		return event{}, errors.New("has no DTSTART")
	}
	from, err := start.times(loc)
	if err != nil {
		return event{}, err
	}
	e := event{from: from[0], name: unescape(has["SUMMARY"].value)}
	wholeDay := start.isDate || len(start.value) == len("20060102")
	if wholeDay {
		e.days = 1
	}
	if p, ok := has["DTEND"]; ok {
		to, err := p.times(loc)
		if err != nil {
			return event{}, err
		}
		if !to[0].After(e.from) {
			return event{}, fmt.Errorf("DTEND %s is not after DTSTART %s", p.value, start.value)
		}
		e.long = to[0].Sub(e.from)
		if wholeDay {
			e.days = int((e.long + 12*time.Hour) / (24 * time.Hour)) // by days, whatever the clock does
		}
	} else if p, ok := has["DURATION"]; ok {
		if e.long, err = icsDuration(p.value); err != nil {
			return event{}, err
		}
		e.days = 0
	}
	if e.long > maxLong {
		return event{}, fmt.Errorf("lasts %v; at most 100 years are allowed", e.long)
	}
	if p, ok := has["RRULE"]; ok {
		if e.rule, err = newRule(p.value, e.from, steps); err != nil {
			return event{}, fmt.Errorf("RRULE %q: %w", shortened(p.value), err)
		}
		if e.back() > maxEventDays+1 {
			return event{}, fmt.Errorf("comes again and lasts longer than %d days", maxEventDays)
		}
	}
	for _, p := range not {
		times, err := p.times(loc)
		if err != nil {
			return event{}, err
		}
		e.not = append(e.not, times...)
	}
	slices.SortFunc(e.not, time.Time.Compare)
	return e, nil
}

// shortened returns as much of a text as an error shows.
func shortened(s string) string {
	const shown = 100
	if len(s) > shown {
		return s[:shown] + "..."
	}
	return s
}

// icsDuration reads P1D, PT2H30M, P1W and the like.
func icsDuration(text string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "+"), "P")
	var d time.Duration
	n, digits, inTime := 0, false, false
	for _, c := range rest {
		unit := time.Duration(0)
		switch {
		case c >= '0' && c <= '9' && n < 1e9:
			n, digits = n*10+int(c-'0'), true
			continue
		case c == 'T' && !inTime && !digits:
			inTime = true
			continue
		case c == 'W' && !inTime:
			unit = 7 * 24 * time.Hour
		case c == 'D' && !inTime:
			unit = 24 * time.Hour
		case c == 'H' && inTime:
			unit = time.Hour
		case c == 'M' && inTime:
			unit = time.Minute
		case c == 'S' && inTime:
			unit = time.Second
		}
		if unit == 0 || !digits {
			ok = false
			break
		}
		if time.Duration(n) > maxLong/unit || d > maxLong {
			return 0, fmt.Errorf("DURATION %q is longer than 100 years", shortened(text))
		}
		d, n, digits = d+time.Duration(n)*unit, 0, false
	}
	if !ok || digits || d <= 0 {
		return 0, fmt.Errorf("DURATION %q is not one such as P1D or PT2H30M", text)
	}
	return d, nil
}

func unescape(s string) string {
	return strings.NewReplacer(`\,`, ",", `\;`, ";", `\n`, " ", `\N`, " ", `\\`, `\`).Replace(s)
}
