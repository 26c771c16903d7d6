package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// hangLimit is the only limit on time: what has not come to its end so long after
// the disturbances may have ended hangs. Everything else waits for what is to be.
const hangLimit = 10 * time.Minute

// gatherLimit is how long the evidence of a run that hangs is gathered.
const gatherLimit = 2 * time.Minute

var errHangs = errors.New("it hangs")

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
	limit := o.length + o.hangs
	ctx, stop := context.WithTimeoutCause(parent, limit, fmt.Errorf("%w: it has not ended within %v", errHangs, limit))
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
	if s.queues != "" {
		keep = queueKeep
		if s.alone { // memory has to stay flat
			keep = soakKeep
		}
	}
	network, err := newNetwork(ctx, s.apart)
	if err != nil {
		return dir, err
	}
	defer network.remove()
	died := func(err error) { cancel(err) }
	var c *cluster
	if s.sites {
		sites, err := newSiteNet(ctx)
		if err != nil {
			return dir, err
		}
		defer sites.remove()
		c, err = newSites(dir, bin, keep, sites, died, events)
		if err != nil {
			return dir, err
		}
	} else if c, err = newCluster(dir, bin, s, keep, network, died, events); err != nil {
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
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { r.evidence.unready = append(c.unready, c.watchReady(watch)...) })

	r.evidence.early = scenarios()[r.options.scenario].early
	tracePath := filepath.Join(c.dir, "trace")
	if err := r.startJobs(ctx, c, tracePath); err != nil {
		return err
	}
	c.event("all jobs fire")
	soak := &soaker{runs: map[job.RunID]job.Run{}, gauges: gauges{}}
	if scenarios()[r.options.scenario].soak {
		beside.Go(func() { soak.watch(watch, c) })
	}
	if err := r.disturb(ctx, cancel, c); err != nil {
		return err
	}
	r.moves, r.gaps = c.takeovers.counted()
	r.least = c.leastMoves
	if err := r.settle(ctx, c); err != nil {
		return err
	}
	// What hangs is a finding, and the evidence is gathered all the same.
	ctx, stopGathering := context.WithTimeoutCause(context.WithoutCancel(ctx), gatherLimit, errors.New("the records cannot be read"))
	defer stopGathering()
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
	beside.Wait()
	if scenarios()[r.options.scenario].soak {
		r.evidence.runs = soak.all(r.evidence.runs)
		r.gauges = soak.gauges
	}
	r.takeovers = c.takeovers.times()
	r.rto = r.recovered(c)
	r.verdict = judge(&r.evidence)
	r.verdict.grew = r.gauges.growing()
	if err := r.keepRecords(c.dir); err != nil {
		return err
	}
	if len(r.verdict.stuck) > 0 {
		return nil // a node that is stuck need not leave
	}
	return leave(c)
}

// disturb disturbs the cluster while somebody does things with the probes.
func (r *result) disturb(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) (err error) {
	s := scenarios()[r.options.scenario]
	working, enough := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.sites { // there are no probes
			<-working.Done()
		} else if err := r.operator.work(working, ctx); err != nil {
			cancel(fmt.Errorf("while probes are edited, paused and started: %w", err))
		}
	}()
	if r.options.once {
		r.faults, err = disturbOnce(ctx, c, s.each, r.options.seed)
	} else {
		r.faults, err = disturb(ctx, c, s.disturb, r.options.seed, r.options.length)
	}
	enough()
	<-done
	r.evidence.ledger = r.operator.ledger
	return errors.Join(err, context.Cause(ctx))
}

// startJobs applies the jobs and waits until each has fired.
func (r *result) startJobs(ctx context.Context, c *cluster, tracePath string) error {
	s := scenarios()[r.options.scenario]
	begun := time.Now()
	r.work = workload{groups: s.groups, jobs: r.options.jobs, trace: tracePath}
	if s.times > 0 {
		r.work.jobs, r.work.misfire = s.times*r.options.jobs, job.MisfireSkip
	}
	r.evidence.groups = probeGroups()
	maps.Copy(r.evidence.groups, r.work.groups)
	probes := len(probeSpecs(tracePath, begun, true))
	r.files = func(enabled bool) [][]byte {
		return append(r.work.files(enabled), probeFiles(tracePath, begun, enabled)...)
	}
	if s.sites { // six nodes and nine minions are enough for a machine
		probes, r.files = 0, r.work.files
	}
	for _, file := range r.files(true) {
		if _, err := c.api.apply(ctx, file); err != nil {
			return err
		}
	}
	if s.herd > 0 {
		// Late enough that it falls into the disturbances.
		r.work.herd, r.work.herdAt = s.herd*r.options.jobs, time.Now().Add(herdAfter+time.Duration(s.herd*r.options.jobs)*time.Millisecond).Truncate(time.Second)
		for _, file := range r.work.herdFiles() {
			if _, err := c.api.apply(ctx, file); err != nil {
				return err
			}
		}
		c.event("%d jobs are due at %v", r.work.herd, r.work.herdAt.Format(time.TimeOnly))
	}
	jobs, err := c.api.jobs(ctx)
	if err != nil {
		return err
	}
	if want := r.work.jobs + r.work.herd + probes; len(jobs) != want {
		return fmt.Errorf("%d jobs are listed, want %d", len(jobs), want)
	}
	if r.evidence.plans, err = plans(jobs); err != nil {
		return err
	}
	r.shards = map[job.UID]job.ShardID{}
	for i := range jobs {
		if jobs[i].Namespace != probeSpace {
			r.shards[jobs[i].UID] = jobs[i].Shard
		}
	}
	r.operator = newOperator(c, r.options.seed, tracePath, begun, r.evidence.plans)
	if r.evidence.early > 0 {
		r.operator.slack = skew
	}
	if !s.sites {
		if err := r.operator.begin(ctx); err != nil {
			return err
		}
	}
	return until(ctx, func() error {
		t, _, err := readTrace(tracePath)
		if err != nil {
			return err
		}
		fired := map[job.UID]bool{}
		for fire := range t {
			if p := r.evidence.plans[fire.Job]; p != nil && p.key.Namespace != probeSpace {
				fired[fire.Job] = true
			}
		}
		if len(fired) < r.work.jobs {
			return fmt.Errorf("%d of %d have fired", len(fired), r.work.jobs)
		}
		return nil
	})
}

