package main

import (
	"context"
	"math/rand/v2"
	"syscall"
)

// killWorker ends a random worker with SIGKILL and starts it again. Its
// commands go on meanwhile.
func killWorker(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.workers[rnd.IntN(len(c.workers))]
	away := between(rnd, awayMin, awayMax)
	c.event("kill %s, back in %v", p.name, away)
	if _, err := p.stop(syscall.SIGKILL); err != nil {
		return err
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return p.start()
}
