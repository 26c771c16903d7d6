// Package queuetest holds the one suite that every typed queue passes.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Queue is what the suite tests.
type Queue interface {
	Put(ctx context.Context, items ...queue.Item) ([]string, error)
	Claim(ctx context.Context, w queue.Worker, n int) ([]queue.Claimed, error)
	Done(ctx context.Context, r queue.Receipt) error
	Fail(ctx context.Context, r queue.Receipt, reason string) error
	Extend(ctx context.Context, r queue.Receipt) error
	Stats(ctx context.Context) (queue.Stats, error)
	Dead(ctx context.Context, after *queue.Dead, limit int) ([]queue.Dead, error)
	Redrive(ctx context.Context, priority int, id string) error
}

// Attempts is how often the queues under test try an item.
const Attempts = 3

// Backoff is how long they let an item wait that failed.
const Backoff = time.Millisecond

// Subject is an empty queue under test with a dispatcher that runs.
type Subject struct {
	Queue Queue
	// Worker makes a worker with a lease of its own.
	Worker func(t T) queue.Worker
	// Lose ends a worker's lease.
	Lose func(t T, w queue.Worker)
	// Restart replaces the dispatcher by a new one.
	Restart func(t T)
	// Sync waits until the dispatcher knows all that has happened.
	Sync func(t T)
}

// T is what *testing.T and *rapid.T have in common.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// TestQueue runs the suite. open is called once per test; visibility is what
// the queue must be configured with.
func TestQueue(t *testing.T, open func(t *testing.T, visibility time.Duration) Subject) {
	tests := map[string]struct {
		visibility time.Duration
		run        func(*testing.T, Subject)
	}{
		"Q1_WorkIsDoneOnce":            {time.Minute, testOnce},
		"Q2_OneClaimAtATime":           {time.Minute, testOneClaim},
		"Q3_LateWorkerIsRefused":       {time.Minute, testLate},
		"Q5_Order":                     {time.Minute, testOrder},
		"Q5_LostWorkIsFirstInLine":     {time.Minute, testFirstInLine},
		"Q6_DeadLetters":               {time.Minute, testDead},
		"Q6_LostWorkersCountAsAttempt": {time.Minute, testDeadByLoss},
		"Q7_Restart":                   {time.Minute, testRestart},
		"Q8_PutIsIdempotent":           {time.Minute, testIdempotent},
		"Q8_IDIsThereOnce":             {time.Minute, testOneID},
		"ClaimWaits":                   {time.Minute, testClaimWaits},
		"NotBefore":                    {time.Minute, testNotBefore},
		"VisibilityDeadline":           {visibility, testVisibility},
		"BadInput":                     {time.Minute, testBadInput},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, test.visibility))
		})
	}
}

func (s Subject) put(t *testing.T, items ...queue.Item) []string {
	t.Helper()
	ids, err := s.Queue.Put(t.Context(), items...)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	s.Sync(t)
	return ids
}

// claim claims up to n items, at least one.
func (s Subject) claim(t *testing.T, w queue.Worker, n int) []queue.Claimed {
	t.Helper()
	got, err := s.Queue.Claim(t.Context(), w, n)
	if err != nil {
		t.Fatalf("claim for %s: %v", w.ID, err)
	}
	return got
}

func ids(claimed []queue.Claimed) []string {
	var list []string
	for i := range claimed {
		list = append(list, claimed[i].ID)
	}
	return list
}

func (s Subject) wantStats(t *testing.T, want queue.Stats) {
	t.Helper()
	await.Missing(t, missing(s.Queue, want))
}

// missing looks whether the queue counts as is wanted.
func missing(q Queue, want queue.Stats) func() string {
	return func() string {
		got, err := q.Stats(context.Background())
		if err != nil {
			return fmt.Sprintf("stats: %v", err)
		}
		if got != want {
			return fmt.Sprintf("stats are %+v, want %+v", got, want)
		}
		return ""
	}
}

func testOnce(t *testing.T, s Subject) {
	const items, workers = 300, 8
	var all []queue.Item
	for i := range items {
		all = append(all, queue.Item{ID: fmt.Sprintf("item-%03d", i), Priority: i % 10, Payload: []byte(fmt.Sprint(i))})
	}
	var mu sync.Mutex
	done := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range workers {
		w := s.Worker(t)
		wg.Go(func() {
			for {
				got, err := s.Queue.Claim(ctx, w, i+1)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("claim: %v", err)
					}
					return
				}
				for _, c := range got {
					if err := s.Queue.Done(t.Context(), c.Receipt); err != nil {
						t.Errorf("done: %v", err)
					}
					mu.Lock()
					done[c.ID+"="+string(c.Payload)]++
					if len(done) == items {
						cancel()
					}
					mu.Unlock()
				}
			}
		})
	}
	for chunk := range slices.Chunk(all, 70) {
		if _, err := s.Queue.Put(t.Context(), chunk...); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	wg.Wait()
	for i := range all {
		if n := done[all[i].ID+"="+string(all[i].Payload)]; n != 1 {
			t.Errorf("%s was done %d times", all[i].ID, n)
		}
	}
	s.wantStats(t, queue.Stats{})
}

