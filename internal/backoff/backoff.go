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

	wait time.Duration // the last pause, 0 after a success
}

// Pause waits, and reports whether ctx still lives.
func (b *Backoff) Pause(ctx context.Context) bool {
	b.wait = min(max(2*b.wait, b.Least), b.Most)
	return Sleep(ctx, Jittered(b.wait))
}

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
