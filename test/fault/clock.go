package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// By how much a scheduler's clock is made wrong: by less than what it goes on with,
// or by hours. clockErr is how early a run may be for that: what the comparison of
// clocks leaves open on a busy machine.
const (
	clockLittle = 4 * time.Second
	clockMost   = 8 * time.Hour
	clockErr    = 250 * time.Millisecond
)

// clockFile is the file from which a scheduler reads by how much its clock is
// wrong.
func (c *cluster) clockFile(node string) string { return filepath.Join(c.dir, node+".clock") }

// setClock makes a scheduler's clock wrong.
func (c *cluster) setClock(node string, by time.Duration) error {
	path := c.clockFile(node)
	if err := os.WriteFile(path+".new", []byte(by.String()), 0o600); err != nil {
		return fmt.Errorf("clock of %s: %w", node, err)
	}
	return os.Rename(path+".new", path)
}

// stepClock steps the clock of a random scheduler, forward or back, lets it be
// wrong for a while, and steps it back.
func stepClock(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	most := []time.Duration{clockLittle, clockMost}[rnd.IntN(2)]
	by := between(rnd, -most, most)
	long := between(rnd, slowFor, slowForTo)
	c.event("the clock of %s is wrong by %v for %v", p.name, by, long)
	if err := c.setClock(p.name, by); err != nil {
		return err
	}
	err := sleep(ctx, long)
	return errors.Join(err, c.setClock(p.name, 0))
}
