package limit

import (
	"sync"
	"time"
)

// Attempts count wrong credentials, or what else may not be tried for ever. Set the
// fields before use. It may be used by many goroutines at once.
//
// Who has Most wrong ones within Span is kept out for Span; who goes on as soon as it is
// let in again, for twice as long each time, up to MaxWait. Who shows none for MaxWait
// begins anew.
type Attempts struct {
	Most    int
	Span    time.Duration
	MaxWait time.Duration

	mu sync.Mutex
	// mu guards all below.
	by    map[string]attempts
	swept time.Time
}

// attempts are somebody's wrong ones.
type attempts struct {
	n int
	// since is when the first of n was.
	since time.Time
	// until is when it is let in again, and kept how often it was kept out before.
	until time.Time
	kept  int
}

// Wait returns for how long somebody is kept out still. Zero: it is not.
func (a *Attempts) Wait(who string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.by[who]
	if !ok && len(a.by) >= most {
		w = a.by[""]
	}
	// A clock that was set back keeps nobody out for long.
	return min(max(w.until.Sub(now), 0), a.MaxWait)
}

// Failed counts a wrong one.
func (a *Attempts) Failed(who string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.by[who]; !ok && len(a.by) >= most {
		a.sweep(now)
		if len(a.by) >= most {
			who = "" // all for whom there is no room
		}
	}
	w := a.by[who]
	if a.over(&w, now) {
		w.kept = 0
	}
	if age := now.Sub(w.since); age < 0 || age >= a.Span {
		w.n, w.since = 0, now
	}
	if w.n++; w.n >= a.Most {
		wait := a.Span
		for range w.kept {
			if wait = min(2*wait, a.MaxWait); wait == a.MaxWait {
				break
			}
		}
		w = attempts{until: now.Add(wait), kept: w.kept + 1}
	}
	if a.by == nil {
		a.by = map[string]attempts{}
	}
	a.by[who] = w
}

// over reports whether somebody has shown nothing wrong for so long that it begins anew.
func (a *Attempts) over(w *attempts, now time.Time) bool {
	return now.Sub(w.until) >= a.MaxWait && now.Sub(w.since) >= a.Span
}

// sweep forgets those who would begin anew.
func (a *Attempts) sweep(now time.Time) {
	if age := now.Sub(a.swept); age >= 0 && age < time.Second {
		return
	}
	a.swept = now
	for who, w := range a.by {
		if a.over(&w, now) {
			delete(a.by, who)
		}
	}
}
