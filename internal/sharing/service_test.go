package sharing

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// TestEntries: what a task writes the others of its run read, and no other run does; a job's
// is its runs' together (H1, H4).
func TestEntries(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f, other := w.run(1, "a", "b"), w.run(2, "a")
	a, b, c := taskOf(s, f, "a"), taskOf(s, f, "b"), taskOf(s, other, "a")
	ctx := t.Context()
	if got := a.ask(ctx, shared.Request{Op: shared.OpSet, Key: "k", Value: "v"}); got.Code != shared.CodeOK || got.Version != 1 {
		t.Fatalf("set: %+v", got)
	}
	if got := b.ask(ctx, shared.Request{Op: shared.OpGet, Key: "k"}); got.Value != "v" || got.Version != 1 {
		t.Errorf("get of another task: %+v", got)
	}
	if got := c.ask(ctx, shared.Request{Op: shared.OpGet, Key: "k"}); got.Code != shared.CodeNotFound {
		t.Errorf("get of another run: %+v", got)
	}
	if got := a.ask(ctx, shared.Request{Op: shared.OpIncr, Scope: shared.ScopeJob, Key: "n", Delta: 2}); got.Value != "2" {
		t.Errorf("incr: %+v", got)
	}
	if got := c.ask(ctx, shared.Request{Op: shared.OpIncr, Scope: shared.ScopeJob, Key: "n", Delta: 3}); got.Value != "5" {
		t.Errorf("incr of another run of the job: %+v", got)
	}
	watching := b.begin(t, shared.Request{Op: shared.OpWatch, Key: "k", Version: 1})
	if got := a.ask(ctx, shared.Request{Op: shared.OpCAS, Key: "k", Version: 1, Value: "w"}); got.Code != shared.CodeOK {
		t.Errorf("cas: %+v", got)
	}
	if got := <-watching; got.Code != shared.CodeOK || got.Value != "w" {
		t.Errorf("watch: %+v", got)
	}
	if got := b.ask(ctx, shared.Request{Op: shared.OpWatch, Key: "k", Version: 2, Timeout: 0.02}); got.Code != shared.CodeTimeout {
		t.Errorf("watch of what does not change: %+v", got)
	}
}

// TestNoRoom: while etcd's space is nearly used up nothing is written; reading and deleting
// go on (H6).
func TestNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a")
	a := taskOf(s, f, "a")
	if got := a.ask(t.Context(), shared.Request{Op: shared.OpSet, Key: "k", Value: "v"}); got.Code != shared.CodeOK {
		t.Fatalf("%+v", got)
	}
	s.deps.Room = func(context.Context) error { return errors.New("nearly full") }
	for _, r := range []shared.Request{
		{Op: shared.OpSet, Key: "k", Value: "w"}, {Op: shared.OpCAS, Key: "k", Version: 1, Value: "w"}, {Op: shared.OpIncr, Key: "n", Delta: 1},
	} {
		if got := a.ask(t.Context(), r); got.Code != shared.CodeFull || got.Reason != "nearly full" {
			t.Errorf("%s: %+v", r.Op, got)
		}
	}
	for _, op := range []string{shared.OpGet, shared.OpDelete} {
		if got := a.ask(t.Context(), shared.Request{Op: op, Key: "k"}); got.Code != shared.CodeOK {
			t.Errorf("%s: %+v", op, got)
		}
	}
}

// TestRefused: nobody but an open task of the shard is answered, whatever it says (H1, H6).
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a", "b")
	w.change(f, "b", func(t *job.Fellow) { t.State = job.StateFailed })
	ctx := t.Context()
	get := shared.Request{Op: shared.OpGet, Key: "k"}
	for name, k := range map[string]task{
		"another run": taskOf(s, fireAt(9), "a"), "another minion": taskOf(s, f, "c"), "an ended task": taskOf(s, f, "b"),
		"another attempt": {s, job.TaskID{Fire: f, Minion: "a", Attempt: 2}},
	} {
		if got := k.ask(ctx, get); got.Code != shared.CodeRefused {
			t.Errorf("%s: %+v", name, got)
		}
	}
	a := taskOf(s, f, "a")
	for _, text := range []string{
		``, `{}`, `[]`, `{"op":"get","key":"k"} {}`, `{"op":"get","key":"k","run":"another"}`, `{"op":"steal","key":"k"}`,
		`{"op":"get","key":"../../owners/0003"}x`, `{"op":"get","key":"a b"}`, `{"op":"get","key":"a\u0000"}`, `{"op":"get","key":""}`,
		`{"op":"get","key":"` + strings.Repeat("k", shared.MaxKey+1) + `"}`, `{"op":"set","key":"k","value":"` + strings.Repeat("v", shared.MaxValue+1) + `"}`,
		`{"op":"get","key":"k","scope":"cluster"}`, `{"op":"barrier","key":"k","scope":"job"}`, `{"op":"barrier","key":"k","count":-1}`,
		`{"op":"watch","key":"k","timeout":-1}`, `{"op":"watch","key":"k","timeout":1e99}`, `{"op":"cas","key":"k","version":-1}`,
	} {
		if got := a.raw(ctx, text); got.Code != shared.CodeRefused {
			t.Errorf("%.60s: %+v", text, got)
		}
	}
	// A key is data, and no part of a key of etcd.
	if got := a.ask(ctx, shared.Request{Op: shared.OpSet, Key: "../../owners/0003", Value: "mine"}); got.Code != shared.CodeOK {
		t.Errorf("a key with dots: %+v", got)
	}
	if got, want := w.stored(), []string{keys().SharedRun(testShard, f)}; !slices.Equal(got, want) {
		t.Errorf("stored: %q, want %q", got, want)
	}
	w.mu.Lock()
	w.gone = true
	w.mu.Unlock()
	if got := a.ask(ctx, shared.Request{Op: shared.OpSet, Scope: shared.ScopeJob, Key: "k", Value: "v"}); got.Code != shared.CodeRefused {
		t.Errorf("of a job that was deleted: %+v", got)
	}
	w.mu.Lock()
	w.away = true
	w.mu.Unlock()
	if got := a.ask(ctx, get); got.Code != shared.CodeUnavailable {
		t.Errorf("of another node: %+v", got)
	}
}

