package locktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/lock"
)

// stays fails if the waiter has got the lock, or an error.
func (w waiter) stays(t *testing.T, why string) {
	t.Helper()
	select {
	case r := <-w.ended:
		t.Fatalf("lock ended with %v and the error %v although %s", r.hold, r.err, why)
	default:
	}
}

// ends waits until the context of the hold ends, and returns why.
func ends(t *testing.T, h Hold) error {
	t.Helper()
	ctx, cancel := h.Context(t.Context())
	defer cancel()
	await.From(t, "the end of the hold", ctx.Done())
	return context.Cause(ctx)
}

func testPriority(t *testing.T, system System) {
	first := system.contend(t)
	h := mustLock(t, first)
	want := []int{5, 5, 0, 0, -7}
	waiters := make([]waiter, len(want))
	for n, i := range []int{4, 2, 0, 3, 1} { // of one priority, in order
		waiters[i] = lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: want[i]}))
		settles(t, first, n+2)
	}
	for i, w := range waiters {
		mustUnlock(t, h)
		h = w.get(t)
		for _, later := range waiters[i+1:] {
			later.stays(t, "one before it has the lock")
		}
	}
	mustUnlock(t, h)
}

func testReadWrite(t *testing.T, system System) {
	reader, writer := lock.MutexOptions{Shared: true}, lock.MutexOptions{}
	ctx := t.Context()
	var mu sync.Mutex // guards all below
	readers, writers, both := 0, 0, false
	var wg sync.WaitGroup
	for i := range 6 {
		isReader := i%3 != 0
		opts, count := writer, &writers
		if isReader {
			opts, count = reader, &readers
		}
		c := system(t, "m", opts)
		wg.Go(func() {
			for range 6 {
				h, err := c.Lock(ctx)
				if err != nil {
					t.Errorf("lock: %v; now: %+v", err, c.Inspect())
					return
				}
				mu.Lock()
				*count++
				if writers > 1 || writers == 1 && readers > 0 {
					t.Errorf("%d writers and %d readers at once", writers, readers)
				}
				both = both || readers > 1
				mu.Unlock()
				if isReader {
					<-time.After(time.Millisecond)
				}
				mu.Lock()
				*count--
				mu.Unlock()
				if err := h.Unlock(ctx); err != nil {
					t.Errorf("unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	// Two readers at once, whatever the timing was above.
	a, b := mustLock(t, system(t, "m", reader)), mustLock(t, system(t, "m", reader))
	w := system(t, "m", writer)
	if _, err := w.TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("a writer tries while readers hold: %v, want ErrHeld", err)
	}
	mustUnlock(t, a)
	mustUnlock(t, b)
	settles(t, w, 0)
}

func testWriterWaits(t *testing.T, system System) {
	reader := lock.MutexOptions{Shared: true}
	a := system(t, "m", reader)
	h := mustLock(t, a)
	writer := lockLater(t.Context(), system.contend(t))
	settles(t, a, 2)
	late := system(t, "m", reader)
	if _, err := late.TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("a reader tries while a writer waits: %v, want ErrHeld", err)
	}
	urgent, err := system(t, "m", lock.MutexOptions{Shared: true, Priority: 1}).TryLock(t.Context())
	if err != nil {
		t.Fatalf("a reader of a higher priority than the writer that waits: %v", err)
	}
	lateWaiter := lockLater(t.Context(), late)
	settles(t, a, 4)
	mustUnlock(t, h)
	mustUnlock(t, urgent)
	h = writer.get(t)
	lateWaiter.stays(t, "a writer has the lock")
	another := lockLater(t.Context(), system(t, "m", reader))
	settles(t, a, 3)
	mustUnlock(t, h)
	mustUnlock(t, lateWaiter.get(t))
	mustUnlock(t, another.get(t))
}

func testSemaphore(t *testing.T, system System) {
	const limit = 3
	opts := lock.MutexOptions{Limit: limit}
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all below
	holders, most := 0, 0
	for range 2 * limit {
		c := system(t, "m", opts)
		wg.Go(func() {
			for range 6 {
				h, err := c.Lock(ctx)
				if err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				mu.Lock()
				holders++
				most = max(most, holders)
				mu.Unlock()
				<-time.After(time.Millisecond)
				mu.Lock()
				holders--
				mu.Unlock()
				if err := h.Unlock(ctx); err != nil {
					t.Errorf("unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if most > limit {
		t.Errorf("%d holders at once, want at most %d", most, limit)
	}
	c := system(t, "m", opts)
	var holds []Hold
	for range limit { // every permit can be had
		h, err := system(t, "m", opts).TryLock(t.Context())
		if err != nil {
			t.Fatalf("hold number %d of %d: %v", len(holds)+1, limit, err)
		}
		holds = append(holds, h)
	}
	if _, err := c.TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("one more than the limit: %v, want ErrHeld", err)
	}
	next := lockLater(t.Context(), c)
	settles(t, c, limit+1)
	mustUnlock(t, holds[1])
	mustUnlock(t, next.get(t))
	mustUnlock(t, holds[0])
	mustUnlock(t, holds[2])
	settles(t, c, 0)
}

func testMixedLimits(t *testing.T, system System) {
	a := system(t, "m", lock.MutexOptions{Limit: 2})
	h := mustLock(t, a)
	for _, opts := range []lock.MutexOptions{{}, {Shared: true}, {Limit: 1}, {Limit: 3}} {
		c := system(t, "m", opts)
		for _, get := range []func(context.Context) (Hold, error){c.Lock, c.TryLock} {
			if _, err := get(t.Context()); !errors.Is(err, lock.ErrLimit) {
				t.Errorf("lock with %+v, limit 2 in use: %v, want ErrLimit", opts, err)
			}
		}
	}
	settles(t, a, 1)
	mustUnlock(t, h)
	mustUnlock(t, mustLock(t, system(t, "m", lock.MutexOptions{Limit: 3}))) // free again
}

func testReentrant(t *testing.T, system System) {
	c, other := system(t, "m", lock.MutexOptions{Reentrant: true}), system(t, "m", lock.MutexOptions{Reentrant: true})
	outer := mustLock(t, c)
	inner := mustLock(t, c)
	third, err := c.TryLock(t.Context())
	if err != nil {
		t.Fatalf("try to lock again: %v", err)
	}
	if outer.Token() != inner.Token() {
		t.Errorf("tokens %v and %v, want one", outer.Token(), inner.Token())
	}
	next := lockLater(t.Context(), other)
	settles(t, c, 2)
	mustUnlock(t, outer)
	mustUnlock(t, outer) // does not count twice
	mustUnlock(t, third)
	if outer.Held() || !inner.Held() {
		t.Errorf("held are: outer %v, inner %v, want the inner alone", outer.Held(), inner.Held())
	}
	next.stays(t, "one of three holds is not unlocked")
	mustUnlock(t, inner)
	h := next.get(t)
	again := lockLater(t.Context(), c)
	settles(t, c, 2)
	mustUnlock(t, h)
	h = again.get(t)
	if h.Token() == inner.Token() {
		t.Error("a new hold has the token of the former")
	}
	mustUnlock(t, h)
}

func testPreempt(t *testing.T, system System) {
	const grace = 200 * time.Millisecond
	a := system(t, "m", lock.MutexOptions{Grace: grace})
	h := mustLock(t, a)
	equal := lockLater(t.Context(), system.contend(t))
	settles(t, a, 2)
	asked := time.Now()
	w := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: 1, Preempt: true}))
	await.From(t, "that the hold is told that it is preempted", h.Preempted())
	if cause := ends(t, h); !errors.Is(cause, lock.ErrPreempted) {
		t.Errorf("the hold ended with the cause %v, want ErrPreempted", cause)
	}
	if d := time.Since(asked); d < grace {
		t.Errorf("the hold ended %s after it was asked for, want its grace, %s", d, grace)
	}
	if h.Held() {
		t.Error("a preempted hold is held")
	}
	h2 := w.get(t) // although nobody has unlocked
	if !h.Token().Less(h2.Token()) {
		t.Errorf("tokens %v, then %v", h.Token(), h2.Token())
	}
	if err := h.Unlock(t.Context()); !errors.Is(err, lock.ErrFenced) {
		t.Errorf("unlock of a hold that was taken away: %v, want ErrFenced", err)
	}
	equal.stays(t, "one of a higher priority has the lock")
	mustUnlock(t, h2)
	mustUnlock(t, equal.get(t))
}

func testPreemptUnlock(t *testing.T, system System) {
	a := system(t, "m", lock.MutexOptions{Grace: long})
	h := mustLock(t, a)
	w := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: 1, Preempt: true}))
	await.From(t, "that the hold is told that it is preempted", h.Preempted())
	if !h.Held() {
		t.Error("the hold has ended before its grace is over")
	}
	w.stays(t, "the holder has a grace")
	mustUnlock(t, h)
	mustUnlock(t, w.get(t))
}

func testPreemptSemaphore(t *testing.T, system System) {
	opts := func(priority int) lock.MutexOptions { return lock.MutexOptions{Limit: 3, Priority: priority} }
	strong, weak, middle := mustLock(t, system(t, "m", opts(9))), mustLock(t, system(t, "m", opts(1))), mustLock(t, system(t, "m", opts(2)))
	urgent := opts(5)
	urgent.Preempt = true
	h := mustLock(t, system(t, "m", urgent))
	if cause := ends(t, weak); !errors.Is(cause, lock.ErrPreempted) {
		t.Errorf("the weakest hold ended with the cause %v, want ErrPreempted", cause)
	}
	if !strong.Held() || !middle.Held() {
		t.Errorf("held are: the strongest %v, the middle %v, want both", strong.Held(), middle.Held())
	}
	for _, h := range []Hold{strong, middle, h} {
		mustUnlock(t, h)
	}
}

// Two ask for room, so two go; each is told.
func testPreemptTwo(t *testing.T, system System) {
	held := lock.MutexOptions{Limit: 3, Grace: long}
	first, second, third := mustLock(t, system(t, "m", held)), mustLock(t, system(t, "m", held)), mustLock(t, system(t, "m", held))
	urgent := lock.MutexOptions{Limit: 3, Priority: 1, Preempt: true}
	a, b := lockLater(t.Context(), system(t, "m", urgent)), lockLater(t.Context(), system(t, "m", urgent))
	for _, h := range []Hold{third, second} { // the youngest goes first
		await.From(t, "that a hold is told that it is preempted", h.Preempted())
	}
	select {
	case <-first.Preempted():
		t.Error("three make room for two")
	default:
	}
	for _, h := range []Hold{third, second, first} {
		mustUnlock(t, h)
	}
	mustUnlock(t, a.get(t))
	mustUnlock(t, b.get(t))
}

// Nobody goes for nothing: a reader makes room once no other reader, who need
// not go, keeps the writer out.
func testPreemptInVain(t *testing.T, system System) {
	watcher := system(t, "m", lock.MutexOptions{Shared: true, Priority: 1})
	strong := mustLock(t, watcher)
	weak := mustLock(t, system(t, "m", lock.MutexOptions{Shared: true, Grace: long}))
	writer := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: 1, Preempt: true}))
	settles(t, watcher, 3)
	quiet(watcher)
	select {
	case <-weak.Preempted():
		t.Error("preempted although another reader keeps the writer out")
	default:
	}
	mustUnlock(t, strong)
	await.From(t, "that the reader is told that it is preempted", weak.Preempted())
	if !weak.Held() {
		t.Error("the hold has ended before its grace is over")
	}
	mustUnlock(t, weak)
	mustUnlock(t, writer.get(t))
}

