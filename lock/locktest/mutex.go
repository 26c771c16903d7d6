// Package locktest is the one suite that every mutex must pass.
package locktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/lock"
)

// Hold is a lock that is held; see lock.Hold.
type Hold interface {
	Token() lock.Token
	Held() bool
	Context(parent context.Context) (context.Context, context.CancelFunc)
	Preempted() <-chan struct{}
	Unlock(ctx context.Context) error
}

// Contender is one session that contends for one mutex.
type Contender struct {
	Lock    func(ctx context.Context) (Hold, error)
	TryLock func(ctx context.Context) (Hold, error)
	// Inspect returns who holds the mutex and who waits for it.
	Inspect func() lock.Status
	// Break takes the mutex away from who holds it since a revision.
	Break func(rev int64) error
	// Lose ends the session as if its lease were lost.
	Lose func()
}

// System makes contenders, with a session of their own, for the mutex name.
type System func(t *testing.T, name string, opts lock.MutexOptions) Contender

// contend makes a contender without options.
func (s System) contend(t *testing.T) Contender {
	t.Helper()
	return s(t, "m", lock.MutexOptions{})
}

// long is what no test sees the end of.
const long = time.Hour

// Run runs the suite.
func Run(t *testing.T, system System) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, System){
		"I1 I2 one holder, rising tokens":     testExclusion,
		"I1 not re-entrant":                   testNotReentrant,
		"I8 first come, first served":         testOrder,
		"TryLock leaves no place":             testTryLock,
		"I5 a waiter that gives up is gone":   testGiveUp,
		"I6 unlock is idempotent and its own": testUnlock,
		"I3 a lost hold ends":                 testLostHold,
		"I9 a waiter of a lost session":       testLostWaiter,

		"I8 higher priority first":                     testPriority,
		"I10 readers share, writers exclude":           testReadWrite,
		"I10 a waiting writer goes before new readers": testWriterWaits,
		"I10 a semaphore never exceeds its limit":      testSemaphore,
		"I10 another limit is refused":                 testMixedLimits,
		"I11 holds of one holder are counted":          testReentrant,
		"I12 preemption with grace":                    testPreempt,
		"I12 unlocking in the grace":                   testPreemptUnlock,
		"I12 of a semaphore the weakest goes":          testPreemptSemaphore,
		"I12 as many go as have to":                    testPreemptTwo,
		"I12 nobody goes for nothing":                  testPreemptInVain,
		"I12 readers make room for a writer":           testPreemptReaders,
		"I12 nobody goes for the same priority":        testPreemptEqual,
		"I13 lock delay after an unclean loss":         testLockDelay,
		"I13 no lock delay after an unlock":            testNoLockDelay,
		"I14 maximum hold time":                        testMaxHold,
		"I15 break takes one grant only":               testBreak,
		"who holds and who waits":                      testInspect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(t *testing.T, n string, opts lock.MutexOptions) Contender {
				t.Helper()
				return system(t, t.Name()+"/"+n, opts)
			})
		})
	}
}

func mustLock(t *testing.T, c Contender) Hold {
	t.Helper()
	h, err := c.Lock(t.Context())
	if err != nil {
		t.Fatalf("lock: %v", err)
	}
	return h
}

func mustUnlock(t *testing.T, h Hold) {
	t.Helper()
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatalf("unlock: %v", err)
	}
}

// settles waits until n contenders hold or wait.
func settles(t *testing.T, c Contender, n int) {
	t.Helper()
	await.Missing(t, func() string {
		if now := c.waiting(); now != n {
			return fmt.Sprintf("%d contenders hold or wait, want %d", now, n)
		}
		return ""
	})
}

// quiet lets pass what takes some round trips to come about, if it does.
func quiet(c Contender) {
	for range 50 {
		c.Inspect()
	}
}

// waiting returns how many contenders hold the mutex or wait for it.
func (c *Contender) waiting() int {
	s := c.Inspect()
	return len(s.Holders) + len(s.Waiters)
}

// waiter is a Lock that goes on.
type waiter struct{ ended chan locked }

// locked is how a Lock ended.
type locked struct {
	hold Hold
	err  error
}

func lockLater(ctx context.Context, c Contender) waiter {
	w := waiter{make(chan locked, 1)}
	go func() {
		h, err := c.Lock(ctx)
		w.ended <- locked{h, err}
	}()
	return w
}

func (w waiter) get(t *testing.T) Hold {
	t.Helper()
	r := await.From(t, "the lock", w.ended)
	if r.err != nil {
		t.Fatalf("lock: %v", r.err)
	}
	return r.hold
}

func (w waiter) fails(t *testing.T, want error) {
	t.Helper()
	if r := await.From(t, "the end of a lock", w.ended); !errors.Is(r.err, want) {
		t.Fatalf("lock: %v, want %v", r.err, want)
	}
}

