package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler"
)

// timerJobs fire once a minute each, spread over its seconds.
const timerJobs = 100_000

// timerWindow is how long each side runs.
const timerWindow = 10 * time.Second

// timerAgainstRobfig compares the processor time per fire of our timer with
// that of robfig's runner, both with no-op jobs.
func timerAgainstRobfig(ctx context.Context) error {
	ours, n, err := measure(ctx, ourTimer)
	if err != nil {
		return err
	}
	report("timer_cpu_ns_per_fire", ours, fmt.Sprintf("ns (%d fires)", n))
	theirs, n, err := measure(ctx, robfigRunner)
	if err != nil {
		return err
	}
	report("robfig_cpu_ns_per_fire", theirs, fmt.Sprintf("ns (%d fires)", n))
	report("fires_vs_robfig_cpu", theirs/ours, "times less CPU per fire")
	return nil
}

// measure runs one side for a window and returns its processor time per fire.
func measure(ctx context.Context, start func(fired *atomic.Int64) (stop func(), err error)) (float64, int64, error) {
	var fired atomic.Int64
	stop, err := start(&fired)
	if err != nil {
		return 0, 0, err
	}
	defer stop()
	time.Sleep(time.Second) // settle: the first wake sorts everything
	before, from := cpuTime(), fired.Load()
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(timerWindow):
	}
	n := fired.Load() - from
	if n == 0 {
		return 0, 0, fmt.Errorf("nothing fired in %v", timerWindow)
	}
	return float64(cpuTime()-before) / float64(n), n, nil
}

// cpuTime returns the processor time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func expression(i int) string { return fmt.Sprintf("%d * * * * *", i%60) }

func ourTimer(fired *atomic.Int64) (func(), error) {
	var p scheduler.PlanTimer
	cache := schedule.NewCache()
	now := time.Now()
	for i := range timerJobs {
		set, err := cache.ParseSet([]string{expression(i)}, schedule.Options{})
		if err != nil {
			return nil, err
		}
		p.Add(set, now)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			next, ok := p.Fire(time.Now(), func() { fired.Add(1) })
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

func robfigRunner(fired *atomic.Int64) (func(), error) {
	c := cron.New(cron.WithSeconds(), cron.WithLocation(time.UTC))
	for i := range timerJobs {
		if _, err := c.AddFunc(expression(i), func() { fired.Add(1) }); err != nil {
			return nil, err
		}
	}
	c.Start()
	return func() { <-c.Stop().Done() }, nil
}