func testPreemptReaders(t *testing.T, system System) {
	reader := lock.MutexOptions{Shared: true}
	a, b := mustLock(t, system(t, "m", reader)), mustLock(t, system(t, "m", reader))
	h := mustLock(t, system(t, "m", lock.MutexOptions{Priority: 1, Preempt: true}))
	for _, r := range []Hold{a, b} {
		if cause := ends(t, r); !errors.Is(cause, lock.ErrPreempted) {
			t.Errorf("a reader's hold ended with the cause %v, want ErrPreempted", cause)
		}
	}
	mustUnlock(t, h)
}

func testPreemptEqual(t *testing.T, system System) {
	a := system(t, "m", lock.MutexOptions{Priority: 1})
	h := mustLock(t, a)
	w := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: 1, Preempt: true}))
	settles(t, a, 2)
	higher := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Priority: 2})) // does not preempt
	settles(t, a, 3)
	quiet(a)
	select {
	case <-h.Preempted():
		t.Error("preempted by somebody of the same priority, or who does not preempt")
	default:
	}
	mustUnlock(t, h)
	mustUnlock(t, higher.get(t))
	mustUnlock(t, w.get(t))
}

func testLockDelay(t *testing.T, system System) {
	const brief = time.Second
	for name, opts := range map[string]lock.MutexOptions{
		"writers":   {},
		"reader":    {Shared: true},
		"semaphore": {Limit: 2},
	} {
		// unclean has a waiter wait for a hold with a lock delay, and the hold lost.
		unclean := func(t *testing.T, delay time.Duration) (b Contender, next waiter, since time.Time) {
			t.Helper()
			held, free := opts, lock.MutexOptions{Limit: opts.Limit}
			held.LockDelay = delay
			a, b := system(t, name, held), system(t, name, free)
			h := mustLock(t, a)
			if opts.Limit > 0 {
				mustLock(t, system(t, name, free)) // the other permit
			}
			next = lockLater(t.Context(), b)
			settles(t, b, len(b.Inspect().Holders)+1)
			since = time.Now()
			a.Lose()
			if cause := ends(t, h); !errors.Is(cause, lock.ErrLost) {
				t.Errorf("the hold ended with the cause %v, want ErrLost", cause)
			}
			return b, next, since
		}
		t.Run(name+", in the delay", func(t *testing.T) {
			t.Parallel()
			b, next, _ := unclean(t, long)
			if _, err := system(t, name, lock.MutexOptions{Limit: opts.Limit}).TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
				t.Errorf("try in the lock delay: %v, want ErrHeld", err)
			}
			if d := b.Inspect().Delayed; len(d) != 1 || d[0].LockDelay != long {
				t.Errorf("delayed by %+v, want one delay of %s", d, long)
			}
			next.stays(t, "the lock delay goes on")
		})
		t.Run(name+", after it", func(t *testing.T) {
			t.Parallel()
			_, next, since := unclean(t, brief)
			h := next.get(t)
			if d := time.Since(since); d < brief {
				t.Errorf("locked %s after an unclean loss, want a delay of %s", d, brief)
			}
			mustUnlock(t, h)
		})
	}
}

