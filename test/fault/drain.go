package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
)

// drainScheduler asks a random scheduler to leave, which it must do with exit
// code 0, and starts it again.
func drainScheduler(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	away := between(rnd, awayMin, awayMax)
	c.event("drain %s, back in %v", p.name, away)
	c.takeovers.lose(p.name, causeHandover)
	code, err := p.stop(syscall.SIGTERM)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s left with exit code %d, want 0; see %s", p.name, code, p.log)
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return p.start()
}
