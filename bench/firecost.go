package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// fireCost measures the processor time that an engine needs for a fire, which it
// plans, commits, dispatches and closes, with few and with many jobs, all at the
// same rate. The engines run at the same time, each with an etcd of its own, so
// that whatever else the machine does meets all of them. The baseline, a bare
// timer heap that makes the same two writes to etcd for each shard and second, is
// as large as the smallest.
//
// It also measures how long the largest engine takes to load its jobs, and its
// memory.
type fireCost struct {
	jobs    []int
	periods []int // in how many seconds each job is due once: the rates are equal
	window  time.Duration
	settle  time.Duration // after loading, before the first window
}

// costed is one engine that is measured.
type costed struct {
	jobs    int
	etcd    *etcd
	process *process
	us      []float64 // of processor time per fire, by round
	before  engineStats
}

func (b fireCost) measure(ctx context.Context, e *env) error {
	var sides []*costed
	defer func() {
		for _, s := range sides {
			s.process.stop()
			s.etcd.close()
		}
	}()
	for i, jobs := range b.jobs {
		store, err := b.store(ctx, e, i)
		if err != nil {
			return err
		}
		profileAt := ""
		if i == len(b.jobs)-1 {
			profileAt = os.Getenv(profileAddr)
		}
		p, err := b.engine(ctx, store, profileAt)
		if err != nil {
			store.close()
			return err
		}
		sides = append(sides, &costed{jobs: jobs, etcd: store, process: p})
	}
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	p, err := start(ctx, "bare-engine", engineSpec{Etcd: store.endpoint, Jobs: b.jobs[0], Period: b.periods[0]})
	if err != nil {
		store.close()
		return err
	}
	bare := &costed{jobs: b.jobs[0], etcd: store, process: p}
	sides = append(sides, bare)
	for _, s := range sides {
		if err := awaitStats(ctx, e, s.process, fmt.Sprintf("%d jobs are loaded, and fire", s.jobs), func(now engineStats) bool {
			return now.Jobs == s.jobs && now.Fired > 0
		}); err != nil {
			return err
		}
	}
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	if err := b.windows(ctx, e, sides); err != nil {
		return err
	}
	rate := fmt.Sprintf("of processor time per fire, planned, committed, dispatched and closed, at %d fires/s", b.jobs[0]/b.periods[0])
	engines := sides[:len(b.jobs)]
	for _, s := range engines {
		if err := e.report("fire_cost_us_"+thousands(s.jobs), "us", s.us, fmt.Sprintf("%s of %d jobs", rate, s.jobs)); err != nil {
			return err
		}
	}
	if err := e.report("fire_cost_us_bare", "us", bare.us, "of a bare timer heap and bare transactions, at the same rate"); err != nil {
		return err
	}
	for _, s := range engines[1:] {
		name := fmt.Sprintf("fire_cost_%s_vs_%s", thousands(s.jobs), thousands(b.jobs[0]))
		if err := e.ratio(name, s.us, engines[0].us, "(1: it does not matter how many jobs there are)"); err != nil {
			return err
		}
	}
	if err := e.ratio("fire_cost_vs_bare", engines[0].us, bare.us, fmt.Sprintf("of %d jobs", b.jobs[0])); err != nil {
		return err
	}
	for _, s := range sides {
		s.process.stop()
	}
	return b.loads(ctx, e, engines[len(engines)-1].etcd)
}

// engine starts an engine, for which what it has missed while it did not run is
// soon done with.
func (b fireCost) engine(ctx context.Context, store *etcd, profileAt string) (*process, error) {
	return start(ctx, "engine", engineSpec{Etcd: store.endpoint, MisfireGrace: 5 * time.Second, ProfileAt: profileAt})
}

// store starts an etcd with the jobs of a size.
func (b fireCost) store(ctx context.Context, e *env, i int) (*etcd, error) {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return nil, err
	}
	jobs := jobsOf{
		namespace: "bench", count: b.jobs[i], expr: spread(b.periods[i]), command: []string{"true"}, misfire: job.MisfireSkip,
		// They are stored and loaded meanwhile, so that little is overdue.
		idle: time.Duration(b.jobs[i]) * 100 * time.Microsecond,
	}
	if err := jobs.put(ctx, store.Client); err != nil {
		store.close()
		return nil, err
	}
	return store, nil
}

// loads measures an engine that loads the jobs of an etcd.
func (b fireCost) loads(ctx context.Context, e *env, store *etcd) error {
	jobs := b.jobs[len(b.jobs)-1]
	var took, peak, rest []float64
	for range e.rounds {
		begun := time.Now()
		p, err := b.engine(ctx, store, "")
		if err != nil {
			return err
		}
		var loaded engineStats
		err = awaitStats(ctx, e, p, fmt.Sprintf("%d jobs are loaded", jobs), func(now engineStats) bool {
			loaded = now
			return now.Jobs == jobs
		})
		took = append(took, time.Since(begun).Seconds())
		if err == nil {
			err = pause(ctx, b.settle/3)
		}
		var later engineStats
		if err == nil {
			later, err = stats(ctx, e, p)
		}
		p.stop()
		if err != nil {
			return err
		}
		peak, rest = append(peak, float64(loaded.Resident)/1e6), append(rest, float64(later.Resident)/1e6)
	}
	name := "jobs_" + thousands(jobs)
	if err := e.report(name+"_load_s", "s", took, "from the start of a node's engine until it has all jobs"); err != nil {
		return err
	}
	if err := e.report(name+"_rss_mb", "MB", rest, fmt.Sprintf("of its resident memory, %v after loading", b.settle/3)); err != nil {
		return err
	}
	return e.report(name+"_rss_loading_mb", "MB", peak, "of its resident memory, the moment that the last job was loaded")
}

// windows measures all at once, window by window.
func (b fireCost) windows(ctx context.Context, e *env, sides []*costed) error {
	for round := range e.rounds + 1 {
		for _, s := range sides {
			var now engineStats
			// A window ends when something has fired in it.
			if err := awaitStats(ctx, e, s.process, "fires in a window", func(n engineStats) bool {
				now = n
				return now.Fired > s.before.Fired && now.Processor > s.before.Processor
			}); err != nil {
				return err
			}
			if round > 0 {
				s.us = append(s.us, (now.Processor-s.before.Processor)*1e6/float64(now.Fired-s.before.Fired))
			}
			s.before = now
		}
		if round == e.rounds {
			return nil
		}
		if err := pause(ctx, b.window); err != nil {
			return err
		}
	}
	return nil
}