func testNoLockDelay(t *testing.T, system System) {
	for name, opts := range map[string]lock.MutexOptions{
		"writers":   {LockDelay: time.Hour},
		"readers":   {LockDelay: time.Hour, Shared: true},
		"semaphore": {LockDelay: time.Hour, Limit: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := system(t, name, opts)
			h := mustLock(t, a)
			h2 := lockLater(t.Context(), system(t, name, opts))
			settles(t, a, 2) // who came first is first
			h3 := lockLater(t.Context(), system(t, name, opts))
			settles(t, a, 3)
			mustUnlock(t, h)
			mustUnlock(t, h2.get(t))
			mustUnlock(t, h3.get(t))
			if d := a.Inspect().Delayed; len(d) != 0 {
				t.Errorf("delayed by %+v after unlocks", d)
			}
			opts.Shared = false
			mustUnlock(t, mustLock(t, system(t, name, opts)))
		})
	}
}

func testMaxHold(t *testing.T, system System) {
	const most = 300 * time.Millisecond
	a := system(t, "m", lock.MutexOptions{MaxHold: most})
	start := time.Now()
	h := mustLock(t, a)
	next := lockLater(t.Context(), system.contend(t))
	if cause := ends(t, h); !errors.Is(cause, lock.ErrMaxHold) {
		t.Errorf("the hold ended with the cause %v, want ErrMaxHold", cause)
	}
	if d := time.Since(start); d < most {
		t.Errorf("the hold ended after %s, want %s", d, most)
	}
	h2 := next.get(t)
	if err := h.Unlock(t.Context()); !errors.Is(err, lock.ErrFenced) || !errors.Is(err, lock.ErrMaxHold) {
		t.Errorf("unlock after the maximum: %v, want ErrFenced because of ErrMaxHold", err)
	}
	mustUnlock(t, h2)
	mustLock(t, a)   // the session goes on,
	settles(t, a, 0) // and frees the lock although nobody waits for it
}

