package plans

import (
	"fmt"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
)

const (
	// maxSending is how many plans are read at once, and maxSendingOf how many of them are
	// of one namespace: else its senders could keep those of all others out.
	maxSending   = 8
	maxSendingOf = 4
)

// places are what plans have that are being read. The zero value has all of them free.
type places struct {
	mu    sync.Mutex
	taken int
	of    map[string]int
}

// take takes a place for a plan of a namespace, and returns what gives it back.
func (p *places) take(ns string) (free func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken >= maxSending:
		return nil, &caller.BusyError{RetryAfter: time.Second, Why: fmt.Sprintf("this node is reading %d plans already", maxSending)}
	case p.of[ns] >= maxSendingOf:
		return nil, &caller.BusyError{RetryAfter: time.Second, Why: fmt.Sprintf("this node is reading %d plans of namespace %s already", maxSendingOf, ns)}
	}
	if p.of == nil {
		p.of = map[string]int{}
	}
	p.taken++
	p.of[ns]++
	return func() { p.free(ns) }, nil
}

func (p *places) free(ns string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[ns]--; p.of[ns] == 0 {
		delete(p.of, ns)
	}
}
