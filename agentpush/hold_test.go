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

// TestI7_WhatWaitedBeyondItsLeaseIsNotOffered: a minion comes to which more waits than
// it can take in the time of a lease. It is offered what it may start still, and its
// owner hears of the rest that it was never accepted, as the answer to its own order.
func TestI7_WhatWaitedBeyondItsLeaseIsNotOffered(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	var mu sync.Mutex
	var offered []job.TaskID
	const stale = 3
	all := orders("late", stale+1, long)
	for i := range all {
		all[i].HoldUntil, all[i].Term = boottime.Now()+n.ahead-time.Millisecond, 5
	}
	all[stale].HoldUntil += time.Hour
	n.hub.Send(all)
	c.minion(agenttest.Config{ID: "late", Answer: func(o *job.Order) job.Report {
		mu.Lock()
		defer mu.Unlock()
		offered = append(offered, o.Task)
		return job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded}
	}}, n)
	n.await(1, "succeeded", inState(job.StateSucceeded))
	for _, r := range n.await(stale, "never accepted", func(r *job.Report) bool { return !r.Known }) {
		if r.State != "" || r.Returned || r.Spooled || r.Token != all[0].Token || r.Term != 5 || r.Reason == "" {
			t.Errorf("what its owner hears: %+v", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(offered) != 1 || offered[0] != all[stale].Task {
		t.Errorf("it was offered %v", offered)
	}
}
