package shared

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Asker brings requests to the cluster, as the socket of a minion does.
type Asker interface {
	// Ask returns the answer, or why there is none.
	Ask(ctx context.Context, r Request) (Answer, error)
}

// State is what the tasks of a run share. It may be used by many goroutines. Use Connect,
// or Call.Shared of a handler.
type State struct {
	asker Asker
	scope string
	close func() error
}

// New returns the state that an Asker brings.
func New(a Asker) *State { return &State{asker: a, close: func() error { return nil }} }

// OfJob returns what all runs of the job share, instead: it stays until the job is deleted.
func (s *State) OfJob() *State { return &State{asker: s.asker, scope: ScopeJob, close: s.close} }

// Close ends the connection that Connect has made.
func (s *State) Close() error { return s.close() }

// Do asks for what a request says. The error is that of the answer, if there is one.
func (s *State) Do(ctx context.Context, r Request) (Answer, error) {
	if r.Scope == "" {
		r.Scope = s.scope
	}
	if err := r.Check(); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	a, err := s.asker.Ask(ctx, r)
	if err != nil {
		return a, err
	}
	return a, a.Err()
}

// Get returns an entry. Without one the error is ErrNotFound.
func (s *State) Get(ctx context.Context, key string) (Entry, error) {
	a, err := s.Do(ctx, Request{Op: OpGet, Key: key})
	return Entry{key, a.Value, a.Version}, err
}

// List returns the entries whose keys begin with a prefix, sorted by their keys.
func (s *State) List(ctx context.Context, prefix string) ([]Entry, error) {
	a, err := s.Do(ctx, Request{Op: OpList, Key: prefix})
	return a.Entries, err
}

// Set writes an entry, and returns its version.
func (s *State) Set(ctx context.Context, key, value string) (int64, error) {
	a, err := s.Do(ctx, Request{Op: OpSet, Key: key, Value: value})
	return a.Version, err
}

// CAS writes an entry if it has a version; 0: if there is none. If not, the error is
// ErrConflict, and the entry is the one that is there.
func (s *State) CAS(ctx context.Context, key string, version int64, value string) (Entry, error) {
	a, err := s.Do(ctx, Request{Op: OpCAS, Key: key, Version: version, Value: value})
	if err == nil {
		a.Value = value
	}
	return Entry{key, a.Value, a.Version}, err
}

// Delete removes an entry. Without one the error is ErrNotFound.
func (s *State) Delete(ctx context.Context, key string) error {
	_, err := s.Do(ctx, Request{Op: OpDelete, Key: key})
	return err
}

// Incr adds to a counter, which begins with 0, and returns what it comes to.
func (s *State) Incr(ctx context.Context, key string, by int64) (int64, error) {
	a, err := s.Do(ctx, Request{Op: OpIncr, Key: key, Delta: by})
	if err != nil {
		return 0, err
	}
	var n int64
	if _, err := fmt.Sscan(a.Value, &n); err != nil {
		return 0, fmt.Errorf("counter %s: %w", key, err)
	}
	return n, nil
}

// Watch waits until an entry has another version than the one that is known, and returns
// it; 0: there was none. One that was deleted has version 0. It waits for as long as ctx
// or the task goes on.
func (s *State) Watch(ctx context.Context, key string, known int64) (Entry, error) {
	a, err := s.Do(ctx, Request{Op: OpWatch, Key: key, Version: known, Timeout: left(ctx, 0)})
	return Entry{key, a.Value, a.Version}, timedOut(ctx, err)
}

// BarrierOption is a setting of a barrier.
type BarrierOption func(*Request)

// Tasks has a barrier wait for n tasks, instead of all of the run. All that come to it must
// say the same.
func Tasks(n int) BarrierOption { return func(r *Request) { r.Count = n } }

// Within has the wait end after d, with ErrTimeout.
func Within(d time.Duration) BarrierOption { return func(r *Request) { r.Timeout = d.Seconds() } }

// Barrier waits until all tasks of the run have come to the barrier of this name, each of
// which opens once and stays open. The error is ErrBroken when that can never be, since one
// has ended before, and ErrTimeout when this task has waited for too long.
func (s *State) Barrier(ctx context.Context, name string, options ...BarrierOption) error {
	r := Request{Op: OpBarrier, Key: name, Scope: ScopeRun}
	for _, o := range options {
		o(&r)
	}
	r.Timeout = left(ctx, r.Timeout)
	_, err := s.Do(ctx, r)
	return timedOut(ctx, err)
}

// left is how many seconds there are until shortly before ctx ends, so that it is told how
// far the others are, or as many as are given, if those are fewer.
func left(ctx context.Context, given float64) float64 {
	end, ok := ctx.Deadline()
	if !ok {
		return given
	}
	s := time.Until(end).Seconds()
	if s = max(s-min(0.25, s/10), 0.001); given == 0 || s < given {
		return min(s, MaxWait.Seconds())
	}
	return given
}

// timedOut has who waits for a context see that it has ended.
func timedOut(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}
