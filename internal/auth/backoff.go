package auth

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles from least to most.
type backoff struct {
	least, most time.Duration
	wait        time.Duration // 0 after a success
}

// pause waits, and reports whether ctx still lives.
func (b *backoff) pause(ctx context.Context) bool {
	b.wait = min(max(2*b.wait, b.least), b.most)
	return sleep(ctx, jittered(b.wait))
}

func (b *backoff) reset() { b.wait = 0 }

// jittered returns three quarters of d to the whole of it, so that hosts that
// were started together drift apart.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/4+1) //nolint:gosec // not a secret
}

// sleep reports whether ctx still lives after d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
