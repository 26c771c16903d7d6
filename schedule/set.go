package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Set is the schedules of one job; it is due when any of them is. The zero Set
// is never due.
type Set []*Schedule

// ParseSet compiles expressions. The error joins all problems, each with the
// index of its expression.
func ParseSet(exprs []string, opts Options) (Set, error) {
	return parseSet(exprs, func(expr string) (*Schedule, error) { return Parse(expr, opts) })
}

func parseSet(exprs []string, parse func(string) (*Schedule, error)) (Set, error) {
	set := make(Set, 0, len(exprs))
	var errs []error
	for i, expr := range exprs {
		s, err := parse(expr)
		if err != nil {
			errs = append(errs, fmt.Errorf("schedules[%d]: %w", i, err))
			continue
		}
		set = append(set, s)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return set, nil
}

// Next returns the first instant strictly after the given one, in UTC; false
// when there is none.
func (s Set) Next(after time.Time) (time.Time, bool) {
	var best time.Time
	found := false
	for _, one := range s {
		if n, ok := one.Next(after); ok && (!found || n.Before(best)) {
			best, found = n, true
		}
	}
	return best, found
}

// Nth returns the n-th instant strictly after the given one, in UTC; false when there
// are not so many. It takes as long as n times Next.
func (s Set) Nth(n int, after time.Time) (time.Time, bool) {
	for range n {
		next, ok := s.Next(after)
		if !ok {
			return time.Time{}, false
		}
		after = next
	}
	return after, true
}

// Between returns the instants after from, up to and with to, at most limit.
// An instant of several schedules is in it once.
func (s Set) Between(from, to time.Time, limit int) []time.Time {
	var out []time.Time
	for len(out) < limit {
		t, ok := s.Next(from)
		if !ok || t.After(to) {
			break
		}
		out = append(out, t)
		from = t
	}
	return out
}

// Words returns each schedule in English.
func (s Set) Words() []string {
	out := make([]string, len(s))
	for i, one := range s {
		out[i] = one.Words()
	}
	return out
}