func testExclusion(t *testing.T, system System) {
	const contenders, turns = 4, 8
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all below
	holders, grants, last := 0, 0, lock.Token{}
	enter := func(token lock.Token) {
		mu.Lock()
		defer mu.Unlock()
		holders++
		grants++
		if holders != 1 {
			t.Errorf("%d holders at once", holders)
		}
		if !last.Less(token) {
			t.Errorf("token %v after %v, want them to rise", token, last)
		}
		last = token
	}
	leave := func() {
		mu.Lock()
		defer mu.Unlock()
		holders--
	}
	for range contenders {
		c := system.contend(t)
		wg.Go(func() {
			for range turns {
				h, err := c.Lock(ctx)
				if err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				enter(h.Token())
				leave()
				if err := h.Unlock(ctx); err != nil {
					t.Errorf("unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if grants != contenders*turns {
		t.Errorf("%d grants, want %d", grants, contenders*turns)
	}
	settles(t, system.contend(t), 0)
}

func testNotReentrant(t *testing.T, system System) {
	c := system.contend(t)
	h := mustLock(t, c)
	second := lockLater(t.Context(), c)
	settles(t, c, 2)
	if _, err := c.TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("try to lock what one holds: %v, want ErrHeld", err)
	}
	mustUnlock(t, h)
	h2 := second.get(t)
	if !h2.Held() || h.Held() {
		t.Errorf("held are: first %v, second %v, want the second alone", h.Held(), h2.Held())
	}
	mustUnlock(t, h2)
}

func testOrder(t *testing.T, system System) {
	holder := system.contend(t)
	h := mustLock(t, holder)
	var waiters []waiter
	for i := range 4 {
		waiters = append(waiters, lockLater(t.Context(), system.contend(t)))
		settles(t, holder, i+2)
	}
	for i, w := range waiters {
		mustUnlock(t, h)
		h = w.get(t)
		for j, later := range waiters[i+1:] {
			select {
			case <-later.ended:
				t.Fatalf("waiter %d has the lock in the turn of %d", i+1+j, i)
			default:
			}
		}
	}
	mustUnlock(t, h)
}

func testTryLock(t *testing.T, system System) {
	a, b := system.contend(t), system.contend(t)
	h, err := a.TryLock(t.Context())
	if err != nil {
		t.Fatalf("try a free lock: %v", err)
	}
	_, err = b.TryLock(t.Context())
	if held := (*lock.HeldError)(nil); !errors.As(err, &held) || held.Value == "" {
		t.Errorf("try a held lock: %v, want a *lock.HeldError that says who", err)
	}
	if n := a.waiting(); n != 1 {
		t.Errorf("%d hold or wait after a try, want the holder alone", n)
	}
	mustUnlock(t, h)
	h, err = b.TryLock(t.Context())
	if err != nil {
		t.Fatalf("try a lock that is free again: %v", err)
	}
	mustUnlock(t, h)
}

func testGiveUp(t *testing.T, system System) {
	a, b, c := system.contend(t), system.contend(t), system.contend(t)
	h := mustLock(t, a)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	impatient := lockLater(ctx, b)
	settles(t, a, 2)
	next := lockLater(t.Context(), c)
	settles(t, a, 3)
	reason := errors.New("changed my mind")
	cancel(reason)
	impatient.fails(t, reason)
	settles(t, a, 2)
	mustUnlock(t, h)
	mustUnlock(t, next.get(t))
	settles(t, a, 0)
}

func testUnlock(t *testing.T, system System) {
	a, b := system.contend(t), system.contend(t)
	old := mustLock(t, a)
	ctx, cancel := old.Context(t.Context())
	defer cancel()
	mustUnlock(t, old)
	if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrClosed) {
		t.Errorf("context of an unlocked hold has the cause %v, want ErrClosed", cause)
	}
	h := mustLock(t, a) // of the same session
	mustUnlock(t, old)
	if _, err := b.TryLock(t.Context()); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("lock after a stale unlock: %v, want ErrHeld", err)
	}
	mustUnlock(t, h)
}

func testLostHold(t *testing.T, system System) {
	a, b := system.contend(t), system.contend(t)
	h := mustLock(t, a)
	ctx, cancel := h.Context(t.Context())
	defer cancel()
	next := lockLater(t.Context(), b)
	settles(t, b, 2)
	a.Lose()
	h2 := next.get(t)
	await.From(t, "the end of a lost hold's context", ctx.Done())
	if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrLost) {
		t.Errorf("context of a lost hold has the cause %v, want ErrLost", cause)
	}
	if h.Held() {
		t.Error("a lost hold is held")
	}
	if err := h.Unlock(t.Context()); !errors.Is(err, lock.ErrFenced) {
		t.Errorf("unlock of a lost hold: %v, want ErrFenced", err)
	}
	if !h2.Held() || !h.Token().Less(h2.Token()) {
		t.Errorf("next hold: held %v, token %v after %v", h2.Held(), h2.Token(), h.Token())
	}
	mustUnlock(t, h2)
}

func testLostWaiter(t *testing.T, system System) {
	a, b := system.contend(t), system.contend(t)
	h := mustLock(t, a)
	w := lockLater(t.Context(), b)
	settles(t, a, 2)
	b.Lose()
	w.fails(t, lock.ErrLost)
	settles(t, a, 1)
	if _, err := b.Lock(t.Context()); !errors.Is(err, lock.ErrLost) {
		t.Errorf("lock of a lost session: %v, want ErrLost", err)
	}
	mustUnlock(t, h)
}
