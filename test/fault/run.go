package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// The bounds of the quiet times before and after the disturbances.
const (
	firstFirePatience = 30 * time.Second
	settlePatience    = 2 * time.Minute
)

// run runs a scenario. The error tells what kept it from coming to a verdict.
func run(parent context.Context, o options, out io.Writer) (res *result, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	dir, err := os.MkdirTemp("", "carillon-fault-")
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	res = &result{options: o, dir: dir}
	defer func() {
		switch {
		case err != nil:
			err = fmt.Errorf("%w (logs are in %s)", err, dir)
		case !o.keep && res.verdict.good():
			res.dir = ""
			err = os.RemoveAll(dir)
		}
	}()
	if err := build(ctx, filepath.Join(dir, "bin")); err != nil {
		return res, err
	}
	events := out
	if !o.verbose {
		events = nil
	}
	// The history must hold all that can fire until we read it.
	keep := int((o.length + firstFirePatience + settlePatience) / time.Second)
	network, err := newNetwork(ctx, scenarios()[o.scenario].apart)
	if err != nil {
		return res, err
	}
	defer network.remove()
	c, err := newCluster(dir, filepath.Join(dir, "bin"), keep, network, func(err error) { cancel(err) }, events)
	if err != nil {
		return res, err
	}
	defer c.close()
	return res, res.observe(ctx, cancel, c)
}

// observe starts the cluster, disturbs it, and gathers the evidence.
func (r *result) observe(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	c.event("the cluster is ready")
	watching, watched := make(chan struct{}), make(chan struct{})
	watch, stop := context.WithCancel(ctx)
	go func() {
		defer close(watched)
		if err := c.takeovers.watch(watch, c.client, etcdkv.NewKeys(""), watching); err != nil {
			cancel(err)
		}
	}()
	defer func() { stop(); <-watched }()
	select {
	case <-watching:
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	tracePath := filepath.Join(c.dir, "trace")
	if err := r.startJobs(ctx, c, tracePath); err != nil {
		return err
	}
	c.event("all jobs fire")
	var err error
	r.faults, err = disturb(ctx, c, scenarios()[r.options.scenario].disturb, r.options.seed, r.options.length)
	if err != nil {
		return err
	}
	r.moves, r.gaps = c.takeovers.counted()
	r.least = c.leastMoves
	if err := r.settle(ctx, c); err != nil {
		return err
	}
	if r.evidence.trace, r.evidence.starts, err = readTrace(tracePath); err != nil {
		return err
	}
	r.evidence.newer = c.takeovers.newer
	if r.evidence.runs, err = c.api.runs(ctx); err != nil {
		return err
	}
	r.evidence.end = time.Now()
	r.takeovers = c.takeovers.times()
	r.verdict = judge(r.evidence)
	return leave(c)
}

// startJobs applies the jobs and waits until each has fired.
func (r *result) startJobs(ctx context.Context, c *cluster, tracePath string) error {
	r.work = workload{groups: scenarios()[r.options.scenario].groups, jobs: r.options.jobs, trace: tracePath}
	r.evidence.groups = r.work.groups
	for _, file := range r.work.files(true) {
		if err := c.api.apply(ctx, file); err != nil {
			return err
		}
	}
	jobs, err := c.api.jobs(ctx)
	if err != nil {
		return err
	}
	if len(jobs) != r.options.jobs {
		return fmt.Errorf("%d jobs are listed, want %d", len(jobs), r.options.jobs)
	}
	if r.evidence.plans, err = plans(jobs); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, firstFirePatience, fmt.Errorf("not all jobs fired within %v", firstFirePatience))
	defer cancel()
	return until(ctx, func() error {
		t, _, err := readTrace(tracePath)
		if err != nil {
			return err
		}
		fired := map[job.UID]bool{}
		for fire := range t {
			fired[fire.Job] = true
		}
		if len(fired) < len(jobs) {
			return fmt.Errorf("%d of %d have fired", len(fired), len(jobs))
		}
		return nil
	})
}

// settle waits until every occurrence up to now is decided, pauses the jobs,
// and waits until no run is open. What does not end in time is noted: the
// oracle finds it.
func (r *result) settle(ctx context.Context, c *cluster) error {
	r.evidence.until = time.Now()
	c.event("the disturbances are over")
	bounded, cancel := context.WithTimeoutCause(ctx, settlePatience, fmt.Errorf("not settled within %v", settlePatience))
	defer cancel()
	err := until(bounded, func() error {
		shards, err := c.api.shards(bounded)
		if err != nil {
			return err
		}
		for _, s := range shards {
			if s.Jobs > 0 && !s.Cursor.After(r.evidence.until) {
				return fmt.Errorf("shard %v of %q is decided up to %v only", s.ID, s.Owner, s.Cursor)
			}
		}
		return nil
	})
	if err == nil {
		for _, file := range r.work.files(false) {
			if err := c.api.apply(bounded, file); err != nil {
				return err
			}
		}
		c.event("the jobs are paused")
		err = until(bounded, func() error {
			switch open, err := c.api.open(bounded); {
			case err != nil:
				return err
			case open > 0:
				return fmt.Errorf("%d or more runs are open", open)
			}
			return nil
		})
	}
	if err != nil && context.Cause(ctx) == nil {
		r.notes = append(r.notes, err.Error())
		return nil
	}
	return errors.Join(err, context.Cause(ctx))
}

// leave asks all daemons to end, which they must do in good order.
func leave(c *cluster) error {
	var errs []error
	for _, p := range append(append([]*process(nil), c.workers...), c.schedulers...) {
		code, err := p.stop(syscall.SIGTERM)
		if err == nil && code != 0 {
			err = fmt.Errorf("%s ended with exit code %d, want 0; see %s", p.name, code, p.log)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
