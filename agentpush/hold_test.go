package agentpush_test

import (
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/job"
)

// TestI14_TheEndOfALeaseIsOnTheMinionsClock: clocks of nodes and minions are far
// apart; a minion hears of an end of a lease on its own, and never a later one
// than it is, whether the order comes from its node or by a peer. One that tells
// no clock hears of none.
func TestI14_TheEndOfALeaseIsOnTheMinionsClock(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	var mu sync.Mutex
	heard := map[job.MinionID]time.Duration{}
	answer := func(o *job.Order) job.Report {
		mu.Lock()
		defer mu.Unlock()
		heard[o.Task.Minion] = o.HoldUntil
		return job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded}
	}
	const ahead = 17 * time.Hour
	clock := func() time.Duration { return boottime.Now() + ahead }
	sender := c.nodes[0]
	for id, n := range map[job.MinionID]*node{"here": sender, "there": c.nodes[1]} {
		c.minion(agenttest.Config{ID: id, Clock: clock, Answer: answer}, n)
	}
	c.minion(agenttest.Config{ID: "old", Answer: answer}, sender)
	for _, id := range []job.MinionID{"here", "there", "old"} {
		c.eventually("seen", func() bool { return sender.hub.Connected(id) })
	}
	const lease = time.Hour
	end := boottime.Now() + lease // on the machine's clock, which nobody goes by
	knows := func(id job.MinionID) bool {
		mu.Lock()
		defer mu.Unlock()
		until, ok := heard[id]
		return ok && (until != 0 || id == "old")
	}
	for _, id := range []job.MinionID{"here", "there", "old"} {
		c.eventually("an end that is known", func() bool { // a peer may be slow to tell its clock
			o := orders(id, 1, long)
			o[0].HoldUntil = end + sender.ahead
			sender.hub.Send(o)
			return knows(id)
		})
	}
	mu.Lock()
	defer mu.Unlock()
	for _, id := range []job.MinionID{"here", "there"} {
		got := heard[id] - ahead
		if got > end {
			t.Errorf("%s: the lease ends %v too late", id, got-end)
		}
		if got < end-lease/2 { // what the words took that told the clocks, which is never half an hour
			t.Errorf("%s: the lease ends %v too early", id, end-got)
		}
	}
	if heard["old"] != 0 {
		t.Errorf("a minion that tells no clock heard of %v", heard["old"])
	}
}