func testOneClaim(t *testing.T, s Subject) {
	a, b := s.Worker(t), s.Worker(t)
	s.put(t, queue.Item{ID: "x"})
	first := s.claim(t, a, 5)
	s.put(t, queue.Item{ID: "y"}) // else the next claim waits
	if got := ids(s.claim(t, b, 5)); !slices.Equal(got, []string{"y"}) {
		t.Errorf("claimed %v, want y alone: x is claimed", got)
	}
	s.wantStats(t, queue.Stats{InFlight: 2})
	if err := s.Queue.Done(t.Context(), first[0].Receipt); err != nil {
		t.Errorf("done: %v", err)
	}
}

func testLate(t *testing.T, s Subject) {
	a, b := s.Worker(t), s.Worker(t)
	s.put(t, queue.Item{ID: "x"})
	old := s.claim(t, a, 1)[0]
	refused := func(when string) {
		t.Helper()
		for what, call := range map[string]func() error{
			"done":   func() error { return s.Queue.Done(t.Context(), old.Receipt) },
			"fail":   func() error { return s.Queue.Fail(t.Context(), old.Receipt, "late") },
			"extend": func() error { return s.Queue.Extend(t.Context(), old.Receipt) },
		} {
			if err := call(); !errors.Is(err, queue.ErrLost) || !errors.Is(err, job.ErrConflict) {
				t.Errorf("%s %s: error %v, want %v", what, when, err, queue.ErrLost)
			}
		}
	}
	s.Lose(t, a)
	refused("after the lease has ended")
	now := s.claim(t, b, 1)[0]
	if !old.Token.Less(now.Token) {
		t.Errorf("token %s follows %s", now.Token, old.Token)
	}
	refused("while another worker has the item")
	if err := s.Queue.Done(t.Context(), now.Receipt); err != nil {
		t.Errorf("done: %v", err)
	}
	refused("after another worker has done it")
	s.wantStats(t, queue.Stats{})
}

