package agentpush

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace measures how many messages minions take.
type pace struct {
	total atomic.Uint64

	mu sync.Mutex
	// mu guards what follows: the counts at the last few ticks of a second.
	at    time.Time
	marks [paceSeconds + 1]uint64
	n     int
}

const paceSeconds = 10

// tick notes the count, once a second.
func (p *pace) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.at) < time.Second {
		return
	}
	p.at = now
	copy(p.marks[1:], p.marks[:])
	p.marks[0] = p.total.Load()
	p.n = min(p.n+1, len(p.marks))
}

func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n < 2 {
		return 0
	}
	return float64(p.marks[0]-p.marks[p.n-1]) / float64(p.n-1)
}
