package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

// restartEtcd kills an etcd server, the leader as often as not, and starts it
// again on its data.
func restartEtcd(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	i := rnd.IntN(len(c.etcds))
	if rnd.IntN(2) == 0 {
		if leader, ok := c.leader(ctx); ok {
			i = leader
		}
	}
	p := c.etcds[i]
	away := between(rnd, awayMin, awayMax)
	c.event("kill %s, back in %v", p.name, away)
	if _, err := p.stop(syscall.SIGKILL); err != nil {
		return err
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	return c.etcdAnswers(ctx)
}

// leader returns which etcd server leads.
func (c *cluster) leader(ctx context.Context) (int, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for i, endpoint := range c.endpoints {
		st, err := c.client.Status(ctx, endpoint)
		if err == nil && st.Leader == st.Header.MemberId {
			return i, true
		}
	}
	return 0, false
}

// etcdAnswers waits until etcd answers.
func (c *cluster) etcdAnswers(ctx context.Context) error {
	return until(ctx, func() error {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.client.Get(short, "ready")
		return err
	})
}

// How slow etcd becomes, and for how long.
const (
	slowMin, slowMax   = 50 * time.Millisecond, 400 * time.Millisecond
	stallMin, stallMax = 500 * time.Millisecond, 2500 * time.Millisecond
	slowFor, slowForTo = 2 * time.Second, 5 * time.Second
)

// slowEtcd holds back what the schedulers and etcd say to one another: each
// piece for a while, or all for longer.
func slowEtcd(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	delay, stall := between(rnd, slowMin, slowMax), time.Duration(0)
	if rnd.IntN(3) == 0 {
		stall = between(rnd, stallMin, stallMax)
		c.event("etcd stands still for %v", stall)
		for _, p := range c.proxies {
			p.Blackhole()
		}
	} else {
		c.event("etcd is slower by %v", 2*delay)
		for _, p := range c.proxies {
			p.Delay(delay)
		}
		stall = between(rnd, slowFor, slowForTo)
	}
	err := sleep(ctx, stall)
	for _, p := range c.proxies {
		p.Heal()
	}
	return err
}
