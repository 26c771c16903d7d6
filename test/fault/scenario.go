package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// A scenario disturbs the cluster once, and mends it. It is called again and
// again, with a pause before each call.
type scenario func(ctx context.Context, c *cluster, rnd *rand.Rand) error

func scenarios() map[string]scenario {
	return map[string]scenario{
		"kill":   killScheduler,
		"drain":  drainScheduler,
		"worker": killWorker,
	}
}

func scenarioNames() []string { return slices.Sorted(maps.Keys(scenarios())) }

// The pauses between disturbances, and how long what was stopped stays away.
const (
	pauseMin, pauseMax = 3 * time.Second, 6 * time.Second
	awayMin, awayMax   = 200 * time.Millisecond, 2 * time.Second
)

// disturb calls the scenario until length has passed. The last disturbance is
// mended before it returns. It returns how many there were.
func disturb(ctx context.Context, c *cluster, s scenario, seed uint64, length time.Duration) (int, error) {
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // must be repeatable
	end := time.Now().Add(length)
	for n := 0; ; n++ {
		pause := between(rnd, pauseMin, pauseMax)
		if left := time.Until(end); pause >= left {
			return n, sleep(ctx, left)
		}
		if err := sleep(ctx, pause); err != nil {
			return n, err
		}
		if err := s(ctx, c, rnd); err != nil {
			return n, err
		}
	}
}

// between returns a random time.
func between(rnd *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rnd.Int64N(int64(to-from)))
}

// sleep waits; it returns the cause when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
