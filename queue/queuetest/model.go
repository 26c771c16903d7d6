package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/queue"
)

// model is what a queue must do, one step after the other.
type model struct {
	Subject
	seq int
	// items are by their IDs.
	items   map[string]*modelItem
	workers []queue.Worker
	// late are receipts of claims that have ended.
	late []queue.Receipt
}

type modelItem struct {
	queue.Item
	// place is its place in line.
	place    int
	attempts int
	dead     bool
	// worker has it, by this claim; empty: nobody.
	worker queue.Worker
	claim  queue.Receipt
}

func (i *modelItem) claimed() bool { return i.worker.ID != "" }

// TestModel compares the queue with a model of it, by random steps. open
// returns a subject that lets failed items wait no time, and how to close it.
func TestModel(t *testing.T, open func() (Subject, func())) {
	rapid.Check(t, func(rt *rapid.T) {
		s, stop := open()
		defer stop()
		m := &model{Subject: s, items: map[string]*modelItem{}}
		m.workers = []queue.Worker{s.Worker(rt), s.Worker(rt)}
		rt.Repeat(map[string]func(*rapid.T){
			"put":     m.put,
			"claim":   m.claim,
			"done":    func(rt *rapid.T) { m.settle(rt, "done") },
			"fail":    func(rt *rapid.T) { m.settle(rt, "fail") },
			"extend":  func(rt *rapid.T) { m.settle(rt, "extend") },
			"late":    m.tooLate,
			"lose":    m.lose,
			"redrive": m.redrive,
			"restart": func(rt *rapid.T) { s.Restart(rt) },
			"":        m.check,
		})
	})
}

// pick draws one of the items that ok admits, or skips the step.
func (m *model) pick(rt *rapid.T, ok func(*modelItem) bool) *modelItem {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.items)) {
		if ok(m.items[name]) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		rt.SkipNow()
	}
	return m.items[rapid.SampledFrom(names).Draw(rt, "item")]
}

// line returns the items that may be claimed, the next one first.
func (m *model) line() []*modelItem {
	var line []*modelItem
	for _, it := range m.items {
		if !it.dead && !it.claimed() {
			line = append(line, it)
		}
	}
	slices.SortFunc(line, func(a, b *modelItem) int {
		if a.Priority != b.Priority {
			return b.Priority - a.Priority
		}
		return a.place - b.place
	})
	return line
}

func (m *model) put(rt *rapid.T) {
	it := queue.Item{ID: fmt.Sprintf("id-%d", rapid.IntRange(0, 15).Draw(rt, "id")), Priority: rapid.IntRange(0, 2).Draw(rt, "priority")}
	m.seq++
	it.Payload = []byte(fmt.Sprint(m.seq))
	if _, err := m.Queue.Put(context.Background(), it); err != nil {
		rt.Fatalf("put: %v", err)
	}
	if m.items[it.ID] == nil { // Q8
		m.items[it.ID] = &modelItem{Item: it, place: m.seq}
	}
}

func (m *model) claim(rt *rapid.T) {
	line := m.line()
	if len(line) == 0 {
		rt.SkipNow()
	}
	m.Sync(rt)
	w := rapid.SampledFrom(m.workers).Draw(rt, "worker")
	n := rapid.IntRange(1, 4).Draw(rt, "n")
	got, err := m.Queue.Claim(context.Background(), w, n)
	if err != nil {
		rt.Fatalf("claim: %v", err)
	}
	want := line[:min(n, len(line))]
	if len(got) != len(want) {
		rt.Fatalf("claimed %d items, want %d", len(got), len(want))
	}
	for i, it := range want {
		c := got[i]
		it.attempts++
		if c.ID != it.ID || c.Priority != it.Priority || c.Attempt != it.attempts || string(c.Payload) != string(it.Payload) {
			rt.Fatalf("claimed %+v, want %+v", c, *it)
		}
		it.worker, it.claim = w, c.Receipt
	}
}

// over ends an item's claim without success.
func (m *model) over(it *modelItem) {
	m.late = append(m.late, it.claim)
	it.worker, it.dead = queue.Worker{}, it.attempts >= Attempts
}

func (m *model) settle(rt *rapid.T, how string) {
	it := m.pick(rt, (*modelItem).claimed)
	var err error
	switch how {
	case "done":
		err = m.Queue.Done(context.Background(), it.claim)
		m.late = append(m.late, it.claim)
		delete(m.items, it.ID)
	case "fail":
		err = m.Queue.Fail(context.Background(), it.claim, "no")
		m.over(it)
	case "extend":
		err = m.Queue.Extend(context.Background(), it.claim)
	}
	if err != nil {
		rt.Fatalf("%s: %v", how, err)
	}
}

func (m *model) tooLate(rt *rapid.T) {
	if len(m.late) == 0 {
		rt.SkipNow()
	}
	r := rapid.SampledFrom(m.late).Draw(rt, "receipt")
	for what, err := range map[string]error{
		"done":   m.Queue.Done(context.Background(), r),
		"fail":   m.Queue.Fail(context.Background(), r, "late"),
		"extend": m.Queue.Extend(context.Background(), r),
	} {
		if !errors.Is(err, queue.ErrLost) {
			rt.Fatalf("%s by a claim that has ended: %v, want %v", what, err, queue.ErrLost)
		}
	}
}

func (m *model) lose(rt *rapid.T) {
	i := rapid.IntRange(0, len(m.workers)-1).Draw(rt, "worker")
	m.Lose(rt, m.workers[i])
	for _, it := range m.items {
		if it.claimed() && it.worker == m.workers[i] {
			m.over(it)
		}
	}
	m.workers[i] = m.Worker(rt)
}

func (m *model) redrive(rt *rapid.T) {
	it := m.pick(rt, func(it *modelItem) bool { return it.dead })
	m.check(rt) // it may be on its way to the dead letters
	if err := m.Queue.Redrive(context.Background(), it.Priority, it.ID); err != nil {
		rt.Fatalf("redrive: %v", err)
	}
	m.seq++
	it.dead, it.attempts, it.place = false, 0, m.seq
}

// check waits until the queue counts as the model does.
func (m *model) check(rt *rapid.T) {
	var want queue.Stats
	for _, it := range m.items {
		switch {
		case it.dead:
			want.Dead++
		case it.claimed():
			want.InFlight++
		default:
			want.Waiting++
		}
	}
	await.Missing(rt, missing(m.Queue, want))
}