func testBreak(t *testing.T, system System) {
	a, b := system.contend(t), system.contend(t)
	h := mustLock(t, a)
	next := lockLater(t.Context(), b)
	settles(t, a, 2)
	var broken *lock.BreakError
	if err := b.Break(h.Token().Revision - 1); !errors.As(err, &broken) || len(broken.Holders) != 1 || !errors.Is(err, lock.ErrFenced) {
		t.Errorf("break of a grant that is not there: %v, want a *lock.BreakError that says who holds", err)
	}
	if !h.Held() {
		t.Error("the hold has ended by a break of another")
	}
	if err := b.Break(h.Token().Revision); err != nil {
		t.Fatal(err)
	}
	if cause := ends(t, h); !errors.Is(cause, lock.ErrFenced) {
		t.Errorf("a broken hold ended with the cause %v, want ErrFenced", cause)
	}
	h2 := next.get(t)
	if err := b.Break(h.Token().Revision); !errors.As(err, &broken) || len(broken.Holders) != 1 || broken.Holders[0].Token != h2.Token() {
		t.Errorf("break of a lock that changed hands: %v, want a *lock.BreakError that says who holds", err)
	}
	if err := h.Unlock(t.Context()); !errors.Is(err, lock.ErrFenced) {
		t.Errorf("unlock of a broken hold: %v, want ErrFenced", err)
	}
	mustUnlock(t, h2)
}

