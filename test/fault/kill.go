package main

import (
	"context"
	"math/rand/v2"
	"syscall"
)

// killScheduler ends a random scheduler with SIGKILL and starts it again.
func killScheduler(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	away := between(rnd, awayMin, awayMax)
	c.event("kill %s, back in %v", p.name, away)
	c.takeovers.lose(p.name, causeKill)
	if _, err := p.stop(syscall.SIGKILL); err != nil {
		return err
	}
	c.takeovers.struck(p.name)
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return p.start()
}
