package fakeetcd

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Faults say what may happen to a client's requests. Probabilities are of one
// request each, from 0 to 1. The zero value: nothing happens, in no time.
type Faults struct {
	// MinDelay and MaxDelay bound the time of each way, there and back.
	MinDelay, MaxDelay time.Duration
	// Refuse: the request fails at once and does nothing.
	Refuse float64
	// LoseRequest: the request never arrives; LoseAnswer: it is done, and its
	// answer never arrives. Either way the client waits until it gives up.
	LoseRequest, LoseAnswer float64
	// Ambiguous: the request fails with a time-out of the server's; whether it
	// is done is tossed for.
	Ambiguous float64
	// Stall: the request is held up for up to StallFor before it arrives.
	Stall    float64
	StallFor time.Duration
	// Break: the connection breaks, and with it the client's watches.
	Break float64
}

// Partition is what does not get through.
type Partition int

// The partitions of a link.
const (
	Whole     Partition = iota // all gets through
	NoAnswers                  // requests arrive, answers do not
	Cut                        // nothing gets through
)

// deadAfter is how long a client takes to find out that nothing comes back.
const deadAfter = 5 * time.Second

// refuseDelay is how long a refusal takes; a client that tries again at once
// must not stop a virtual clock.
const refuseDelay = time.Millisecond

var errConnection = status.Error(codes.Unavailable, "fakeetcd: the connection is gone")

// Link is a client's way to the server. Its methods may be called by many
// goroutines.
type Link struct {
	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	faults Faults
	state  *linkState
}

// linkState is how a link is until changed is closed.
type linkState struct {
	partition Partition
	since     time.Time
	// conn counts the connections; one that broke is followed by the next.
	conn    int
	changed chan struct{}
}

func newLink(seed uint64) *Link {
	return &Link{
		rng:   rand.New(rand.NewPCG(seed, 0x6661_6b65)),
		state: &linkState{changed: make(chan struct{})},
	}
}

// Set says what happens from now on.
func (l *Link) Set(f Faults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = f
}

// Partition cuts the link, or makes it whole.
func (l *Link) Partition(p Partition) {
	l.become(func(s *linkState) { s.partition, s.since = p, time.Now() })
}

// Break ends the connection: watches are resumed over the next one.
func (l *Link) Break() { l.become(func(s *linkState) { s.conn++ }) }

func (l *Link) become(change func(*linkState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.state
	change(&next)
	next.changed = make(chan struct{})
	close(l.state.changed)
	l.state = &next
}

func (l *Link) current() *linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// dead reports whether a cut link has been found to be cut.
func (s *linkState) dead() bool { return s.partition != Whole && s.breaksIn() <= 0 }

// breaksIn returns how long a stream still hangs on a cut link; 0 on a whole one.
func (s *linkState) breaksIn() time.Duration {
	if s.partition == Whole {
		return 0
	}
	return deadAfter - time.Since(s.since)
}

// delay draws the time of one way.
func (l *Link) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.way()
}

func (l *Link) way() time.Duration {
	d := l.faults.MinDelay
	if more := l.faults.MaxDelay - d; more > 0 {
		d += time.Duration(l.rng.Int64N(int64(more)))
	}
	return d
}

// fate is what becomes of a request.
type fate struct {
	there, back time.Duration
	refused     bool
	noRequest   bool
	noAnswer    bool
	ambiguous   bool
	snaps       bool
}

func (l *Link) draw() fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := fate{there: l.way(), back: l.way()}
	p := l.rng.Float64()
	hit := func(q float64) bool {
		p -= q
		return p < 0 && p+q >= 0
	}
	switch {
	case hit(l.faults.Refuse):
		f.refused = true
	case hit(l.faults.LoseRequest):
		f.noRequest = true
	case hit(l.faults.LoseAnswer):
		f.noAnswer = true
	case hit(l.faults.Ambiguous):
		f.ambiguous, f.noRequest = true, l.rng.IntN(2) == 0
	case hit(l.faults.Stall):
		f.there += time.Duration(l.rng.Int64N(max(1, int64(l.faults.StallFor))))
	case hit(l.faults.Break):
		f.snaps = true
	}
	return f
}

// connect opens a stream, and returns the connection that carries it.
func (l *Link) connect(ctx context.Context) (int, error) {
	f, state := l.draw(), l.current()
	switch {
	case state.partition != Whole:
		return 0, l.fail(ctx, time.Second, errConnection)
	case f.refused || f.snaps:
		return 0, l.fail(ctx, refuseDelay+f.there, errConnection)
	}
	return state.conn, nil
}

// fail waits, then returns the error, or the context's.
func (l *Link) fail(ctx context.Context, after time.Duration, err error) error {
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-t.C:
		return err
	}
}

type answer[T any] struct {
	value T
	err   error
}

// call carries a request over a link. apply does it, once; when the client has
// given up, it may be done yet.
func call[T any](ctx context.Context, l *Link, apply func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, status.FromContextError(err).Err()
	}
	f := l.draw()
	if f.snaps {
		l.Break()
	}
	if f.refused {
		return zero, l.fail(ctx, refuseDelay+f.there, errConnection)
	}
	if f == (fate{}) && l.current().partition == Whole {
		return apply()
	}
	got := make(chan answer[T], 1)
	arrive := func() {
		if f.noRequest || l.current().partition == Cut {
			return
		}
		v, err := apply()
		if f.noAnswer || f.ambiguous {
			return
		}
		time.AfterFunc(f.back, func() {
			if l.current().partition == Whole {
				got <- answer[T]{v, err}
			}
		})
	}
	time.AfterFunc(f.there, arrive)
	patience := deadAfter
	err := errConnection
	switch {
	case f.ambiguous:
		patience, err = f.there+f.back+refuseDelay, rpctypes.ErrGRPCTimeout
	case f.snaps:
		patience = f.there + f.back/2 + refuseDelay
	case f.there > patience/2:
		patience += f.there
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case a := <-got:
		return a.value, a.err
	case <-ctx.Done():
		return zero, status.FromContextError(ctx.Err()).Err()
	case <-t.C:
		return zero, err
	}
}
