package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/job"
)

// Output calls fn with what the run's tasks wrote, never from two goroutines at
// once. An empty minion means all tasks, one after another; with follow, side
// by side, through later attempts too, until the run ends.
//
// When a minion cannot give its output, fn gets what the run's record holds,
// and the error says so unless that is all there was. It returns the error of
// fn when fn returns one.
func (c *Control) Output(ctx context.Context, id job.RunID, minion job.MinionID, follow bool, fn func(job.MinionID, OutputChunk) error) error {
	run, err := c.findRun(ctx, id, job.Key{})
	if err != nil {
		return err
	}
	if follow && !run.State.Final() {
		return newFollower(c, minion, fn).follow(ctx, run)
	}
	found := false
	var errs []error
	for i := range run.Tasks {
		t := &run.Tasks[i]
		if minion != "" && t.Minion != minion {
			continue
		}
		found = true
		err := c.taskOutput(ctx, &run, t, fn)
		if stop := (*sinkError)(nil); errors.As(err, &stop) {
			return stop.err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
	}
	if minion != "" && !found {
		return noTask(id, minion)
	}
	return errors.Join(errs...)
}

func noTask(id job.RunID, minion job.MinionID) error {
	return fmt.Errorf("run %s has no task on minion %s: %w", id, minion, job.ErrNotFound)
}

// sinkError is an error of the one who receives output.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// taskOutput gives one task's output: the minion's, or else the record's.
func (c *Control) taskOutput(ctx context.Context, run *job.Run, t *job.Task, fn func(job.MinionID, OutputChunk) error) error {
	sent, err := c.stream(ctx, run, t, false, fn)
	return c.orRecord(ctx, t, sent, err, fn)
}

// stream gives the task's output from its minion, and whether there was any.
func (c *Control) stream(ctx context.Context, run *job.Run, t *job.Task, follow bool, fn func(job.MinionID, OutputChunk) error) (sent bool, err error) {
	if t.Minion == "" || !follow && t.State == job.StatePending {
		return false, nil // never reached one, or not yet
	}
	id := job.TaskID{Fire: run.FireID, Minion: t.Minion, Attempt: t.Attempt}
	err = c.outputs.Output(ctx, id, follow, func(stream int, data []byte) error {
		sent = true
		return sink(t.Minion, fn)(stream, data)
	})
	return sent, err
}

// sink marks the errors of fn.
func sink(m job.MinionID, fn func(job.MinionID, OutputChunk) error) func(int, []byte) error {
	return func(stream int, data []byte) error {
		if len(data) == 0 {
			return nil
		}
		if err := fn(m, OutputChunk{Stream: stream, Data: data}); err != nil {
			return &sinkError{err}
		}
		return nil
	}
}

// orRecord makes good for a stream that ended with err.
func (c *Control) orRecord(ctx context.Context, t *job.Task, sent bool, err error, fn func(job.MinionID, OutputChunk) error) error {
	switch {
	case err == nil || ctx.Err() != nil || errors.As(err, new(*sinkError)):
		return err
	case sent:
		return fmt.Errorf("the output of minion %s broke off: %w", t.Minion, err)
	}
	return recorded(t, err, sink(t.Minion, fn))
}

// recorded gives what the record holds of the task's output, because the minion
// could not give it.
func recorded(t *job.Task, cause error, emit func(stream int, data []byte) error) error {
	for i, out := range []job.Output{t.Stdout, t.Stderr} {
		parts := [][]byte{[]byte(out.Head), nil, []byte(out.Tail)}
		if out.Truncated {
			gap := max(out.Bytes-int64(len(out.Head))-int64(len(out.Tail)), 0)
			parts[1] = fmt.Appendf(nil, "\n[%d bytes are left out here]\n", gap)
		}
		for _, p := range parts {
			if err := emit(i+1, p); err != nil {
				return err
			}
		}
	}
	switch {
	case !t.State.Final():
		return fmt.Errorf("minion %s does not give the output of its task: %w", t.Minion, cause)
	case t.Stdout.Truncated || t.Stderr.Truncated:
		return fmt.Errorf("minion %s does not give its full output; this is the head and the tail that the record holds: %w", t.Minion, cause)
	}
	return nil // the record holds all of it
}
