package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// How long a paused scheduler stands still: past its lease mostly, and shorter
// now and then.
const (
	stillMin, stillMax = leaseTTL + time.Second, leaseTTL + 3*time.Second
	blinkMin, blinkMax = 200 * time.Millisecond, 1500 * time.Millisecond
)

// pauseScheduler stops a random scheduler with SIGSTOP and lets it go on. It
// must not start anything under a token that is not the newest.
func pauseScheduler(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	still := between(rnd, stillMin, stillMax)
	long := rnd.IntN(4) > 0
	if !long {
		still = between(rnd, blinkMin, blinkMax)
	}
	c.event("pause %s for %v", p.name, still)
	if long {
		c.takeovers.lose(p.name, causePause)
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := sleep(ctx, still)
	if cont := p.signal(syscall.SIGCONT); cont != nil {
		return fmt.Errorf("go on: %w", cont)
	}
	c.takeovers.forgive(p.name)
	return err
}
