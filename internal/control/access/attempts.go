package access

import (
	"sync"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
)

const (
	// mostWrong is how many wrong credentials one address may show within wrongSpan
	// before no more are looked at.
	mostWrong = 10
	wrongSpan = time.Minute
	// mostEnded is mostWrong for sessions of the page: those that have ended by
	// themselves are shown by all pages that were left open behind an address.
	mostEnded = 200
	// mostAddresses bounds what is remembered.
	mostAddresses = 4096
)

// attempts count wrong credentials by address. The zero value is ready.
type attempts struct {
	// most is how many one address may show. Zero: mostWrong.
	most int

	mu sync.Mutex
	// mu guards all below.
	by map[string]wrong
}

// wrong are an address's wrong credentials since a time.
type wrong struct {
	since time.Time
	n     int
}

// check returns an error while an address has shown too many.
func (a *attempts) check(addr string, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.by[addr]
	most := a.most
	if most == 0 {
		most = mostWrong
	}
	if left := wrongSpan - now.Sub(w.since); w.n >= most && left > 0 {
		return &caller.BusyError{RetryAfter: left.Round(time.Second) + time.Second}
	}
	return nil
}

// failed counts a wrong one.
func (a *attempts) failed(addr string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.by[addr]; !ok && len(a.by) >= mostAddresses {
		for other, w := range a.by {
			if now.Sub(w.since) >= wrongSpan {
				delete(a.by, other)
			}
		}
		if len(a.by) >= mostAddresses {
			clear(a.by) // so many addresses at once are no single guesser's
		}
	}
	if a.by == nil {
		a.by = map[string]wrong{}
	}
	w := a.by[addr]
	if now.Sub(w.since) >= wrongSpan {
		w = wrong{since: now}
	}
	w.n++
	a.by[addr] = w
}
