package schedule

import (
	"errors"
	"fmt"
	"strings"
	"sync"
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

// Next returns the first instant strictly after t, in UTC; false when there is
// none.
func (s Set) Next(t time.Time) (time.Time, bool) {
	var best time.Time
	found := false
	for _, one := range s {
		if n, ok := one.Next(t); ok && (!found || n.Before(best)) {
			best, found = n, true
		}
	}
	return best, found
}

// Between returns the instants after from, up to and with to, at most limit.
func (s Set) Between(from, to time.Time, limit int) []time.Time {
	var out []time.Time
	for t, ok := s.Next(from); ok && !t.After(to) && len(out) < limit; t, ok = s.Next(t) {
		out = append(out, t)
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

// Cache shares compiled schedules: a million jobs with two thousand different
// expressions cost two thousand schedules. It is safe for concurrent use. What
// it has compiled it keeps.
type Cache struct {
	mu sync.Mutex // guards one and sets

	one  map[cacheKey]*Schedule
	sets map[cacheKey]Set
}

type cacheKey struct{ expr, zone, seed string }

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{one: map[cacheKey]*Schedule{}, sets: map[cacheKey]Set{}}
}

// ParseSet is as the function ParseSet.
func (c *Cache) ParseSet(exprs []string, opts Options) (Set, error) {
	key := cacheKey{expr: strings.Join(exprs, "\x00"), zone: opts.Zone, seed: opts.Seed}
	c.mu.Lock()
	defer c.mu.Unlock()
	if set, ok := c.sets[key]; ok {
		return set, nil
	}
	set, err := parseSet(exprs, func(expr string) (*Schedule, error) {
		one := cacheKey{expr: expr, zone: opts.Zone, seed: opts.Seed}
		if s, ok := c.one[one]; ok {
			return s, nil
		}
		s, err := Parse(expr, opts)
		if err == nil {
			c.one[one] = s
		}
		return s, err
	})
	if err == nil {
		c.sets[key] = set
	}
	return set, err
}
