// Package backoff waits between tries: longer each time, and not for exactly as
// long as others do that began to wait at the same moment.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a pause that doubles from Least to Most. Both must be set. It is for
// one goroutine at a time.
type Backoff struct {
	Least, Most time.Duration
	// Full: a pause is of any length up to its longest, which spreads very many that
	// begin to wait at the same moment.
	Full bool

	wait time.Duration // the last pause, 0 after a success
}

// Pause waits, and reports whether ctx still lives.
func (b *Backoff) Pause(ctx context.Context) bool { return Sleep(ctx, b.Next()) }

// Next returns how long to wait now.
func (b *Backoff) Next() time.Duration {
	b.wait = min(max(2*b.wait, b.Least), b.Most)
	if b.Full {
		return rand.N(b.wait)
	}
	return Jittered(b.wait)
}

// After returns the longest pause after so many failures besides the first, for who
// counts them.
func (b *Backoff) After(failures int) time.Duration { return min(b.Least<<min(failures, 20), b.Most) }

// Reset has the next pause be the least one again.
func (b *Backoff) Reset() { b.wait = 0 }

// Jittered returns three quarters of d to the whole of it, so that hosts that
// were started together drift apart.
func Jittered(d time.Duration) time.Duration {
	return d - rand.N(d/4+1)
}

// Sleep reports whether ctx still lives after d.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
