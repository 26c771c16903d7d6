package sharing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// place is a task's in its run, whatever its attempt.
type place struct {
	minion job.MinionID
	share  uint32
}

// arrival is a task that has come to a barrier.
type arrival struct {
	attempt int
	// waiting is how many of its requests wait now, seen when the last one left.
	waiting int
	seen    time.Time
}

// barrier is one that tasks wait at.
type barrier struct {
	sc    *scope
	name  string
	fence Fence
	fire  job.FireID
	// count is how many tasks it was said to wait for; 0: all.
	count int
	// wake has one place: somebody has come.
	wake chan struct{}
	// done is closed when answer says what has become of it.
	done   chan struct{}
	answer shared.Answer

	mu sync.Mutex
	// mu guards what follows.
	here map[place]*arrival
	last finding
	over bool
}

// finding is what is known of a barrier.
type finding struct {
	open bool
	// broken says why it can never open; empty: it can.
	broken string
	// here, of so many, have come; missing are some of those that have not.
	here, of int
	missing  []string
}

// missingMost is how many missing tasks are named.
const missingMost = 5

// judge finds out what has become of a barrier that waits for count tasks of a run, or for
// all (H5).
func judge(count int, fellows []job.Fellow, here func(*job.Fellow) bool) finding {
	f := finding{of: count}
	if count == 0 {
		f.of = len(fellows)
	}
	var gone *job.Fellow
	left := 0
	for i := range fellows {
		t := &fellows[i]
		switch {
		case t.State != "":
			if gone == nil {
				gone = t
			}
			continue
		case here(t):
			f.here++
		case len(f.missing) < missingMost:
			f.missing = append(f.missing, nameOf(t))
		}
		left++
	}
	switch {
	case f.of > 0 && f.here >= f.of:
		f.open = true
	case left < f.of && gone != nil:
		f.broken = fmt.Sprintf("the task on %s has ended (%s), so that %d of the %d tasks that it waits for are left", nameOf(gone), gone.State, left, f.of)
	case left < f.of:
		f.broken = fmt.Sprintf("it waits for %d tasks, and the run has %d", f.of, left)
	}
	return f
}

func nameOf(t *job.Fellow) string {
	if t.Minion == "" {
		return "a minion that is not chosen yet"
	}
	return string(t.Minion)
}

