package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Options say how an expression is read.
type Options struct {
	// Zone is an IANA zone name. Empty: UTC.
	Zone string
	// Seed is what H is made of; by convention the key of the job.
	Seed string
	// Dialect says how fields are read. Empty: job.DialectCarillon.
	Dialect job.Dialect
	// DST says what happens when clocks jump. Empty: as the dialect does.
	job.DST
	// Strict refuses what does less than it says, which schedules that are stored
	// already may have: a step larger than its field, a zone before @every or @at,
	// a zone that is none (see CheckZone).
	Strict bool
}

// OptionsOf returns how the schedules of a job are read.
func OptionsOf(key job.Key, spec *job.Spec) Options {
	o := Options{Zone: spec.TimeZone, Dialect: spec.Dialect, DST: spec.DST}
	if slices.ContainsFunc(spec.Schedules, mayHash) {
		o.Seed = key.String() // what most jobs need not make
	}
	return o
}

// Limits of expressions.
const (
	// MinEvery and MaxEvery bound the interval of @every.
	MinEvery = 100 * time.Millisecond
	MaxEvery = 366 * 24 * time.Hour
	// MaxLen bounds the characters of an expression.
	MaxLen = 1024
)

// kind says what a schedule is made of.
type kind uint8

const (
	kindFields kind = iota
	kindEvery
	kindAt
)

// Schedule is a compiled expression. It is immutable, and safe for concurrent
// use.
type Schedule struct {
	expr string
	loc  *time.Location
	// nanos is the interval of @every, or the instant of @at since 1970.
	nanos  int64
	fields fields
	kind   kind
	// jumps says what happens when clocks do.
	jumps jumps
	// hashed: the seed matters.
	hashed bool
	// ownZone: the expression begins with its zone; named: what follows is @daily
	// or the like.
	ownZone, named bool
}

// Parse compiles an expression. The error tells the field and the token that
// are wrong, and what is allowed; it tells all fields that are.
func Parse(expr string, opts Options) (*Schedule, error) { return parse(expr, opts, LoadZone, nil) }

// parse is Parse with its own way to load zones. Warn is called with what the
// dialect takes, though it does less than it says; it may be nil.
func parse(expr string, opts Options, zoneOf func(string) (*time.Location, error), warn func(string)) (*Schedule, error) {
	if len(expr) > MaxLen {
		return nil, fmt.Errorf("the expression has %d characters; at most %d are allowed", len(expr), MaxLen)
	}
	g, err := opts.settle()
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(expr)
	zone, rest, err := cutZone(text, opts.Zone)
	if err == nil && opts.Strict {
		err = CheckZone(zone)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %v", expr, err) //nolint:errorlint // errors of Parse wrap nothing
	}
	loc, err := zoneOf(zone)
	if err != nil {
		return nil, fmt.Errorf("%q: %v", expr, err) //nolint:errorlint // as above
	}
	s := &Schedule{expr: strings.Clone(text), loc: loc, ownZone: rest != text, named: strings.HasPrefix(rest, "@")}
	err = s.compile(rest, g, opts, warn)
	if err == nil && opts.Strict && s.ownZone && s.kind != kindFields {
		err = errors.New(s.idleZone(zone))
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %v", expr, err) //nolint:errorlint // as above
	}
	return s, nil
}

// cutZone takes CRON_TZ=ZONE or TZ=ZONE off an expression.
func cutZone(text, otherwise string) (zone, rest string, err error) {
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		after, ok := strings.CutPrefix(text, prefix)
		if !ok {
			continue
		}
		words := strings.Fields(after)
		if len(words) == 0 || !strings.HasPrefix(after, words[0]) {
			return "", "", fmt.Errorf("%s needs the name of a zone, as in %sEurope/Berlin 0 9 * * *", prefix, prefix)
		}
		return words[0], strings.TrimSpace(after[len(words[0]):]), nil
	}
	return otherwise, text, nil
}

func (s *Schedule) compile(text string, g *grammar, opts Options, warn func(string)) error {
	if text == "" {
		return fmt.Errorf("the expression is empty; give %s", g.examples())
	}
	if !strings.HasPrefix(text, "@") {
		return s.compileFields(strings.Fields(text), g, opts, warn)
	}
	name := strings.Fields(text)[0]
	arg := strings.TrimSpace(text[len(name):])
	switch name {
	case "@every":
		return s.compileEvery(arg)
	case "@at":
		return s.compileAt(arg)
	}
	all := []string{"@every", "@at"}
	for _, n := range named {
		if n.name == name && arg == "" {
			return s.compileFields(strings.Fields(n.fields), grammars[job.DialectCarillon], opts, nil)
		}
		if n.name == name {
			return fmt.Errorf("%s takes nothing behind it, but has %q; the program goes under command or script", name, arg)
		}
		all = append(all, n.name)
	}
	hint := ""
	if near, ok := job.Nearest(name, all); ok {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("%q is unknown%s (allowed: %s)", name, hint, strings.Join(all, ", "))
}

// named are the expressions with a name.
var named = []struct{ name, fields string }{
	{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
}

func (s *Schedule) compileEvery(arg string) error {
	d, err := time.ParseDuration(arg)
	switch {
	case err != nil && !tooLong.MatchString(arg):
		return fmt.Errorf("@every %q: write a number with a unit (ms, s, m, h), as in 90s or 1h30m; a day is 24h", arg)
	case err != nil || d < MinEvery || d > MaxEvery:
		return fmt.Errorf("@every %q: out of range; %v to %dh (%d days) are allowed", arg, MinEvery, MaxEvery/time.Hour, MaxEvery/(24*time.Hour))
	case d%time.Millisecond != 0:
		return fmt.Errorf("@every %q: write a whole number of milliseconds", arg)
	}
	s.kind, s.nanos = kindEvery, int64(d)
	return nil
}

func (s *Schedule) compileAt(arg string) error {
	at, err := time.Parse(time.RFC3339Nano, arg)
	if err != nil {
		return fmt.Errorf("@at %q: %s", arg, whyNoInstant(arg))
	}
	if at.Unix() < firstInstant || at.Unix() > lastInstant {
		return fmt.Errorf("@at %q: out of range; the years 1700 to 2261 are allowed", arg)
	}
	s.kind, s.nanos = kindAt, at.UnixNano()
	return nil
}

// String returns the expression as it was given, without blanks around it.
func (s *Schedule) String() string { return s.expr }

// Location returns the zone in which the expression is read.
func (s *Schedule) Location() *time.Location { return s.loc }
