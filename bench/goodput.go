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

// done is what an engine did in some windows.
type done struct {
	rates []float64 // fires a second
	us    []float64 // of the engine's processor time for each
}

func (b goodput) measure(ctx context.Context, e *env) error {
	can, err := b.offered(ctx, e, b.probe)
	if err != nil {
		return err
	}
	best := median(can.rates)
	curve := make([]done, len(b.times))
	for i, n := range b.times {
		jobs := int(best) * n
		if curve[i], err = b.offered(ctx, e, jobs); err != nil {
			return err
		}
		note := fmt.Sprintf("fires planned, committed, dispatched and closed, of %d offered a second", jobs)
		if err := e.report(fmt.Sprintf("fires_goodput_at_%d", n), "fires/s", curve[i].rates, note); err != nil {
			return err
		}
		if err := e.report(fmt.Sprintf("fires_goodput_us_at_%d", n), "us", curve[i].us, "of the engine's processor time for each of these, whatever else the machine does"); err != nil {
			return err
		}
		best = max(best, median(curve[i].rates)) // found later: it can do more
	}
	most := slices.MaxFunc(curve, func(x, y done) int { return int(median(x.rates) - median(y.rates)) })
	last := len(curve) - 1
	name := fmt.Sprintf("fires_goodput_at_%d_vs_best", b.times[last])
	if err := e.ratio(name, curve[last].rates, most.rates, "(1: the more it is offered, it does no less)"); err != nil {
		return err
	}
	name = fmt.Sprintf("fires_goodput_us_at_%d_vs_%d", b.times[last], b.times[0])
	return e.ratio(name, curve[last].us, curve[0].us, "(1: the more it is offered, a fire costs no more)")
}

// offered returns what an engine does in some windows with so many offered.
func (b goodput) offered(ctx context.Context, e *env, jobs int) (done, error) {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return done{}, err
	}
	defer store.close()
	all := jobsOf{namespace: "bench", count: jobs, expr: always("@every 1s"), command: []string{"true"}, misfire: job.MisfireSkip}
	if err := all.put(ctx, store.Client); err != nil {
		return done{}, err
	}
	p, err := start(ctx, "engine", engineSpec{Etcd: store.endpoint, MisfireGrace: b.grace, ProfileAt: os.Getenv(profileAddr)})
	if err != nil {
		return done{}, err
	}
	defer p.kill()
	if err := awaitStats(ctx, e, p, fmt.Sprintf("%d jobs are loaded, and fire", jobs), func(now engineStats) bool {
		return now.Jobs == jobs && now.Fired > 0
	}); err != nil {
		return done{}, err
	}
	if err := pause(ctx, b.settle); err != nil {
		return done{}, err
	}
	var d done
	for range e.rounds {
		from, err := stats(ctx, e, p)
		if err != nil {
			return d, err
		}
		begun := time.Now()
		if err := pause(ctx, b.window); err != nil {
			return d, err
		}
		if err := awaitStats(ctx, e, p, "fires in a window", func(now engineStats) bool {
			fires := float64(now.Fired - from.Fired)
			if fires == 0 {
				return false
			}
			d.rates = append(d.rates, fires/time.Since(begun).Seconds())
			d.us = append(d.us, (now.Processor-from.Processor)*1e6/fires)
			return true
		}); err != nil {
			return d, err
		}
	}
	return d, nil
}
