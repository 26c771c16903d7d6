package limit

import (
	"math"
	"sync"
	"time"
)

// Rate is how often a caller may do something: Burst times at once, and PerSecond times
// in each second over time. A PerSecond of zero is no bound.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Rates count what callers do. The zero value is ready. It may be used by many
// goroutines at once.
type Rates struct {
	mu sync.Mutex
	// mu guards all below.
	by    map[string]bucket
	swept time.Time
}

// bucket is how often a caller may at a time, and with what rate it fills.
type bucket struct {
	left float64
	at   time.Time
	rate Rate
}

// rounding is by how little a bucket may lack: what fills it is rounded.
const rounding = 1e-6

// fill returns what there is of a bucket at a time.
func (b *bucket) fill(now time.Time) float64 {
	return min(float64(b.rate.Burst), b.left+max(now.Sub(b.at).Seconds(), 0)*b.rate.PerSecond)
}

// Take counts that a caller does something, unless it has done so too often: then it
// returns after how long it may. Zero: now. The clock is to be a monotonic one.
func (l *Rates) Take(who string, r Rate, now time.Time) time.Duration {
	if r.PerSecond <= 0 {
		return 0
	}
	r.Burst = max(r.Burst, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.by[who]
	if !ok && len(l.by) >= most {
		l.sweep(now)
		if len(l.by) >= most {
			who = "" // all for whom there is no room
			b, ok = l.by[who]
		}
	}
	if !ok {
		b = bucket{left: float64(r.Burst), at: now}
	}
	b.rate = r
	b.left, b.at = b.fill(now), now
	wait := time.Duration(0)
	if b.left >= 1-rounding {
		b.left = max(b.left-1, 0)
	} else {
		wait = max(time.Duration(math.Ceil((1-b.left)/r.PerSecond*float64(time.Second))), 1)
	}
	if l.by == nil {
		l.by = map[string]bucket{}
	}
	l.by[who] = b
	return wait
}

// sweep forgets those who may do all that they may at once.
func (l *Rates) sweep(now time.Time) {
	if age := now.Sub(l.swept); age >= 0 && age < time.Second {
		return
	}
	l.swept = now
	for who, b := range l.by {
		if b.fill(now) >= float64(b.rate.Burst) {
			delete(l.by, who)
		}
	}
}