// TestReplaced: an owner that was replaced, and has not noticed, writes nothing (H2).
func TestReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a")
	a := taskOf(s, f, "a")
	w.fail = func(int) (error, error) { w.owner = job.Token{Epoch: 1, Revision: 8}; return nil, nil } // between the look and the write
	if got := a.ask(t.Context(), shared.Request{Op: shared.OpSet, Key: "k", Value: "v"}); got.Code != shared.CodeUnavailable {
		t.Errorf("%+v", got)
	}
	if got := w.stored(); len(got) != 0 {
		t.Errorf("stored: %q", got)
	}
}

// TestWrites: each write is done at most once, whatever is lost, and what is told as done is
// (H3, H4).
func TestWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		s := w.serve(t)
		s.every = 0
		f := w.run(1, "a", "b", "c", "d")
		faults := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 12).Draw(rt, "faults")
		w.fail = func(n int) (error, error) {
			if n > len(faults) {
				return nil, nil
			}
			switch faults[n-1] {
			case 1:
				return errLost, nil // it was not done
			case 2:
				return nil, errLost // it was done
			case 3:
				return ErrChanged, nil
			}
			return nil, nil
		}
		var mu sync.Mutex
		done, unsure := 0, 0
		var told []string
		var wg sync.WaitGroup
		for _, m := range []job.MinionID{"a", "b", "c", "d"} {
			wg.Go(func() {
				for range 3 {
					got := taskOf(s, f, m).ask(t.Context(), shared.Request{Op: shared.OpIncr, Key: "n", Delta: 1})
					mu.Lock()
					switch got.Code {
					case shared.CodeOK:
						done++
						told = append(told, got.Value)
					case shared.CodeUnsure:
						unsure++
					case shared.CodeUnavailable:
					default:
						rt.Errorf("incr: %+v", got)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		got := taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: shared.OpGet, Key: "n"})
		n, err := strconv.Atoi(got.Value)
		if done > 0 && (err != nil || n < done || n > done+unsure) {
			rt.Fatalf("the counter is %q; %d were done, and %d perhaps", got.Value, done, unsure)
		}
		slices.Sort(told)
		if len(slices.Compact(told)) != done {
			rt.Fatalf("the same number was told twice: %q", told)
		}
	})
}

// TestRounds: what is asked at once is written at once (H7).
func TestRounds(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	f := w.run(1, "a")
	var wg sync.WaitGroup
	for range Burst {
		wg.Go(func() {
			if got := taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: shared.OpIncr, Key: "n", Delta: 1}); got.Code != shared.CodeOK {
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	if w.writes > Burst/2 {
		t.Errorf("%d requests were written in %d writes", Burst, w.writes)
	}
	// What goes on for too long is held back.
	begun, refused := time.Now(), 0
	for range 4 * Rate {
		wg.Go(func() {
			if got := taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: shared.OpGet, Key: "n"}); got.Code == shared.CodeFull {
				w.mu.Lock()
				refused++
				w.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); refused == 0 && took < turnWait {
		t.Errorf("%d requests at once were answered within %v", 4*Rate, took)
	}
}

// TestRemoved: what a run has goes with it, also when another node has served it (H8).
func TestRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.serve(t)
	first, second := w.run(1, "a"), w.run(2, "a")
	for _, f := range []job.FireID{first, second} {
		taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: shared.OpSet, Key: "k", Value: "v"})
	}
	taskOf(s, first, "a").ask(t.Context(), shared.Request{Op: shared.OpSet, Scope: shared.ScopeJob, Key: "k", Value: "v"})
	w.end(first)
	want := []string{keys().SharedJob(first.Job), keys().SharedRun(testShard, second)}
	await.Until(t, "the first run's is removed", func() bool { return slices.Equal(w.stored(), want) })
	next := w.serve(t)
	if err := next.Sweep(t.Context()); err != nil || !slices.Equal(w.stored(), want) {
		t.Errorf("what an open run has: %q, %v", w.stored(), err)
	}
	w.end(second)
	if err := next.Sweep(t.Context()); err != nil || !slices.Equal(w.stored(), want[:1]) {
		t.Errorf("swept: %q, %v", w.stored(), err)
	}
}

// TestEnded: a service that has ended answers, and waits for nothing.
func TestEnded(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s, err := New(Deps{Keys: keys(), Store: w, Runs: w})
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.closed = true
	f := w.run(1, "a")
	for _, op := range []string{shared.OpSet, shared.OpBarrier} {
		if got := taskOf(s, f, "a").ask(t.Context(), shared.Request{Op: op, Key: "k"}); got.Code != shared.CodeUnavailable {
			t.Errorf("%s: %+v", op, got)
		}
	}
	if _, err := New(Deps{}); err == nil {
		t.Error("a service without a store")
	}
}
