package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"time"
)

// command is a real program that does nothing.
const command = "/bin/true"

// commands measures how many real programs a second run all the way: committed,
// sent to a minion, journaled, started by its supervisor, their output kept,
// reported, and in history. The baseline starts as many by os/exec. In a round so
// many jobs are due in the same instant.
type commands struct{ count int }

func (b commands) measure(ctx context.Context, e *env) error {
	f, minion, err := startCluster(ctx, e, 1, busySettings(), false)
	if err != nil {
		return err
	}
	defer f.close()
	defer minion.kill()
	if _, err := b.ours(ctx, f, "warm-up"); err != nil {
		return err
	}
	var ours, bare []float64
	if err := e.inTurns(ctx,
		func(ctx context.Context) error {
			rate, err := b.ours(ctx, f, fmt.Sprintf("round-%d", len(ours)))
			ours = append(ours, rate)
			return err
		},
		func(ctx context.Context) error {
			rate, err := b.bare(ctx)
			bare = append(bare, rate)
			return err
		},
	); err != nil {
		return err
	}
	if err := e.report("commands_per_s", "commands/s", ours, fmt.Sprintf(
		"from the instant of %d jobs to their last record in history, each of which runs %s; one node, one minion, mutual TLS", b.count, command)); err != nil {
		return err
	}
	if err := e.report("commands_exec_per_s", "commands/s", bare, fmt.Sprintf(
		"as many of them by bare os/exec, output in a buffer, %d at a time", execAtOnce())); err != nil {
		return err
	}
	return e.ratio("commands_vs_exec", ours, bare, "of the rate of bare os/exec")
}

// ours runs one round of jobs in a namespace.
func (b commands) ours(ctx context.Context, f *farm, namespace string) (float64, error) {
	before, err := f.results(ctx)
	if err != nil {
		return 0, err
	}
	jobs := jobsOf{namespace: namespace, count: b.count, command: []string{command}}
	at := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(time.Second).UTC() // once all are stored
	jobs.expr = always("@at " + at.Format(time.RFC3339))
	if err := jobs.put(ctx, f.etcd.Client); err != nil {
		return 0, err
	}
	var ended time.Time
	if err := f.env.until(ctx, "all commands are in history", func() (bool, error) {
		now, err := f.results(ctx)
		if err != nil {
			return false, err
		}
		ended = time.Now()
		since := now.since(&before)
		return since.succeeded >= float64(b.count) && since.written >= float64(b.count), since.check()
	}); err != nil {
		return 0, err
	}
	if err := jobs.remove(ctx, f.etcd.Client); err != nil {
		return 0, err
	}
	return float64(b.count) / ended.Sub(at).Seconds(), nil
}

// execAtOnce is how many programs the baseline has at a time.
func execAtOnce() int { return 2 * runtime.GOMAXPROCS(0) }

// bare starts as many programs, and waits for them.
func (b commands) bare(ctx context.Context) (float64, error) {
	begun := time.Now()
	errs := make(chan error, execAtOnce())
	work := make(chan struct{}, b.count)
	for range b.count {
		work <- struct{}{}
	}
	close(work)
	for range execAtOnce() {
		go func() {
			for range work {
				cmd := exec.CommandContext(ctx, command)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Run(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range execAtOnce() {
		if err := <-errs; err != nil {
			return 0, fmt.Errorf("%s: %w", command, err)
		}
	}
	return float64(b.count) / time.Since(begun).Seconds(), nil
}
