package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/carillon-cron/carillon/schedule"
)

// event is an event of an iCalendar file (RFC 5545), once or recurring.
type event struct {
	from time.Time
	long time.Duration
	// days: it lasts from day to day, by the clock.
	days int
	name string
	rule *rrule.RRule
	not  []time.Time
}

// at returns the end of the occurrence that an instant lies in.
func (e *event) at(t time.Time) (time.Time, bool) {
	if e.rule == nil {
		return e.during(e.from, t)
	}
	// The last start that is not after t; one that is left out hides no other.
	for s := e.rule.Before(t, true); !s.IsZero(); s = e.rule.Before(s, false) {
		if end, in := e.during(s, t); in {
			if !slices.ContainsFunc(e.not, s.Equal) {
				return end, true
			}
			continue
		}
		break
	}
	return time.Time{}, false
}

func (e *event) during(start, t time.Time) (time.Time, bool) {
	end := start.Add(e.long)
	if e.days > 0 {
		end = start.AddDate(0, 0, e.days)
	}
	return end, !t.Before(start) && t.Before(end)
}

// maxEvents bounds the events of one file.
const maxEvents = 5000

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
	begun := 0
	for _, l := range lines {
		switch {
		case strings.EqualFold(l.text, "BEGIN:VEVENT"):
			inside, not, begun = map[string]property{}, nil, l.number
		case strings.EqualFold(l.text, "END:VEVENT") && inside != nil:
			e, err := newEvent(inside, not, loc)
			if err != nil {
				errs = append(errs, fmt.Errorf("event in line %d: %w", begun, err))
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
	for i, l := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		switch {
		case l == "":
		case (l[0] == ' ' || l[0] == '\t') && len(out) > 0:
			out[len(out)-1].text += l[1:]
		default:
			out = append(out, line{l, i + 1})
		}
	}
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
			return nil, fmt.Errorf("%s %q is not a time such as 20271224, 20271224T090000 or 20271224T090000Z", p.name, text)
		}
		out = append(out, t)
	}
	return out, nil
}

func newEvent(has map[string]property, not []property, loc *time.Location) (event, error) {
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
	if p, ok := has["RRULE"]; ok {
		opts, err := rrule.StrToROptionInLocation(p.value, e.from.Location())
		if err != nil {
			return event{}, fmt.Errorf("RRULE %q: %w", p.value, err)
		}
		if opts.Freq > rrule.DAILY {
			return event{}, fmt.Errorf("RRULE %q: events that recur more often than daily are not understood", p.value)
		}
		opts.Dtstart = e.from
		if e.rule, err = rrule.NewRRule(*opts); err != nil {
			return event{}, fmt.Errorf("RRULE %q: %w", p.value, err)
		}
	}
	for _, p := range not {
		times, err := p.times(loc)
		if err != nil {
			return event{}, err
		}
		e.not = append(e.not, times...)
	}
	return e, nil
}

// icsDuration reads P1D, PT2H30M, P1W and the like.
func icsDuration(text string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "+"), "P")
	var d time.Duration
	n, digits, inTime := 0, false, false
	for _, c := range rest {
		unit := time.Duration(0)
		switch {
		case c >= '0' && c <= '9' && n < 1e6:
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