// words tells how far a barrier is.
func (f *finding) words(name string) string {
	text := fmt.Sprintf("%s: %d of %d tasks have come", name, f.here, f.of)
	if len(f.missing) > 0 {
		text += "; missing: " + strings.Join(f.missing, ", ")
		if more := f.of - f.here - len(f.missing); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// arrive has a task come to a barrier of the scope's run. The answer, if it has a code, is a
// refusal.
func (sc *scope) arrive(m *job.Member, f Fence, task job.TaskID, r *shared.Request) (*barrier, shared.Answer) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	b := sc.barriers[r.Key]
	if b == nil {
		if len(sc.barriers) >= shared.MaxBarriers {
			return nil, shared.Answer{Code: shared.CodeFull, Reason: fmt.Sprintf("tasks of the run wait at %d barriers already", len(sc.barriers))}
		}
		b = &barrier{
			sc: sc, name: r.Key, fence: f, fire: m.Fire, count: r.Count, wake: make(chan struct{}, 1), done: make(chan struct{}),
			here: map[place]*arrival{}, last: finding{of: r.Count},
		}
		if !sc.s.spawn(b.run) {
			return nil, unavailable("the node stops")
		}
		sc.barriers[r.Key] = b
	}
	if b.count != r.Count {
		return nil, shared.Refusef("barrier %s: this task says that it waits for %s, and another has said %s", r.Key, number(r.Count), number(b.count))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := place{task.Minion, task.Fire.Share}
	a := b.here[at]
	if a == nil || a.attempt != task.Attempt {
		a = &arrival{attempt: task.Attempt}
		b.here[at] = a
	}
	a.waiting++
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return b, shared.Answer{}
}

func number(n int) string {
	if n == 0 {
		return "all tasks of the run"
	}
	return fmt.Sprintf("%d tasks", n)
}

// leave has a request of a task wait no more; withdrawn: the task has given up.
func (b *barrier) leave(task job.TaskID, withdrawn bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := place{task.Minion, task.Fire.Share}
	a := b.here[at]
	if a == nil || a.attempt != task.Attempt {
		return
	}
	a.waiting--
	a.seen = time.Now()
	if withdrawn && a.waiting <= 0 {
		delete(b.here, at)
	}
}

// isHere reports whether a task waits, or has just asked. The caller holds mu.
func (b *barrier) isHere(t *job.Fellow) bool {
	a := b.here[place{t.Minion, t.Share}]
	return a != nil && a.attempt == t.Attempt && (a.waiting > 0 || time.Since(a.seen) < ForgetAfter)
}

// run looks after a barrier until it is known what has become of it, or nobody waits.
func (b *barrier) run() {
	// It may have opened after the first who waits has asked.
	if a := b.sc.known(b.sc.s.ctx, b.fence, b.name, b.count); a.Code != shared.CodeAgain {
		b.finish(a)
		return
	}
	tick := time.NewTicker(JudgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.wake:
		case <-tick.C:
		case <-b.sc.s.ctx.Done():
			b.finish(unavailable("the node stops"))
			return
		}
		if a, ok := b.look(); ok {
			b.finish(a)
			return
		}
		if b.left() {
			return
		}
		select { // many that come at once are looked at once
		case <-time.After(WriteEvery):
		case <-b.sc.s.ctx.Done():
		}
	}
}

// look finds out what has become of the barrier, and stores it (H5). It reports false when
// that is not known yet.
func (b *barrier) look() (shared.Answer, bool) {
	ctx, cancel := context.WithTimeout(b.sc.s.ctx, storeTimeout)
	defer cancel()
	fellows, err := b.sc.s.deps.Runs.Fellows(ctx, b.fence.Shard, b.fire)
	switch {
	case errors.Is(err, job.ErrUnavailable):
		return unavailable("the run has another node by now"), true
	case err != nil:
		return shared.Answer{}, false
	case len(fellows) == 0:
		return shared.Refusef("the run has ended"), true
	}
	b.mu.Lock()
	f := judge(b.count, fellows, b.isHere)
	b.last = f
	b.mu.Unlock()
	if !f.open && f.broken == "" {
		return shared.Answer{}, false
	}
	a := b.sc.do(b.sc.s.ctx, b.fence, func(v *value) shared.Answer {
		return v.mark(b.name, etcdkv.SharedBarrier{Broken: f.broken, Count: b.count, Of: f.of})
	})
	return a, true
}

// finish tells all that wait, or come now.
func (b *barrier) finish(a shared.Answer) {
	b.sc.mu.Lock()
	delete(b.sc.barriers, b.name)
	b.sc.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer, b.over = a, true
	close(b.done)
}

// left reports whether nobody waits any more, and forgets the barrier then.
func (b *barrier) left() bool {
	b.sc.mu.Lock()
	defer b.sc.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.here {
		if a.waiting > 0 || time.Since(a.seen) < ForgetAfter {
			return false
		}
	}
	delete(b.sc.barriers, b.name)
	return true
}

// known tells what has become of a barrier: again, if that is not known.
func (sc *scope) known(ctx context.Context, f Fence, name string, count int) shared.Answer {
	return sc.do(ctx, f, func(v *value) shared.Answer {
		was, ok := v.Barriers[name]
		switch {
		case !ok:
			return shared.Answer{Code: shared.CodeAgain}
		case was.Count != count:
			return shared.Refusef("barrier %s: this task says that it waits for %s, and it has waited for %s", name, number(count), number(was.Count))
		}
		return passed(name, &was)
	})
}

// barrier has a task wait at a barrier. Poll is when it is to ask again; without, it has
// given up then.
func (sc *scope) barrier(ctx context.Context, m *job.Member, f Fence, task job.TaskID, r *shared.Request, poll bool) shared.Answer {
	if r.Count > m.Tasks {
		return shared.Refusef("barrier %s waits for %d tasks, and the run has %d: it would never open", r.Key, r.Count, m.Tasks)
	}
	if known := sc.known(ctx, f, r.Key, r.Count); known.Code != shared.CodeAgain {
		return known
	}
	b, refused := sc.arrive(m, f, task, r)
	if b == nil {
		return refused
	}
	select {
	case <-b.done:
		b.leave(task, false)
		return b.answer
	case <-ctx.Done():
	}
	b.leave(task, !poll)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return b.answer
	}
	return shared.Answer{Code: shared.CodeAgain, Reason: b.last.words(r.Key), Arrived: b.last.here, Of: b.last.of}
}
