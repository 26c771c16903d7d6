package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/carillon-cron/carillon/schedule"
	plan "github.com/carillon-cron/carillon/scheduler/timers"
)

// timers compares the processor time per fire of our timer with that of robfig's
// runner, both with no-op jobs that fire once a minute each, spread over its
// seconds.
type timers struct {
	jobs   int
	window time.Duration
}

func (b timers) measure(ctx context.Context, e *env) error {
	var ours, theirs []float64
	side := func(start func(jobs int, fired *atomic.Int64) (func(), error), into *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			ns, err := b.round(ctx, e, start)
			*into = append(*into, ns)
			return err
		}
	}
	if err := e.inTurns(ctx, side(ourTimer, &ours), side(robfigRunner, &theirs)); err != nil {
		return err
	}
	jobs := fmt.Sprintf("a fire, of %d jobs that are due once a minute and do nothing", b.jobs)
	if err := e.report("timer_cpu_ns_per_fire", "ns", ours, jobs); err != nil {
		return err
	}
	if err := e.report("robfig_cpu_ns_per_fire", "ns", theirs, jobs); err != nil {
		return err
	}
	return e.ratio("fires_vs_robfig_cpu", theirs, ours, "less processor time per fire")
}

// round runs one side for a window and returns its processor time per fire, in
// nanoseconds.
func (b timers) round(ctx context.Context, e *env, start func(jobs int, fired *atomic.Int64) (stop func(), err error)) (float64, error) {
	var fired atomic.Int64
	stop, err := start(b.jobs, &fired)
	if err != nil {
		return 0, err
	}
	defer stop()
	any := func(than int64) func() (bool, error) {
		return func() (bool, error) { return fired.Load() > than, nil }
	}
	if err := e.until(ctx, "the first fire", any(0)); err != nil { // the first wake sorts everything
		return 0, err
	}
	before, from := cpuTime(), fired.Load()
	if err := pause(ctx, b.window); err != nil {
		return 0, err
	}
	if err := e.until(ctx, "a fire in the window", any(from)); err != nil {
		return 0, err
	}
	return float64(cpuTime()-before) / float64(fired.Load()-from), nil
}

// planned is a job of which our timer knows no more than when it is due.
type planned struct {
	set   schedule.Set
	timer plan.Timer[*planned]
}

// next returns the first instant after t; plan.Never: there is none.
func (p *planned) next(t int64) int64 {
	at, ok := p.set.Next(time.Unix(0, t))
	if !ok {
		return plan.Never
	}
	return at.UnixNano()
}

// fireDue calls fn for all that is due at now and returns when the next is due; false
// when nothing ever is.
func fireDue(heap *plan.Heap[*planned], now int64, fn func()) (time.Time, bool) {
	for {
		p, at, ok := heap.Top()
		if !ok || at > now {
			return time.Unix(0, at), ok
		}
		fn()
		heap.Set(&p.timer, p.next(at))
	}
}

func ourTimer(jobs int, fired *atomic.Int64) (func(), error) {
	var heap plan.Heap[*planned]
	cache, expr := schedule.NewCache(), spread(60)
	now := time.Now()
	for i := range jobs {
		set, err := cache.ParseSet([]string{expr(i)}, schedule.Options{})
		if err != nil {
			return nil, err
		}
		p := &planned{set: set}
		p.timer.Of = p
		heap.Set(&p.timer, p.next(now.UnixNano()))
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			next, ok := fireDue(&heap, time.Now().UnixNano(), func() { fired.Add(1) })
			if !ok {
				return
			}
			select {
			case <-done:
				return
			case <-time.After(time.Until(next)):
			}
		}
	}()
	return func() { close(done); <-ended }, nil
}

func robfigRunner(jobs int, fired *atomic.Int64) (func(), error) {
	c, expr := cron.New(cron.WithSeconds(), cron.WithLocation(time.UTC)), spread(60)
	for i := range jobs {
		if _, err := c.AddFunc(expr(i), func() { fired.Add(1) }); err != nil {
			return nil, err
		}
	}
	c.Start()
	return func() { <-c.Stop().Done() }, nil
}