func testOrder(t *testing.T, s Subject) {
	for _, it := range []queue.Item{
		{ID: "low", Priority: 0}, {ID: "mid-2", Priority: 5}, {ID: "mid-1", Priority: 5}, {ID: "high", Priority: 9}, {ID: "mid-3", Priority: 5},
	} {
		s.put(t, it)
	}
	w := s.Worker(t)
	got := append(ids(s.claim(t, w, 3)), ids(s.claim(t, w, 10))...)
	if want := []string{"high", "mid-2", "mid-1", "mid-3", "low"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func testFirstInLine(t *testing.T, s Subject) {
	a, b := s.Worker(t), s.Worker(t)
	s.put(t, queue.Item{ID: "1"}, queue.Item{ID: "2"})
	s.put(t, queue.Item{ID: "3"}, queue.Item{ID: "4"})
	if got := ids(s.claim(t, a, 2)); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("claimed %v", got)
	}
	s.put(t, queue.Item{ID: "5"})
	s.Lose(t, a)
	s.Sync(t)
	got := s.claim(t, b, 10)
	if want := []string{"1", "2", "3", "4", "5"}; !slices.Equal(ids(got), want) {
		t.Errorf("order %v, want %v", ids(got), want)
	}
	if got[0].Attempt != 2 || got[2].Attempt != 1 {
		t.Errorf("attempts %d and %d, want 2 and 1", got[0].Attempt, got[2].Attempt)
	}
	s.put(t, queue.Item{ID: "6"})
	if _, err := s.Queue.Claim(t.Context(), a, 1); !errors.Is(err, queue.ErrWorkerLost) {
		t.Errorf("claim without a lease: %v, want %v", err, queue.ErrWorkerLost)
	}
	if got := s.claim(t, b, 1)[0]; got.ID != "6" || got.Attempt != 1 {
		t.Errorf("then claimed %s in attempt %d", got.ID, got.Attempt)
	}
}

func testDead(t *testing.T, s Subject) {
	w := s.Worker(t)
	s.put(t, queue.Item{ID: "x", Priority: 3, Payload: []byte("load")}, queue.Item{ID: "y", Priority: 4})
	for range 2 * Attempts {
		for _, c := range s.claim(t, w, 1) {
			if err := s.Queue.Fail(t.Context(), c.Receipt, fmt.Sprintf("reason %d", c.Attempt)); err != nil {
				t.Fatalf("fail: %v", err)
			}
			s.Sync(t)
		}
	}
	s.wantStats(t, queue.Stats{Dead: 2})
	first, err := s.Queue.Dead(t.Context(), nil, 1)
	if err != nil || len(first) != 1 || first[0].ID != "y" {
		t.Fatalf("dead letters %+v, %v", first, err)
	}
	rest, err := s.Queue.Dead(t.Context(), &first[0], 10)
	if err != nil || len(rest) != 1 {
		t.Fatalf("more dead letters %+v, %v", rest, err)
	}
	if d := rest[0]; d.ID != "x" || d.Priority != 3 || string(d.Payload) != "load" || d.Attempts != Attempts || d.Reason != "reason 3" || d.At.IsZero() {
		t.Errorf("dead letter %+v", d)
	}
	if err := s.Queue.Redrive(t.Context(), 3, "x"); err != nil {
		t.Fatalf("redrive: %v", err)
	}
	if err := s.Queue.Redrive(t.Context(), 3, "x"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("redrive again: error %v, want %v", err, job.ErrNotFound)
	}
	got := s.claim(t, w, 1)[0]
	if got.ID != "x" || got.Attempt != 1 || string(got.Payload) != "load" {
		t.Errorf("claimed %+v", got)
	}
	s.wantStats(t, queue.Stats{InFlight: 1, Dead: 1})
}

func testDeadByLoss(t *testing.T, s Subject) {
	s.put(t, queue.Item{ID: "x"})
	for range Attempts {
		w := s.Worker(t)
		s.claim(t, w, 1)
		s.Lose(t, w)
	}
	s.wantStats(t, queue.Stats{Dead: 1})
	dead, err := s.Queue.Dead(t.Context(), nil, 10)
	if err != nil || len(dead) != 1 || dead[0].Attempts != Attempts || dead[0].Reason == "" {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
}

func testRestart(t *testing.T, s Subject) {
	a, b := s.Worker(t), s.Worker(t)
	for i := range 6 {
		s.put(t, queue.Item{ID: fmt.Sprint(i), Priority: 6 - i})
	}
	held := s.claim(t, a, 2)
	lost := s.claim(t, b, 1)
	s.Restart(t)
	s.Sync(t)
	if err := s.Queue.Done(t.Context(), held[0].Receipt); err != nil {
		t.Errorf("done across a restart: %v", err)
	}
	s.Lose(t, b)
	s.Restart(t)
	s.Sync(t)
	got := s.claim(t, s.Worker(t), 10)
	if want := []string{lost[0].ID, "3", "4", "5"}; !slices.Equal(ids(got), want) {
		t.Errorf("after restarts claimed %v, want %v", ids(got), want)
	}
	if err := s.Queue.Done(t.Context(), held[1].Receipt); err != nil {
		t.Errorf("done across two restarts: %v", err)
	}
}

func testIdempotent(t *testing.T, s Subject) {
	w := s.Worker(t)
	s.put(t, queue.Item{ID: "x", Payload: []byte("first")}, queue.Item{ID: "x", Payload: []byte("twice in a batch")})
	c := s.claim(t, w, 1)[0]
	s.put(t, queue.Item{ID: "x", Payload: []byte("second")}, queue.Item{ID: "y"})
	s.wantStats(t, queue.Stats{Waiting: 1, InFlight: 1})
	if err := s.Queue.Extend(t.Context(), c.Receipt); err != nil {
		t.Errorf("the claim was disturbed: %v", err)
	}
	for range Attempts {
		if err := s.Queue.Fail(t.Context(), c.Receipt, "no"); err != nil {
			t.Fatalf("fail: %v", err)
		}
		s.Sync(t)
		if c.Attempt < Attempts {
			// y is behind x, unless x waits still.
			for c = s.claim(t, w, 1)[0]; c.ID != "x"; c = s.claim(t, w, 1)[0] {
			}
		}
	}
	s.put(t, queue.Item{ID: "x", Payload: []byte("third")})
	dead, err := s.Queue.Dead(t.Context(), nil, 10)
	if err != nil || len(dead) != 1 || string(dead[0].Payload) != "first" {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
	if st, err := s.Queue.Stats(t.Context()); err != nil || st.Waiting+st.InFlight != 1 {
		t.Errorf("stats are %+v, %v; want y alone beside the dead letter", st, err)
	}
	fresh := s.put(t, queue.Item{}, queue.Item{})
	if len(fresh) != 2 || fresh[0] == "" || fresh[0] == fresh[1] {
		t.Errorf("ids %q", fresh)
	}
}

func testClaimWaits(t *testing.T, s Subject) {
	w := s.Worker(t)
	got := make(chan []string)
	go func() {
		c, err := s.Queue.Claim(t.Context(), w, 1)
		if err != nil {
			t.Errorf("claim: %v", err)
		}
		got <- ids(c)
	}()
	s.put(t, queue.Item{ID: "x"})
	if list := <-got; !slices.Equal(list, []string{"x"}) {
		t.Errorf("claimed %v", list)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	if _, err := s.Queue.Claim(ctx, w, 1); !errors.Is(err, cause) {
		t.Errorf("claim on an empty queue: %v, want the context's cause", err)
	}
}

func testNotBefore(t *testing.T, s Subject) {
	s.put(t, queue.Item{ID: "much-later", Priority: 9, NotBefore: time.Now().Add(time.Hour)}, queue.Item{ID: "now"})
	w := s.Worker(t)
	if got := ids(s.claim(t, w, 5)); !slices.Equal(got, []string{"now"}) {
		t.Errorf("claimed %v, want now", got)
	}
	due := time.Now().Add(400 * time.Millisecond)
	s.put(t, queue.Item{ID: "later", NotBefore: due})
	if got := ids(s.claim(t, w, 5)); !slices.Equal(got, []string{"later"}) || time.Now().Before(due) {
		t.Errorf("claimed %v at %s, want later at %s", got, time.Now(), due)
	}
}

// visibility is how long a claim lasts in testVisibility.
const visibility = 500 * time.Millisecond

func testVisibility(t *testing.T, s Subject) {
	// A machine may be too busy to extend a claim in time: then there is nothing to see.
	for round := 0; !extended(t, s, fmt.Sprint("-", round)); round++ {
		t.Log("not extended in time; again")
	}
}

// extended extends one of two claims, and holds what becomes of both against the
// protocol. It returns false if it came too late at least once.
func extended(t *testing.T, s Subject, suffix string) bool {
	t.Helper()
	a, b := s.Worker(t), s.Worker(t)
	s.put(t, queue.Item{ID: "kept" + suffix, Priority: 2}, queue.Item{ID: "stuck" + suffix, Priority: 1})
	last := time.Now()
	held := s.claim(t, a, 2)
	got := make(chan []queue.Claimed, 1)
	go func() {
		c, err := s.Queue.Claim(t.Context(), b, 2)
		if err != nil {
			t.Errorf("claim what is stuck: %v", err)
		}
		got <- c
	}()
	var second []queue.Claimed
	inTime := true
	for second == nil {
		now := time.Now()
		err := s.Queue.Extend(t.Context(), held[0].Receipt)
		inTime = inTime && time.Since(last) < visibility
		last = now
		if err != nil && inTime {
			t.Errorf("extend: %v", err)
		}
		select {
		case second = <-got:
		default:
		}
	}
	last, kept := time.Now(), s.Queue.Done(t.Context(), held[0].Receipt)
	if inTime = inTime && time.Since(last) < visibility; !inTime {
		s.Lose(t, a)
		s.Lose(t, b)
		w := s.Worker(t)
		for {
			st, err := s.Queue.Stats(t.Context())
			if err != nil {
				t.Fatalf("stats: %v", err)
			}
			if st.Waiting+st.InFlight == 0 {
				break
			}
			for _, c := range s.claim(t, w, 2) {
				_ = s.Queue.Done(t.Context(), c.Receipt)
			}
		}
		return false
	}
	if len(second) != 1 || second[0].ID != "stuck"+suffix || second[0].Attempt != 2 {
		t.Errorf("got %+v, want stuck alone, in attempt 2", second)
	}
	if err := s.Queue.Done(t.Context(), held[1].Receipt); !errors.Is(err, queue.ErrLost) {
		t.Errorf("done too late: %v, want %v", err, queue.ErrLost)
	}
	if kept != nil {
		t.Errorf("done with what was extended: %v", kept)
	}
	return true
}

func testBadInput(t *testing.T, s Subject) {
	_, err := s.Queue.Put(t.Context(),
		queue.Item{ID: "fine"}, queue.Item{ID: "a/b", Priority: 10}, queue.Item{Payload: make([]byte, queue.MaxPayload+1)})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Errorf("put: error %v, want three problems", err)
	}
	s.wantStats(t, queue.Stats{})
	w := s.Worker(t)
	for _, call := range []func() error{
		func() error { _, err := s.Queue.Claim(t.Context(), queue.Worker{}, 1); return err },
		func() error { _, err := s.Queue.Claim(t.Context(), w, 0); return err },
		func() error { _, err := s.Queue.Dead(t.Context(), nil, 0); return err },
	} {
		if err := call(); !errors.As(err, &invalid) {
			t.Errorf("error %v, want a *job.InvalidError", err)
		}
	}
}
