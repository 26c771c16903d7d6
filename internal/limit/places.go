package limit

import "sync"

// Places count what callers have open at a time. The zero value is ready. It may be used
// by many goroutines at once.
type Places struct {
	mu sync.Mutex
	// mu guards all below.
	by map[string]int
}

// Take takes a place of a caller's, if it has less than limit; zero: there is no bound.
// The place is given back by calling what is returned, once.
func (p *Places) Take(who string, limit int) (giveBack func(), ok bool) {
	if limit <= 0 {
		return func() {}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[who] == 0 && len(p.by) >= most {
		who = "" // all for whom there is no room
	}
	if p.by[who] >= limit {
		return nil, false
	}
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.by[who]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.by[who]--; p.by[who] <= 0 {
			delete(p.by, who)
		}
	}), true
}
