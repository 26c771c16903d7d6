package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/job"
)

// leased is a node whose orders have an end of their owner's lease, and the clock
// of its minions.
func leased(t *testing.T) (n *node, clock *atomic.Int64) {
	t.Helper()
	clock = &atomic.Int64{}
	clock.Store(int64(time.Hour))
	n = newNode(t)
	n.ahead = proto.Int64(0)
	n.change = func(d *Deps) { d.clock = func() time.Duration { return time.Duration(clock.Load()) } }
	return n, clock
}

// until sets the end of an order's lease, on the minion's clock. It is far from
// the machine's, by which the shim goes: that one is not held back by it.
func until(o *job.Order, end time.Duration) *job.Order {
	o.HoldUntil = end
	return o
}

func (n *node) returned(o *job.Order) job.Report {
	n.t.Helper()
	return n.report(o.Task, "word that it is given back", func(r *job.Report) bool { return r.Returned })
}

// far is an end of a lease on the clocks of both the minion and its shim.
const far = 1 << 60

// TestI9_AnOrderThatComesLateStartsNothing: not one that reaches the minion after
// the end of its owner's lease; with another end it is an order as any. Where the
// node says nothing of the clocks, ends mean nothing.
func TestI9_AnOrderThatComesLateStartsNothing(t *testing.T) {
	t.Parallel()
	n, _ := leased(t)
	start(t, n, dataDir(t))
	file := filepath.Join(t.TempDir(), "runs")
	o := until(shell("echo x >> %s", file), time.Hour-1)
	n.order(o)
	if r := n.returned(o); r.Known || !strings.Contains(r.Reason, whyOver) {
		t.Errorf("report = %+v", r)
	}
	if got := lines(t, file); len(got) != 0 {
		t.Fatalf("it ran %d times", len(got))
	}
	n.order(until(o, far))
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
	n.ahead = nil
	old := until(shell("true"), time.Hour-1)
	n.order(old)
	if r := n.final(old); r.State != job.StateSucceeded {
		t.Errorf("by a node that says nothing of the clocks: %+v", r)
	}
}

// TestGivenBackIsToldAgain: who asks about a task that was given back is told so,
// until it comes again: an owner that has been told that the minion has it would take
// "never accepted" for a lost journal.
func TestGivenBackIsToldAgain(t *testing.T) {
	t.Parallel()
	n, clock := leased(t)
	start(t, n, dataDir(t), func(c *Config) { c.MaxRunning = 1 })
	file := filepath.Join(t.TempDir(), "go")
	first := until(shell("while ! [ -e %s ]; do sleep 0.01; done", file), far)
	o := until(shell("true"), time.Hour+1)
	n.order(first, o)
	n.running(first)
	clock.Add(2)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.returned(o)
	n.forget()
	n.ask(o.Task, o.Shard, o.Token)
	if r := n.report(o.Task, "an answer", func(r *job.Report) bool { return r.Term == askedTerm }); !r.Returned || r.Known {
		t.Errorf("answer: %+v", r)
	}
	n.order(until(o, far))
	n.final(o)
	n.forget()
	n.ask(o.Task, o.Shard, o.Token)
	if r := n.report(o.Task, "an answer", func(*job.Report) bool { return true }); r.Returned || r.State != job.StateSucceeded {
		t.Errorf("answer about a task that came again: %+v", r)
	}
}

// TestI9_TheShimLooksLast: what was in time when the minion handed it over, and is
// late when it is to be started, is not started.
func TestI9_TheShimLooksLast(t *testing.T) {
	t.Parallel()
	n, clock := leased(t)
	clock.Store(0) // the machine, and so the shim, has been up for longer
	start(t, n, dataDir(t))
	file := filepath.Join(t.TempDir(), "runs")
	o := until(shell("echo x >> %s", file), time.Nanosecond)
	n.order(o)
	n.returned(o)
	n.order(until(o, far))
	n.final(o)
	if got := lines(t, file); len(got) != 1 {
		t.Errorf("it ran %d times", len(got))
	}
}