func testInspect(t *testing.T, system System) {
	a := system(t, "m", lock.MutexOptions{Purpose: "why a", Shared: true, MaxHold: time.Hour})
	begun := time.Now().Truncate(time.Millisecond)
	h := mustLock(t, a)
	b := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Purpose: "why b"}))
	settles(t, a, 2)
	c := lockLater(t.Context(), system(t, "m", lock.MutexOptions{Purpose: "why c", Priority: 3}))
	settles(t, a, 3)
	s := a.Inspect()
	if len(s.Holders) != 1 || len(s.Waiters) != 2 {
		t.Fatalf("%d hold and %d wait, want 1 and 2: %+v", len(s.Holders), len(s.Waiters), s)
	}
	got := s.Holders[0]
	if got.Purpose != "why a" || !got.Shared || got.MaxHold != time.Hour || got.Holder == "" || got.Token != h.Token() ||
		got.Since.Before(begun) || got.HeldSince.Before(got.Since) || got.Revision != h.Token().Revision || got.Lease == 0 {
		t.Errorf("the holder is %+v, want a, with all that it told", got)
	}
	if w := s.Waiters; w[0].Purpose != "why c" || w[0].Priority != 3 || w[1].Purpose != "why b" || !w[1].Token.IsZero() || !w[1].HeldSince.IsZero() {
		t.Errorf("waiters are %+v, want c, then b, without tokens", w)
	}
	mustUnlock(t, h)
	mustUnlock(t, c.get(t))
	mustUnlock(t, b.get(t))
}
