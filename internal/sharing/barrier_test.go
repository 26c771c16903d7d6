package sharing

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

var meet = shared.Request{Op: shared.OpBarrier, Key: "meet"}

// TestBarrierOpens: all pass once all are here, and not before; who comes later passes (H5).
func TestBarrierOpens(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b", "c")
	a, b := taskOf(s, f, "a").begin(t, meet), taskOf(s, f, "b").begin(t, meet)
	late := meet
	late.Timeout = 0.1
	if got := taskOf(s, f, "b").ask(t.Context(), late); got.Code != shared.CodeTimeout || got.Reason != "meet: 2 of 3 tasks have come; missing: c" && !strings.HasPrefix(got.Reason, "meet: ") {
		t.Errorf("in vain: %+v", got)
	}
	select {
	case got := <-a:
		t.Fatalf("it has opened without c: %+v", got)
	default:
	}
	if got := <-taskOf(s, f, "c").begin(t, meet); got.Code != shared.CodeOK || got.Of != 3 {
		t.Errorf("the last one: %+v", got)
	}
	for _, ch := range []<-chan shared.Answer{a, b} {
		if got := <-ch; got.Code != shared.CodeOK {
			t.Errorf("%+v", got)
		}
	}
	// It stays open, also for another owner, and when a task has ended.
	w.change(f, "a", func(t *job.Fellow) { t.State = job.StateFailed })
	if got := <-taskOf(w.serve(t), f, "b").begin(t, meet); got.Code != shared.CodeOK {
		t.Errorf("once more: %+v", got)
	}
}

// TestBarrierBreaks: that a task has ended which it waits for is told at once, and stays so.
func TestBarrierBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b", "c")
	two := shared.Request{Op: shared.OpBarrier, Key: "two", Count: 2}
	a, a2 := taskOf(s, f, "a").begin(t, meet), taskOf(s, f, "a").begin(t, two)
	w.change(f, "c", func(t *job.Fellow) { t.State = job.StateTimedOut })
	got := <-a
	if got.Code != shared.CodeBroken || !strings.Contains(got.Reason, "the task on c has ended (timed-out)") {
		t.Errorf("%+v", got)
	}
	if got := <-taskOf(s, f, "b").begin(t, meet); got.Code != shared.CodeBroken {
		t.Errorf("who comes later: %+v", got)
	}
	// Two are left for one that waits for two.
	if got := <-taskOf(s, f, "b").begin(t, two); got.Code != shared.CodeOK {
		t.Errorf("%+v", got)
	}
	if got := <-a2; got.Code != shared.CodeOK {
		t.Errorf("%+v", got)
	}
}

// TestBarrierAttempts: what an attempt was here for does not count for the next one.
func TestBarrierAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b")
	first := taskOf(s, f, "a").begin(t, meet)
	await.Until(t, "a is here", func() bool { return s.waits(f, "meet") == 1 })
	w.change(f, "a", func(t *job.Fellow) { t.Attempt = 2 })
	b := taskOf(s, f, "b").begin(t, meet)
	await.Until(t, "b is here", func() bool { return s.waits(f, "meet") == 2 })
	short := meet
	short.Timeout = 0.05
	if got := taskOf(s, f, "b").ask(t.Context(), short); got.Code != shared.CodeTimeout || !strings.Contains(got.Reason, "missing: a") {
		t.Errorf("with an attempt that is over: %+v", got)
	}
	again := task{s, job.TaskID{Fire: f, Minion: "a", Attempt: 2}}.begin(t, meet)
	for _, ch := range []<-chan shared.Answer{again, b, first} {
		if got := <-ch; got.Code != shared.CodeOK {
			t.Errorf("%+v", got)
		}
	}
}

// waits is how many tasks are at a barrier.
func (s *Service) waits(f job.FireID, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := s.scopes[keys().SharedRun(testShard, f)]
	if sc == nil {
		return 0
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	b := sc.barriers[name]
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.here)
}

// TestBarrierRefused: what could never open, or is said in two ways, is refused at once, as
// is a barrier too many (H6).
func TestBarrierRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b")
	if got := taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: shared.OpBarrier, Key: "many", Count: 3}); got.Code != shared.CodeRefused {
		t.Errorf("for more tasks than there are: %+v", got)
	}
	taskOf(s, f, "a").begin(t, meet)
	await.Until(t, "a is here", func() bool { return s.waits(f, "meet") == 1 })
	one := meet
	one.Count = 1
	if got := taskOf(s, f, "b").ask(t.Context(), one); got.Code != shared.CodeRefused || !strings.Contains(got.Reason, "1 tasks") {
		t.Errorf("another count: %+v", got)
	}
	for i := range shared.MaxBarriers + 1 {
		r := shared.Request{Op: shared.OpBarrier, Key: "b" + strings.Repeat("x", i), Count: 1}
		got := taskOf(s, f, "a").ask(t.Context(), r)
		if want := map[bool]string{true: shared.CodeOK, false: shared.CodeFull}[i < shared.MaxBarriers]; got.Code != want {
			t.Fatalf("barrier %d: %+v", i, got)
		}
	}
}

// TestBarrierMoves: waiters of an owner that has gone open it at the next one.
func TestBarrierMoves(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b")
	a := taskOf(s, f, "a").begin(t, meet)
	await.Until(t, "a is here", func() bool { return s.waits(f, "meet") == 1 })
	w.mu.Lock()
	w.away = true
	w.mu.Unlock()
	if got := <-a; got.Code != shared.CodeUnavailable {
		t.Errorf("the owner has gone: %+v", got)
	}
	w.mu.Lock()
	w.away, w.owner = false, job.Token{Epoch: 1, Revision: 9}
	w.mu.Unlock()
	next := w.serve(t)
	a, b := taskOf(next, f, "a").begin(t, meet), taskOf(next, f, "b").begin(t, meet)
	for _, ch := range []<-chan shared.Answer{a, b} {
		if got := <-ch; got.Code != shared.CodeOK {
			t.Errorf("%+v", got)
		}
	}
}

// TestJudge: a barrier opens if and only if enough tasks are here that have not ended, is
// broken only if it can never open, and is never both (H5).
func TestJudge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "tasks")
		count := rapid.IntRange(0, n).Draw(t, "count")
		fellows := make([]job.Fellow, n)
		arrived := map[job.MinionID]bool{}
		here, left := 0, 0
		for i := range fellows {
			fellows[i] = job.Fellow{Minion: job.MinionID(string(rune('a' + i))), Attempt: 1}
			arrived[fellows[i].Minion] = rapid.Bool().Draw(t, "here")
			if rapid.IntRange(0, 3).Draw(t, "ended") == 0 {
				fellows[i].State = job.StateSucceeded
				continue
			}
			left++
			if arrived[fellows[i].Minion] {
				here++
			}
		}
		of := count
		if of == 0 {
			of = n
		}
		f := judge(count, fellows, func(f *job.Fellow) bool { return arrived[f.Minion] })
		if f.open != (here >= of) || (f.broken != "") != (left < of) || f.open && f.broken != "" || f.here != here || f.of != of {
			t.Fatalf("%d of %d here, %d left: %+v", here, of, left, f)
		}
	})
}
