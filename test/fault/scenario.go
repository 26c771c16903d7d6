package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
)

// scenario injects one fault: it takes a victim down. The victim is started
// again by play.
type scenario struct {
	victims func(*cluster) []*process
	signal  os.Signal
}

func scenarios() map[string]scenario {
	schedulers := func(c *cluster) []*process { return c.schedulers }
	workers := func(c *cluster) []*process { return c.workers }
	return map[string]scenario{
		"kill":   {schedulers, syscall.SIGKILL},
		"drain":  {schedulers, syscall.SIGTERM},
		"worker": {workers, syscall.SIGKILL},
	}
}

// settle is how long open runs may take to end after the last fault.
const settle = 90 * time.Second

// play fires jobs, injects faults, and judges.
func play(ctx context.Context, c *cluster, o options, s scenario) (*verdict, error) {
	trace := filepath.Join(c.dir, "trace")
	if err := os.WriteFile(trace, nil, 0o600); err != nil {
		return nil, err
	}
	jobs, err := applyJobs(ctx, c, o.jobs, trace)
	if err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	own := watchOwners(watch, c.client)
	e := &evidence{jobs: jobs, from: time.Now().Add(2 * time.Second).Truncate(time.Second), runs: map[job.FireID]job.Run{}}
	rec := &records{c: c, runs: e.runs}
	c.say("%d jobs applied", len(jobs))
	if err := inject(ctx, c, o, s, own); err != nil {
		return nil, err
	}
	e.to = time.Now().Add(time.Second)
	c.say("faults are over; settling")
	for end := time.Now().Add(settle); ; {
		if err := wait(ctx, time.Second); err != nil {
			return nil, err
		}
		open, err := rec.read(ctx, e.from.Add(-5*time.Second), e.to)
		c.say("%d runs open %v", open, err)
		if err == nil && open == 0 && time.Now().After(e.to.Add(2*time.Second)) {
			break
		}
		if time.Now().After(end) {
			c.say("not settled after %v", settle)
			break
		}
	}
	if e.trace, err = readTrace(trace); err != nil {
		return nil, err
	}
	v, err := judge(e)
	if err != nil {
		return nil, err
	}
	v.takeoverP50, v.takeoverMax = own.takeovers()
	return v, nil
}

// inject takes victims down and up again for the run's length.
func inject(ctx context.Context, c *cluster, o options, s scenario, own *owners) error {
	rng := rand.New(rand.NewPCG(uint64(o.seed), 1)) //nolint:gosec // repeatable on purpose
	between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(rng.Int64N(int64(hi-lo))) }
	for end := time.Now().Add(o.length); time.Now().Before(end); {
		pause := min(between(3*time.Second, 6*time.Second), time.Until(end))
		if err := wait(ctx, pause); err != nil || time.Now().After(end) {
			return err
		}
		victims := s.victims(c)
		p := victims[rng.IntN(len(victims))]
		c.say("%v to %s", s.signal, p.name)
		own.lose(job.NodeID(p.name))
		p.signal(s.signal)
		if err := wait(ctx, between(200*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		c.say("start %s", p.name)
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// perFile is how many jobs one file has.
const perFile = 100

// applyJobs registers jobs that fire every second and append their fire id to
// the trace.
func applyJobs(ctx context.Context, c *cluster, n int, trace string) ([]job.Job, error) {
	for from := 0; from < n; from += perFile {
		var b strings.Builder
		for i := from; i < min(from+perFile, n); i++ {
			fmt.Fprintf(&b, `---
apiVersion: carillon/v1
kind: Job
metadata: {name: j%d}
spec:
  schedule: "@every 1s"
  command: [/bin/sh, -c, 'echo "$CARILLON_FIRE_ID" >> %s']
  overlap: allow
  timeout: 20s
`, i, trace)
		}
		var out struct{ Results []control.ApplyResult }
		if err := c.ask(ctx, http.MethodPost, c.schedulers[0].api+"/v1/apply?file=jobs.yaml", []byte(b.String()), &out); err != nil {
			return nil, err
		}
	}
	var list struct{ Jobs []job.Job }
	if err := c.get(ctx, "/v1/jobs", &list); err != nil {
		return nil, err
	}
	if len(list.Jobs) != n {
		return nil, fmt.Errorf("%d jobs are registered, want %d", len(list.Jobs), n)
	}
	return list.Jobs, nil
}
