package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/placement"
)

// sizes is how many schedulers there are, one after another.
func sizes() []int { return []int{3, 5, 2} }

// scaleSchedulers starts or stops schedulers, in good order, until there are as
// many as the next size says, one after another.
func scaleSchedulers(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	c.size = (c.size + 1) % len(sizes())
	want := sizes()[c.size]
	for len(c.running()) != want {
		before := names(c.running())
		if len(before) < want {
			if err := c.startOne(); err != nil {
				return err
			}
		} else if err := c.stopOne(rnd); err != nil {
			return err
		}
		after := names(c.running())
		c.leastMoves += moved(before, after)
		c.event("%d schedulers, was %d", len(after), len(before))
		if err := c.balanced(ctx, after); err != nil {
			return err
		}
	}
	return nil
}

func names(running []*process) []placement.Candidate {
	var out []placement.Candidate
	for _, p := range running {
		out = append(out, placement.Candidate{Node: job.NodeID(p.name), Capacity: 1})
	}
	return out
}

// moved counts the shards that must change their owner.
func moved(before, after []placement.Candidate) int {
	a, b := placement.Place(shardCount, before), placement.Place(shardCount, after)
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func (c *cluster) startOne() error {
	for _, p := range c.schedulers {
		if !p.runs() {
			return p.start()
		}
	}
	return fmt.Errorf("all %d schedulers run", len(c.schedulers))
}

func (c *cluster) stopOne(rnd *rand.Rand) error {
	p := c.running()[rnd.IntN(len(c.running()))]
	c.takeovers.lose(p.name, causeHandover)
	code, err := p.stop(syscall.SIGTERM)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s left with exit code %d, want 0; see %s", p.name, code, p.log)
	}
	return err
}

// balanced waits until the shards lie where the schedulers place them.
func (c *cluster) balanced(ctx context.Context, nodes []placement.Candidate) error {
	want := placement.Place(shardCount, nodes)
	return until(ctx, func() error {
		is := c.takeovers.placed()
		wrong := 0
		for i, n := range want {
			if is[job.ShardID(i)] != n {
				wrong++
			}
		}
		if wrong > 0 {
			return fmt.Errorf("%d shards lie elsewhere", wrong)
		}
		return nil
	})
}
