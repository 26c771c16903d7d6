package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	herdJobs   = 100_000
	steadyJobs = 100
)

// herd measures how long 100,000 jobs that are due in the same second take to be
// committed and dispatched, and how late others are meanwhile.
func herd(ctx context.Context) error {
	c, stopEtcd, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer stopEtcd()
	keys := etcdkv.NewKeys("")
	const ahead = 25 * time.Second // to store and to load them
	at := time.Now().Add(ahead).Truncate(time.Second).UTC()
	err = putJobs(ctx, c, keys, herdJobs+steadyJobs, func(i int) string {
		if i < herdJobs {
			return "@at " + at.Format(time.RFC3339)
		}
		return "@every 100ms"
	})
	if err != nil {
		return err
	}
	n, stop, err := startEngine(ctx, c, keys)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var last time.Time
	sent := 0
	var late []float64
	watch := func(orders []job.Order) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		for i := range orders {
			switch steady := strings.HasPrefix(orders[i].Key.Name, "job-01"); {
			case steady && now.After(at) && sent < herdJobs:
				late = append(late, float64(now.Sub(orders[i].ScheduledAt).Microseconds())/1000)
			case !steady:
				sent++
				last = now
			}
		}
	}
	n.sent.Store(&watch)
	err = until(ctx, ahead+time.Minute, func() bool { mu.Lock(); defer mu.Unlock(); return sent == herdJobs })
	if err != nil {
		return errors.Join(fmt.Errorf("%d of the herd were sent: %w", sent, err), stop())
	}
	mu.Lock()
	defer mu.Unlock()
	report("herd_100k_drain_s", last.Sub(at).Seconds(), "s from their second to the last order of 100,000")
	if len(late) > 0 {
		slices.Sort(late)
		report("herd_100k_others_late_ms_p99", late[len(late)*99/100], "ms, of 100 jobs that are due ten times a second meanwhile")
	}
	return stop()
}
