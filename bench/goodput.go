package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// goodput measures how many fires a second an engine still does that is offered
// more than it can do: so many times its best. What is later than the grace is a
// misfire, and does not count.
type goodput struct {
	// probe are the jobs, each due once a second, by which it is found what the
	// engine can do.
	probe  int
	times  []int
	grace  time.Duration
	settle time.Duration // from when all have fired, or could have
	window time.Duration
}

func (b goodput) measure(ctx context.Context, e *env) error {
	can, err := b.offered(ctx, e, b.probe)
	if err != nil {
		return err
	}
	best := median(can)
	curve := make([][]float64, len(b.times))
	for i, n := range b.times {
		jobs := int(best) * n
		if curve[i], err = b.offered(ctx, e, jobs); err != nil {
			return err
		}
		note := fmt.Sprintf("fires planned, committed, dispatched and closed, of %d offered a second", jobs)
		if err := e.report(fmt.Sprintf("fires_goodput_at_%d", n), "fires/s", curve[i], note); err != nil {
			return err
		}
		best = max(best, median(curve[i])) // found later: it can do more
	}
	most := slices.MaxFunc(curve, func(x, y []float64) int { return int(median(x) - median(y)) })
	last := len(curve) - 1
	return e.ratio(fmt.Sprintf("fires_goodput_at_%d_vs_best", b.times[last]), curve[last], most, "(1: the more it is offered, it does no less)")
}

// offered returns the fires a second in some windows with so many offered.
func (b goodput) offered(ctx context.Context, e *env, jobs int) ([]float64, error) {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return nil, err
	}
	defer store.close()
	all := jobsOf{namespace: "bench", count: jobs, expr: always("@every 1s"), command: []string{"true"}, misfire: job.MisfireSkip}
	if err := all.put(ctx, store.Client); err != nil {
		return nil, err
	}
	p, err := start(ctx, "engine", engineSpec{Etcd: store.endpoint, MisfireGrace: b.grace, ProfileAt: os.Getenv(profileAddr)})
	if err != nil {
		return nil, err
	}
	defer p.kill()
	if err := awaitStats(ctx, e, p, fmt.Sprintf("%d jobs are loaded, and fire", jobs), func(now engineStats) bool {
		return now.Jobs == jobs && now.Fired > 0
	}); err != nil {
		return nil, err
	}
	if err := pause(ctx, b.settle); err != nil {
		return nil, err
	}
	var rates []float64
	for range e.rounds {
		from, err := stats(ctx, e, p)
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		var rate float64
		if err := pause(ctx, b.window); err != nil {
			return nil, err
		}
		if err := awaitStats(ctx, e, p, "fires in a window", func(now engineStats) bool {
			rate = float64(now.Fired-from.Fired) / time.Since(begun).Seconds()
			return rate > 0
		}); err != nil {
			return nil, err
		}
		rates = append(rates, rate)
	}
	return rates, nil
}
