package agentpush_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// TestRebalance: a node that has come back to none gets its share from the
// others, and one that an operator drains gives all of its minions away.
func TestRebalance(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, func(cfg *agentpush.Config) { cfg.RebalanceAfter = 50 * time.Millisecond })
	a, b := c.nodes[0], c.nodes[1]
	for i := range 60 {
		c.minion(agenttest.Config{ID: job.MinionID(fmt.Sprintf("m%d", i))}, a, b)
	}
	c.mu.Lock()
	c.drained[b.id] = true
	c.mu.Unlock()
	at := func(n *node) int { return n.hub.Status().Connected }
	c.eventually("the drained node has none", func() bool { return at(a) == 60 && at(b) == 0 })
	c.mu.Lock()
	delete(c.drained, b.id)
	c.mu.Unlock()
	c.eventually("both have their share", func() bool { return at(a)+at(b) == 60 && at(a) <= 38 && at(b) <= 38 })
	// And nothing is lost by it.
	var os []job.Order
	for i := range 60 {
		os = append(os, orders(job.MinionID(fmt.Sprintf("m%d", i)), 1, long)...)
	}
	a.hub.Send(os)
	a.await(60, "succeeded", inState(job.StateSucceeded))
}