// TestI9_WhatComesBackAtOnceIsStarted: the shim found that it was too late for a task,
// which was told, ordered again and handed over before the minion went on.
func TestI9_WhatComesBackAtOnceIsStarted(t *testing.T) {
	t.Parallel()
	n, clock := leased(t)
	clock.Store(0)
	leased, told := n.change, make(chan struct{})
	n.change = func(d *Deps) {
		leased(d)
		d.Crash = func(point string) {
			if point == "told" {
				<-told
			}
		}
	}
	m, _ := start(t, n, dataDir(t))
	o := until(shell("true"), time.Nanosecond)
	n.order(o)
	n.returned(o)
	n.order(until(o, far))
	poll(t, "hand-over", func() bool {
		m.tasks.mu.Lock()
		defer m.tasks.mu.Unlock()
		e := m.tasks.journal.live[keyOf(o.Task)]
		return e != nil && e.phase == phaseHanded
	})
	close(told)
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report %+v", r)
	}
}

// TestI9_WhatWaitsIsGivenBackAtItsTurn: while a lease ends, tasks wait for a place.
// One for each place is given back when one is free, keeps its turn, and is started
// once by the order that comes then.
func TestI9_WhatWaitsIsGivenBackAtItsTurn(t *testing.T) {
	t.Parallel()
	n, clock := leased(t)
	m, _ := start(t, n, dataDir(t), func(c *Config) { c.MaxRunning = 1 })
	dir := t.TempDir()
	file, gate := filepath.Join(dir, "runs"), filepath.Join(dir, "gate")
	first := until(shell("while ! [ -e %s ]; do sleep 0.01; done", gate), far)
	n.order(first)
	n.running(first)
	var waits []*job.Order
	for i := range 3 {
		waits = append(waits, until(shell("echo %d >> %s", i, file), 2*time.Hour))
	}
	n.order(waits...)
	clock.Store(int64(3 * time.Hour))
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, o := range waits {
		n.returned(o)
		n.mu.Lock()
		for _, later := range waits[i+1:] {
			for _, r := range n.reports {
				if r.Returned && keyOf(r.Task) == keyOf(later.Task) {
					t.Errorf("task %v is given back, and there is no place for it", r.Task)
				}
			}
		}
		n.mu.Unlock()
		again := *o
		n.order(until(&again, far))
		n.final(o)
	}
	if got := fmt.Sprint(lines(t, file)); got != "[0 1 2]" {
		t.Errorf("ran: %s", got)
	}
	poll(t, "end of all", func() bool { s := m.Status(); return s.Running == 0 && s.Waiting == 0 })
}

// TestI9_ANewOwnersQuestionTakesWhatWaits: a task that waits under a lower token is
// given back to whoever asks about it, also after a restart, and runs once, by the
// asker's order.
func TestI9_ANewOwnersQuestionTakesWhatWaits(t *testing.T) {
	t.Parallel()
	n, _ := leased(t)
	dir := dataDir(t)
	one := func(c *Config) { c.MaxRunning = 1 }
	_, stop := start(t, n, dir, one)
	tmp := t.TempDir()
	file, gate := filepath.Join(tmp, "runs"), filepath.Join(tmp, "gate")
	first := until(shell("while ! [ -e %s ]; do sleep 0.01; done", gate), far)
	first.Shard++
	n.order(first)
	n.running(first)
	o := until(shell("echo $CARILLON_TOKEN >> %s", file), far)
	n.order(o)
	newer := job.Token{Epoch: 1, Revision: 99}
	n.ask(o.Task, o.Shard, newer)
	if r := n.returned(o); r.Known || !strings.Contains(r.Reason, whyNewOwner) || r.Token != newer {
		t.Errorf("report = %+v, want that it answers %v", r, newer)
	}
	stop()
	n.forget()
	start(t, n, dir, one)
	n.ask(o.Task, o.Shard, newer)
	if r := n.report(o.Task, "answer", func(*job.Report) bool { return true }); r.Known || r.State != "" || r.Token != newer || r.Term != askedTerm {
		t.Errorf("after a restart it says %+v, want that it does not know it, in answer to %v", r, newer)
	}
	n.order(o) // a copy of the old order
	n.report(o.Task, "refusal", func(r *job.Report) bool { return r.State == job.StateRejected })
	n.forget()
	again := *o
	again.Token = newer
	n.order(&again)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.final(&again)
	if got := lines(t, file); len(got) != 1 || got[0] != newer.String() {
		t.Errorf("ran under %v, want once under %v", got, newer)
	}
}

