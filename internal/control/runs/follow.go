package runs

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// follower streams the output of a run in flight: of all its tasks side by
// side, and of later attempts when they come.
type follower struct {
	c      *Book
	minion job.MinionID // empty: all
	fn     func(api.OutputLine) error
	// wake tells that a stream has ended; one token is enough.
	wake chan struct{}

	sink sync.Mutex // sink makes fn be called by one goroutine at a time

	mu sync.Mutex
	// mu guards all below.
	streams map[job.TaskID]streamState
	given   map[job.TaskID]*given
	// broken are streams that broke off and have not gone on since; checked are
	// those that were compared with what their task wrote.
	broken  map[job.TaskID]error
	checked map[job.TaskID]bool
	errs    []error
}

// streamState is how far the stream of a task has come. The zero value: it is
// to be begun, perhaps again.
type streamState int

const (
	streamOpen streamState = iota + 1
	streamDone
)

func newFollower(c *Book, minion job.MinionID, fn func(api.OutputLine) error) *follower {
	return &follower{
		c: c, minion: minion, fn: fn, wake: make(chan struct{}, 1),
		streams: map[job.TaskID]streamState{}, given: map[job.TaskID]*given{}, broken: map[job.TaskID]error{}, checked: map[job.TaskID]bool{},
	}
}

// follow returns when the run has ended and all its output is given.
func (f *follower) follow(ctx context.Context, run job.Run) error {
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.watch(gctx, group, run) })
	if err := group.Wait(); err != nil {
		if stop := (*sinkError)(nil); errors.As(err, &stop) {
			return stop.err
		}
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.minion != "" && len(f.streams) == 0 {
		return noTask(run.RunID, f.minion)
	}
	errs := f.errs
	for _, err := range f.broken {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// watch begins a stream for every task and attempt that it sees.
func (f *follower) watch(ctx context.Context, group *errgroup.Group, run job.Run) error {
	tick := time.NewTicker(f.c.pollInterval)
	defer tick.Stop()
	seen := Sighting{Run: run}
	for {
		if open := f.begin(ctx, group, &seen.Run); !open && seen.Run.State.Final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-f.wake:
		}
		if seen.Run.State.Final() {
			continue // only streams are left to wait for
		}
		if err := f.c.LookAgain(ctx, &seen); err != nil {
			return err
		}
	}
}

// begin starts what streams are due, and reports whether any is open.
func (f *follower) begin(ctx context.Context, group *errgroup.Group, run *job.Run) (open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range run.Tasks {
		if f.minion != "" && t.Minion != f.minion {
			continue
		}
		id := job.TaskID{Fire: run.FireID, Minion: t.Minion, Attempt: t.Attempt}
		if f.given[id] == nil {
			f.given[id] = &given{minion: t.Minion, fn: f.give}
		}
		if f.streams[id] == streamDone && t.State.Final() && !f.checked[id] {
			f.checked[id] = true
			if f.given[id].lacks(&t) {
				f.streams[id] = 0
			}
		}
		if f.streams[id] == 0 {
			f.streams[id] = streamOpen
			seen, g := *run, f.given[id]
			group.Go(func() error { return f.one(ctx, &seen, &t, id, g) })
		}
		open = open || f.streams[id] == streamOpen
	}
	return open
}

// give calls the one who receives, by one goroutine at a time.
func (f *follower) give(line api.OutputLine) error {
	f.sink.Lock()
	defer f.sink.Unlock()
	return f.fn(line)
}

// one streams one attempt. While the task goes on, a minion that has nothing of
// it yet is asked again later, and so is one whose stream broke off: it may have
// been started again.
func (f *follower) one(ctx context.Context, run *job.Run, t *job.Task, id job.TaskID, g *given) error {
	err := f.c.stream(ctx, run, t, true, g)
	state := streamDone
	var broken error
	if err != nil && !run.State.Final() && !t.State.Final() && ctx.Err() == nil && !errors.As(err, new(*sinkError)) {
		if g.some() {
			broken = f.c.orRecord(ctx, t, g, err)
		}
		state, err = 0, nil
	} else {
		err = f.c.orRecord(ctx, t, g, err)
	}

	f.mu.Lock()
	f.streams[id] = state
	if delete(f.broken, id); broken != nil {
		f.broken[id] = broken
	}
	stop := ctx.Err() != nil || errors.As(err, new(*sinkError))
	if err != nil && !stop {
		f.errs = append(f.errs, err) // the other minions go on
	}
	f.mu.Unlock()
	if stop {
		return err
	}
	if state == streamDone {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return nil
}
