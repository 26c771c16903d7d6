package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
	if rnd.IntN(4) > 0 {
		return standStill(ctx, c, rnd)
	}
	return c.stand(ctx, c.running()[rnd.IntN(len(c.running()))], between(rnd, blinkMin, blinkMax), false)
}

// standStill stops a scheduler for longer than its lease: of those that run the one
// that has most hash shards. One that came back a moment ago has none to lose.
func standStill(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	owns := map[string]int{}
	for _, node := range c.takeovers.placed() {
		owns[string(node)]++
	}
	p := slices.MaxFunc(c.running(), func(a, b *process) int { return cmp.Compare(owns[a.name], owns[b.name]) })
	return c.stand(ctx, p, between(rnd, stillMin, stillMax), true)
}

// stand stops a scheduler for a while; long: it loses its lease.
func (c *cluster) stand(ctx context.Context, p *process, still time.Duration, long bool) error {
	c.event("pause %s for %v", p.name, still)
	if long {
		c.takeovers.lose(p.name, causePause)
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	c.takeovers.struck(p.name)
	err := sleep(ctx, still)
	if cont := p.signal(syscall.SIGCONT); cont != nil {
		return fmt.Errorf("go on: %w", cont)
	}
	c.takeovers.forgive(p.name)
	return err
}
