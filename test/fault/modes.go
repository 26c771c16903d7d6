package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// modeGroups are groups of every mode, and of every way in which runs wait for
// one another.
func modeGroups() map[string]job.GroupSpec {
	second := job.Duration(time.Second)
	return map[string]job.GroupSpec{
		"balanced":           {Mode: "balanced"},
		"bounded":            {Mode: "balanced", MaxConcurrent: 2},
		"failback":           {Mode: "failback", HoldOff: 3 * second},
		"failover":           {Mode: "failover"},
		"locked-a":           {Mode: "failover", Mutex: "shared"},
		"locked-b":           {Mode: "roundrobin", Mutex: "shared"},
		"ordered":            {Mode: "failover", Ordered: true},
		"parallel":           {Mode: "parallel"},
		"parallel-sync":      {Mode: "parallel", Start: job.StartSync},
		"preempt":            {Mode: "preempt", Grace: second},
		"roundrobin":         {Mode: "roundrobin"},
		"roundrobin-ordered": {Mode: "roundrobin", Ordered: true},
		"roundrobin-preempt": {Mode: "roundrobin-preempt", Grace: 2 * second},
		"timeslice":          {Mode: "timeslice", Slice: 5 * second},
		"timeslice-skip":     {Mode: "timeslice", Slice: 2 * second, OnLoss: job.LossSkip, Nodes: []job.NodeID{"s1", "s2", "s3"}},
	}
}

// disturbModes kills, drains or pauses a scheduler.
func disturbModes(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	switch rnd.IntN(4) {
	case 0:
		return drainScheduler(ctx, c, rnd)
	case 1:
		return pauseScheduler(ctx, c, rnd)
	}
	return killScheduler(ctx, c, rnd)
}
