package schedule

import (
	"runtime"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/carillon-cron/carillon/job"
)

// Cache shares compiled schedules: a million jobs with two thousand different
// expressions cost two thousand schedules. It forgets a schedule that nobody
// uses any more. It is safe for concurrent use.
type Cache struct {
	mu        sync.RWMutex // guards the maps
	schedules map[cacheKey]weak.Pointer[Schedule]
	zones     map[string]*time.Location
}

type cacheKey struct {
	expr string
	opts Options
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{schedules: map[cacheKey]weak.Pointer[Schedule]{}, zones: map[string]*time.Location{}}
}

// Parse is as the function Parse.
func (c *Cache) Parse(expr string, opts Options) (*Schedule, error) {
	if !mayHash(expr) {
		opts.Seed = ""
	}
	key := cacheKey{expr, opts}
	c.mu.RLock()
	s := c.schedules[key].Value()
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s, err := parse(expr, opts, c.zone, nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.schedules[key].Value(); other != nil {
		return other, nil // somebody was faster
	}
	// Copies: the caller's strings may be parts of something large.
	key = cacheKey{strings.Clone(expr), Options{
		Zone: strings.Clone(opts.Zone), Seed: strings.Clone(opts.Seed), Dialect: job.Dialect(strings.Clone(string(opts.Dialect))),
		DST:    job.DST{Gap: job.Gap(strings.Clone(string(opts.Gap))), Fold: job.Fold(strings.Clone(string(opts.Fold)))},
		Strict: opts.Strict,
	}}
	c.schedules[key] = weak.Make(s)
	runtime.AddCleanup(s, c.forget, key)
	return s, nil
}

// mayHash reports whether an expression may depend on the seed.
func mayHash(expr string) bool {
	for i := range len(expr) {
		// An H begins an entry of a field. THU has none, nor has @hourly.
		if (expr[i] == 'H' || expr[i] == 'h') && (i == 0 || expr[i-1] == ' ' || expr[i-1] == '\t' || expr[i-1] == ',') {
			return true
		}
	}
	return false
}

// forget drops the entry of a schedule that is gone, unless there is a new one.
func (c *Cache) forget(key cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.schedules[key].Value() == nil {
		delete(c.schedules, key)
	}
}

// zone is as LoadZone, which reads a file each time.
func (c *Cache) zone(name string) (*time.Location, error) {
	c.mu.RLock()
	loc, ok := c.zones[name]
	c.mu.RUnlock()
	if ok {
		return loc, nil
	}
	loc, err := LoadZone(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.zones[name]; ok {
		return other, nil
	}
	c.zones[strings.Clone(name)] = loc
	return loc, nil
}

// ParseSet is as the function ParseSet.
func (c *Cache) ParseSet(exprs []string, opts Options) (Set, error) {
	return parseSet(exprs, func(expr string) (*Schedule, error) { return c.Parse(expr, opts) })
}

// Len returns how many schedules the cache holds.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.schedules)
}
