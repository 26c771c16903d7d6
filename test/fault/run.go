package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// hangLimit is the only limit on time: what has not come to its end so long after
// the disturbances may have ended hangs. Everything else waits for what is to be.
const hangLimit = 10 * time.Minute

// run runs a scenario. The error tells what kept it from coming to a verdict.
func run(parent context.Context, o options, out io.Writer) (*result, error) {
	res := &result{options: o}
	dir, err := withCluster(parent, o, out, func(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) (bool, error) {
		err := res.observe(ctx, cancel, c)
		return res.verdict.good(), err
	})
	res.dir = dir
	return res, err
}

// withCluster lays out the cluster of a scenario in a new directory and calls
// use, which starts it. The directory is removed when use reports that all is
// good; else it is returned.
func withCluster(parent context.Context, o options, out io.Writer, use func(context.Context, context.CancelCauseFunc, *cluster) (bool, error)) (dir string, err error) {
	ctx, stop := context.WithTimeoutCause(parent, o.length+hangLimit, fmt.Errorf("it hangs: it has not ended within %v", o.length+hangLimit))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dir, err = os.MkdirTemp("", "carillon-fault-")
	if err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	good := false
	defer func() {
		switch {
		case err != nil:
			err = fmt.Errorf("%w (logs are in %s)", err, dir)
		case !o.keep && good:
			err, dir = os.RemoveAll(dir), ""
		}
	}()
	bin := o.bin
	if bin == "" {
		bin = filepath.Join(dir, "bin")
		if err := build(ctx, bin); err != nil {
			return dir, err
		}
	}
	unload, err := busy(filepath.Join(bin, "fault"), o.load)
	if err != nil {
		return dir, err
	}
	defer unload()
	events := out
	if !o.verbose {
		events = nil
	}
	// The history must hold all that can fire until we read it.
	keep := int((o.length + hangLimit) / time.Second)
	s := scenarios()[o.scenario]
	if s.soak {
		keep = soakKeep
	}
	network, err := newNetwork(ctx, s.apart)
	if err != nil {
		return dir, err
	}
	defer network.remove()
	c, err := newCluster(dir, bin, s, keep, network, func(err error) { cancel(err) }, events)
	if err != nil {
		return dir, err
	}
	defer c.close()
	good, err = use(ctx, cancel, c)
	return dir, err
}

// observe starts the cluster, disturbs it, and gathers the evidence.
func (r *result) observe(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	c.event("the cluster is ready")
	stopTakeovers, err := c.watchTakeovers(ctx, cancel)
	if err != nil {
		return err
	}
	defer stopTakeovers()
	watch, stop := context.WithCancel(ctx)
	defer stop()

	tracePath := filepath.Join(c.dir, "trace")
	if err := r.startJobs(ctx, c, tracePath); err != nil {
		return err
	}
	c.event("all jobs fire")
	soak := &soaker{runs: map[job.RunID]job.Run{}, gauges: gauges{}}
	gathered := make(chan struct{})
	go func() {
		defer close(gathered)
		if scenarios()[r.options.scenario].soak {
			soak.watch(watch, c)
		}
	}()
	if r.options.once {
		r.faults, err = disturbOnce(ctx, c, scenarios()[r.options.scenario].each, r.options.seed)
	} else {
		r.faults, err = disturb(ctx, c, scenarios()[r.options.scenario].disturb, r.options.seed, r.options.length)
	}
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
	r.evidence.last = c.takeovers.last
	// A list that lacks something is none.
	err = until(ctx, func() (err error) {
		r.evidence.runs, err = c.api.runs(ctx)
		return err
	})
	if err != nil {
		return err
	}
	stopTakeovers()
	stop()
	<-gathered
	if scenarios()[r.options.scenario].soak {
		r.evidence.runs = soak.all(r.evidence.runs)
		r.gauges = soak.gauges
	}
	r.evidence.early = scenarios()[r.options.scenario].early
	r.evidence.end = time.Now()
	r.takeovers = c.takeovers.times()
	r.verdict = judge(r.evidence)
	r.verdict.grew = r.gauges.growing()
	if err := r.keepRecords(c.dir); err != nil {
		return err
	}
	return leave(c)
}

// startJobs applies the jobs and waits until each has fired.
func (r *result) startJobs(ctx context.Context, c *cluster, tracePath string) error {
	s := scenarios()[r.options.scenario]
	r.work = workload{groups: s.groups, jobs: r.options.jobs, trace: tracePath}
	if s.times > 0 {
		r.work.jobs, r.work.misfire = s.times*r.options.jobs, job.MisfireSkip
	}
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
	if s.herd > 0 {
		// Late enough that it falls into the disturbances.
		r.work.herd, r.work.herdAt = s.herd*r.options.jobs, time.Now().Add(herdAfter+time.Duration(s.herd*r.options.jobs)*time.Millisecond).Truncate(time.Second)
		for _, file := range r.work.herdFiles() {
			if err := c.api.apply(ctx, file); err != nil {
				return err
			}
		}
		if jobs, err = c.api.jobs(ctx); err != nil {
			return err
		}
		c.event("%d jobs are due at %v", r.work.herd, r.work.herdAt.Format(time.TimeOnly))
	}
	if want := r.work.jobs + r.work.herd; len(jobs) != want {
		return fmt.Errorf("%d jobs are listed, want %d", len(jobs), want)
	}
	if r.evidence.plans, err = plans(jobs); err != nil {
		return err
	}
	return until(ctx, func() error {
		t, _, err := readTrace(tracePath)
		if err != nil {
			return err
		}
		fired := map[job.UID]bool{}
		for fire := range t {
			fired[fire.Job] = true
		}
		if len(fired) < r.work.jobs {
			return fmt.Errorf("%d of %d have fired", len(fired), r.work.jobs)
		}
		return nil
	})
}

// settle waits until every occurrence up to now is decided, pauses the jobs,
// and waits until no run is open.
func (r *result) settle(ctx context.Context, c *cluster) error {
	r.evidence.until = time.Now()
	c.event("the disturbances are over")
	// Nothing moves the cursor of a shard none of whose jobs is due again.
	decided := map[job.ShardID]time.Time{}
	for _, p := range r.evidence.plans {
		if _, ok := p.set.Next(r.evidence.until); ok {
			decided[p.shard] = r.evidence.until
		} else if decided[p.shard].IsZero() {
			decided[p.shard] = r.work.herdAt.Add(-1)
		}
	}
	err := until(ctx, func() error {
		shards, err := c.api.shards(ctx)
		if err != nil {
			return err
		}
		for _, s := range shards {
			if at := decided[s.ID]; s.Jobs > 0 && !at.IsZero() && !s.Cursor.After(at) {
				return fmt.Errorf("shard %v of %q is decided up to %v only", s.ID, s.Owner, s.Cursor)
			}
		}
		return nil
	})
	if err == nil {
		for _, file := range r.work.files(false) {
			if err := c.api.apply(ctx, file); err != nil {
				return err
			}
		}
		c.event("the jobs are paused")
		err = until(ctx, func() error {
			switch open, err := c.api.open(ctx); {
			case err != nil:
				return err
			case open > 0:
				return fmt.Errorf("%d or more runs are open", open)
			}
			return nil
		})
	}
	return err
}

// keepRecords writes the records down beside trace and logs: they are what the
// verdict comes from.
func (r *result) keepRecords(dir string) error {
	text, err := json.Marshal(r.evidence.runs)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "records.json"), text, 0o600)
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
