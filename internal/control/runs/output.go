package runs

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Output calls fn with what the run's tasks wrote, never from two goroutines at
// once. An empty minion means all tasks, one after another; with follow, side
// by side, through later attempts and restarts of minions too, until the run
// ends. Where something is missing, fn gets a chunk that says how much.
//
// When a minion cannot give its output, fn gets what the run's record holds,
// and the error says so unless that is all there was. It returns the error of
// fn when fn returns one.
func (book *Book) Output(ctx context.Context, id job.RunID, minion job.MinionID, follow bool, fn func(api.OutputLine) error) error {
	run, err := book.FindRun(ctx, id, job.Key{})
	if err != nil {
		return err
	}
	if follow && !run.State.Final() {
		return newFollower(book, minion, fn).follow(ctx, run)
	}
	found := false
	var errs []error
	for i := range run.Tasks {
		t := &run.Tasks[i]
		if minion != "" && t.Minion != minion {
			continue
		}
		found = true
		g := &given{minion: t.Minion, fn: fn}
		err := book.orRecord(ctx, t, g, book.stream(ctx, &run, t, false, g))
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

// given is how far the streams of a task have been given to whom they are for.
// Output may be read anew, from its beginning: what was given is not given again.
type given struct {
	minion job.MinionID
	fn     func(api.OutputLine) error
	// far is how many bytes of each stream were given, or told to be missing, at
	// how far the present reading is.
	far, at [3]int64
}

// rewind begins another reading.
func (g *given) rewind() { g.at = [3]int64{} }

// some reports whether anything was given.
func (g *given) some() bool { return g.far != [3]int64{} }

// lacks reports whether a task wrote more than was given.
func (g *given) lacks(t *job.Task) bool {
	return g.far[1] < t.Stdout.Bytes || g.far[2] < t.Stderr.Bytes
}

// take gives what is new of a piece, and marks the errors of who receives it.
func (g *given) take(stream int, data []byte, leftOut int64) error {
	if stream < 1 || stream > 2 {
		return nil
	}
	if leftOut > 0 {
		end := g.at[stream] + leftOut
		leftOut, g.at[stream] = end-max(g.at[stream], g.far[stream]), end
		g.far[stream] = max(g.far[stream], end)
	}
	if n := int64(len(data)); n > 0 {
		end := g.at[stream] + n
		data = data[min(max(g.far[stream]-g.at[stream], 0), n):]
		g.at[stream], g.far[stream] = end, max(g.far[stream], end)
	}
	if len(data) == 0 && leftOut <= 0 {
		return nil
	}
	if err := g.fn(api.OutputLine{Minion: g.minion, Stream: stream, Data: data, LeftOut: max(leftOut, 0)}); err != nil {
		return &sinkError{err}
	}
	return nil
}

// errOutputGone is why a minion gives less than a task wrote.
var errOutputGone = errors.New("it has not kept all of it")

// stream gives the task's output from its minion.
func (book *Book) stream(ctx context.Context, run *job.Run, t *job.Task, follow bool, g *given) error {
	if t.Minion == "" || !follow && t.State == job.StatePending {
		return nil // never reached one, or not yet
	}
	g.rewind()
	id := job.TaskID{Fire: run.FireID, Minion: t.Minion, Attempt: t.Attempt}
	if err := book.outputs.Output(ctx, id, follow, g.take); err != nil {
		return err
	}
	if t.State.Final() && g.lacks(t) {
		return errOutputGone
	}
	return nil
}

// orRecord makes good for a stream that ended with err.
func (book *Book) orRecord(ctx context.Context, t *job.Task, g *given, err error) error {
	switch {
	case err == nil || ctx.Err() != nil || errors.As(err, new(*sinkError)):
		return err
	case t.State.Final() && (t.State != job.StateIndeterminate || g.lacks(t)):
		return recorded(t, err, g)
	case g.some():
		return fmt.Errorf("the output of minion %s broke off: %w", t.Minion, err)
	}
	return fmt.Errorf("minion %s does not give the output of its task: %w", t.Minion, err)
}

// recorded gives what the record holds of the task's output, because the minion
// could not give it.
func recorded(t *job.Task, cause error, g *given) error {
	g.rewind()
	cut := false
	for i, out := range []job.Output{t.Stdout, t.Stderr} {
		stream := i + 1
		if g.far[stream] > 0 && !out.Exact() {
			if g.far[stream] < out.Bytes {
				return fmt.Errorf("the output of minion %s broke off: %w", t.Minion, cause)
			}
			continue
		}
		before := max(g.far[stream], int64(len(out.Head)))
		left := out.LeftOut()
		cut = cut || left > 0 && before < int64(len(out.Head))+left
		for _, p := range []struct {
			text string
			left int64
		}{{out.Head, 0}, {"", left}, {out.Tail, 0}} {
			if err := g.take(stream, []byte(p.text), p.left); err != nil {
				return err
			}
		}
	}
	if cut {
		return fmt.Errorf("minion %s does not give its full output; this is the head and the tail that the record holds: %w", t.Minion, cause)
	}
	return nil // the record holds all of the rest
}