// await waits until what is to be has come. When that hangs, it is noted as stuck.
func (r *result) await(ctx context.Context, what string, ready func() error) error {
	if len(r.evidence.stuck) > 0 {
		return nil
	}
	var wrong error // asked again, it is as wrong
	err := until(ctx, func() error {
		err := ready()
		var refused *refusedError
		if errors.As(err, &refused) && refused.status == http.StatusUnprocessableEntity {
			wrong = err
			return nil
		}
		return err
	})
	if wrong != nil {
		return fmt.Errorf("%s: %w", what, wrong)
	}
	if err != nil && errors.Is(context.Cause(ctx), errHangs) {
		r.evidence.stuck = append(r.evidence.stuck, fmt.Sprintf("%s: %v", what, err))
		return nil
	}
	return err
}

// settle takes an overload back, waits until every backfill is over and every occurrence up to now is decided,
// disables the jobs, and waits until no run is open.
func (r *result) settle(ctx context.Context, c *cluster) error {
	c.event("the disturbances are over")
	if scenarios()[r.options.scenario].times > 0 {
		if err := r.await(ctx, "the load cannot be taken back", func() error { return r.relieve(ctx, c) }); err != nil {
			return err
		}
		c.event("the load is taken back")
	}
	err := r.await(ctx, "backfills", func() error {
		n, err := c.api.backfills(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d backfills are not over", n)
		}
		return err
	})
	if err != nil {
		return err
	}
	finish, disable := r.operator.finish, r.operator.disable
	if scenarios()[r.options.scenario].sites {
		finish = func(context.Context) error { return nil }
		disable = finish
	}
	if err := r.await(ctx, "probes cannot be enabled", func() error { return finish(ctx) }); err != nil {
		return err
	}
	r.evidence.until = time.Now()
	if err := r.await(ctx, "occurrences", func() error { return r.decided(ctx, c) }); err != nil {
		return err
	}
	if err := r.await(ctx, "the jobs cannot be disabled", func() error { return r.disable(ctx, c) }); err != nil {
		return err
	}
	if err := r.await(ctx, "probes cannot be disabled", func() error { return disable(ctx) }); err != nil {
		return err
	}
	c.event("the jobs are disabled")
	var open []job.Run
	err = r.await(ctx, "runs", func() (err error) {
		switch open, err = c.api.open(ctx); {
		case err != nil:
			return err
		case len(open) > 0:
			return fmt.Errorf("%d or more runs are open", len(open))
		}
		for _, fire := range r.evidence.ledger.starts {
			if run, err := c.api.run(ctx, fire.RunID()); err != nil || !run.State.Final() {
				return fmt.Errorf("the run of %v, which was asked for, is not recorded: %s %w", fire, run.State, err)
			}
		}
		return nil
	})
	for i := range open {
		r.evidence.stuck = append(r.evidence.stuck, fmt.Sprintf("run %s of %v, due at %v, is %s: %s", open[i].RunID, open[i].Key(), open[i].ScheduledAt, open[i].State, open[i].Reason))
	}
	return err
}

// decided returns which shard has not come up to the end yet.
func (r *result) decided(ctx context.Context, c *cluster) error {
	// Nothing moves the cursor of a shard none of whose jobs is due again.
	decided := map[job.ShardID]time.Time{}
	for _, p := range r.evidence.plans {
		if _, ok := p.spans[len(p.spans)-1].set.Next(r.evidence.until); ok {
			decided[p.shard] = r.evidence.until
		} else if decided[p.shard].IsZero() && p.key.Namespace != probeSpace {
			decided[p.shard] = r.work.herdAt.Add(-1)
		}
	}
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
}

// relieve has the jobs of an overload be due less often: what somebody waits for, as
// for a backfill, would stand behind all of it for ever.
func (r *result) relieve(ctx context.Context, c *cluster) error {
	r.work.relieved = true
	return r.edit(ctx, c, r.work.files(true), "it was made due less often")
}

// disable disables all jobs but those that the operator edits, and notes from where on
// that holds.
func (r *result) disable(ctx context.Context, c *cluster) error {
	return r.edit(ctx, c, r.files(false), offWord)
}

// edit applies files that change when jobs are due, and notes from where on that holds.
func (r *result) edit(ctx context.Context, c *cluster, files [][]byte, what string) error {
	holds := map[job.Key]time.Time{}
	for _, file := range files {
		results, err := c.api.apply(ctx, file)
		if err != nil {
			return err
		}
		for _, one := range results {
			holds[job.Key{Namespace: one.Namespace, Name: one.Name}] = one.HoldsFrom
		}
	}
	jobs, err := c.api.jobs(ctx)
	if err != nil {
		return err
	}
	for i := range jobs {
		j := &jobs[i]
		p := r.evidence.plans[j.UID]
		from, edited := holds[j.Key()]
		if p == nil || !edited || p.spans[len(p.spans)-1].what == what {
			continue
		}
		if from.IsZero() {
			from = time.Now().Add(untold)
		}
		set, err := setOf(j)
		if err != nil {
			return err
		}
		p.spans = append(p.spans, span{set: set, after: j.After, holds: from, what: what})
	}
	return nil
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