// TestI9_AQuestionTakesNoTurn: who has a task waiting, and asks about it when its
// lease has ended, is told that it is here: it keeps its turn, and is given back when
// that comes.
func TestI9_AQuestionTakesNoTurn(t *testing.T) {
	t.Parallel()
	n, clock := leased(t)
	start(t, n, dataDir(t), func(c *Config) { c.MaxRunning = 1 })
	gate := filepath.Join(t.TempDir(), "gate")
	first := until(shell("while ! [ -e %s ]; do sleep 0.01; done", gate), far)
	o := until(shell("true"), time.Hour+1)
	n.order(first, o)
	n.running(first)
	clock.Add(2)
	n.forget()
	n.ask(o.Task, o.Shard, o.Token)
	if r := n.report(o.Task, "answer", func(*job.Report) bool { return true }); !r.Known || r.State != job.StateRunning || !r.StartedAt.IsZero() {
		t.Errorf("answer: %+v", r)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.returned(o)
	n.order(until(o, far))
	n.final(o)
}

// TestI9_ARestartEndsLeases: what an earlier process accepted, and did not start,
// has an end of a lease on a clock that may be another: it is given back.
func TestI9_ARestartEndsLeases(t *testing.T) {
	t.Parallel()
	n, _ := leased(t)
	dir := dataDir(t)
	one := func(c *Config) { c.MaxRunning = 1 }
	_, stop := start(t, n, dir, one)
	gate := filepath.Join(t.TempDir(), "gate")
	first := until(shell("while ! [ -e %s ]; do sleep 0.01; done", gate), far)
	n.order(first)
	n.running(first)
	o := until(shell("true"), far)
	n.order(o)
	stop()
	n.forget()
	start(t, n, dir, one)
	n.returned(o)
	n.order(o)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
}

// TestI12_AnOrderThatComesEarlyIsGivenBack: one of a schedule whose instant is far
// from having come, by the clocks of the minion and of its node, starts nothing. Once
// its time has come, it is an order as any.
func TestI12_AnOrderThatComesEarlyIsGivenBack(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	start(t, n, dataDir(t))
	file := filepath.Join(t.TempDir(), "runs")
	o := shell("echo x >> %s", file)
	o.Task.Fire.Trigger, o.ScheduledAt = job.TriggerSchedule, time.Now().Add(8*time.Hour)
	n.order(o)
	if r := n.returned(o); r.Known || !strings.Contains(r.Reason, "its time has not come") {
		t.Errorf("report = %+v", r)
	}
	if got := lines(t, file); len(got) != 0 {
		t.Fatalf("it ran %d times", len(got))
	}
	o.ScheduledAt = time.Now()
	n.order(o)
	n.final(o)
	if got := lines(t, file); len(got) != 1 {
		t.Fatalf("it ran %d times", len(got))
	}
}

// TestGivenBackOutlivesItsSession: that a task was given back, and was not sent when
// a session ended, is told in the next one: nobody may ask. Answers are asked for.
func TestGivenBackOutlivesItsSession(t *testing.T) {
	t.Parallel()
	m, err := New(Config{ID: "m1", DataDir: t.TempDir(), Servers: []string{"127.0.0.1:1"}, ShimCommand: shimCommand()}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	given, other := newOrder("x"), newOrder("x")
	m.tasks.out.answer(&job.Report{Task: other.Task, Reason: "the minion has never accepted it"})
	e := m.tasks.journal.accept(given)
	m.tasks.journal.settle(m.tasks.returned(e, whyOver))
	m.reporting.commit([]*entry{e}, nil)
	m.tasks.out.reset(m.tasks.journal.taskTable)
	if left := m.tasks.out.answers; len(left) != 1 || !left[0].Returned || left[0].Task != given.Task {
		t.Errorf("told in the next session: %+v", left)
	}
}
