package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // all nodes must agree on zones, whatever their host has

	"github.com/robfig/cron/v3"
)

// Options say how an expression is read.
type Options struct {
	// Zone is an IANA zone name. Empty: UTC.
	Zone string
	// Seed will spread hashed fields; nothing reads it yet.
	Seed string
}

// MinEvery is the shortest interval of @every.
const MinEvery = 100 * time.Millisecond

// Schedule is a compiled expression. It is immutable.
type Schedule struct {
	expr string
	loc  *time.Location
	// Exactly one of the following is set.
	spec  *cron.SpecSchedule
	every time.Duration
	at    time.Time

	// everyHour: the expression goes by elapsed time (S1).
	everyHour bool
}

// Parse compiles an expression. The error says what is wrong and what is
// allowed.
func Parse(expr string, opts Options) (*Schedule, error) {
	text := strings.TrimSpace(expr)
	zone := opts.Zone
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			name, after, _ := strings.Cut(rest, " ")
			if name == "" {
				return nil, fmt.Errorf("%q: %s needs a zone name, as in %sEurope/Berlin", expr, prefix, prefix)
			}
			zone, text = name, strings.TrimSpace(after)
			break
		}
	}
	loc, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	s := &Schedule{expr: strings.TrimSpace(expr), loc: loc}
	switch {
	case text == "":
		return nil, fmt.Errorf("%q is empty; give five or six fields, @hourly, @every 5m or @at 2027-01-01T00:00:00Z", expr)
	case strings.HasPrefix(text, "@every"):
		return s, s.parseEvery(strings.TrimSpace(strings.TrimPrefix(text, "@every")))
	case strings.HasPrefix(text, "@at"):
		return s, s.parseAt(strings.TrimSpace(strings.TrimPrefix(text, "@at")))
	}
	if err := s.parseFields(text); err != nil {
		return nil, err
	}
	if _, ok := s.Next(reference); !ok {
		return nil, fmt.Errorf("%q never comes due: there is no such date", expr)
	}
	return s, nil
}

// reference is the instant from which an expression has to come due at least
// once within searchYears.
var reference = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if name == "Local" {
		return nil, errors.New("time zone \"Local\" differs between nodes; give an IANA name such as \"Europe/Berlin\"")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is not known; give an IANA name such as \"Europe/Berlin\" or \"UTC\"", name)
	}
	return loc, nil
}

func (s *Schedule) parseEvery(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("@every %q: want a duration such as 90s, 5m or 1h30m", text)
	}
	if d < MinEvery {
		return fmt.Errorf("@every %s is too short; the shortest interval is %v", text, MinEvery)
	}
	s.every = d
	return nil
}

func (s *Schedule) parseAt(text string) error {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("@at %q: want an instant with its offset, such as 2027-01-01T09:00:00Z", text)
	}
	s.at = t.UTC()
	return nil
}

// fieldNames are the fields of a six-field expression.
var fieldNames = [...]string{"second", "minute", "hour", "day of month", "month", "day of week"} //nolint:gochecknoglobals // a constant

var (
	//nolint:gochecknoglobals // constants
	allFields = cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	//nolint:gochecknoglobals // constants
	fieldRanges = [...]string{"0-59", "0-59", "0-23", "1-31", "1-12 or JAN-DEC", "0-6 or SUN-SAT"}
)

func (s *Schedule) parseFields(text string) error {
	if !strings.HasPrefix(text, "@") {
		fields := strings.Fields(text)
		switch len(fields) {
		case 5:
			fields = append([]string{"0"}, fields...)
		case 6:
		default:
			return fmt.Errorf("%q has %d fields; five (minute hour day month weekday) or six (second first) are expected", text, len(fields))
		}
		if err := checkFields(fields); err != nil {
			return err
		}
		text = strings.Join(fields, " ")
	}
	parsed, err := cron.NewParser(allFields).Parse(text)
	if err != nil {
		return fmt.Errorf("%q is not a schedule: %w; @yearly, @monthly, @weekly, @daily, @hourly, @every and @at are known", s.expr, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return fmt.Errorf("%q is not a schedule of fields", s.expr)
	}
	s.spec = spec
	const hours = 1<<24 - 1
	s.everyHour = spec.Hour&hours == hours
	return nil
}

// checkFields parses each field by itself, so that the error names it.
func checkFields(fields []string) error {
	var errs []error
	for i, f := range fields {
		probe := []string{"*", "*", "*", "*", "*", "*"}
		probe[i] = f
		if i == 5 && f == "7" {
			errs = append(errs, errors.New("day of week \"7\": 0-6 or SUN-SAT are allowed; Sunday is 0"))
			continue
		}
		if _, err := cron.NewParser(allFields).Parse(strings.Join(probe, " ")); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w; %s are allowed, with lists (1,2), ranges (1-5) and steps (*/5)",
				fieldNames[i], f, err, fieldRanges[i]))
		}
	}
	return errors.Join(errs...)
}

// String returns the expression as it was given.
func (s *Schedule) String() string { return s.expr }

// Location returns the zone in which the expression is read.
func (s *Schedule) Location() *time.Location { return s.loc }
