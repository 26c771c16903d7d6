package worker

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// renewals are the tasks that were given back when their turn had come, because
// the lease of who had sent them ended while they waited. As a rule their owner
// has a new one, and sends them again at once: they are first then.
//
// No more tasks are given back than there are free places: many wait, and each
// start would cost a round trip for all of them.
type renewals struct {
	// asked is when each was given back; it is forgotten when it comes, or after
	// renewalWait.
	asked map[taskKey]time.Time
	// order is asked in the order of its times, with some that have come since.
	order []asking
	// line are those that have come again, and wait for a place.
	line taskLine
}

// asking says when a task was given back.
type asking struct {
	key taskKey
	at  time.Time
}

// ask notes that a task was given back.
func (r *renewals) ask(key taskKey, now time.Time) {
	r.asked[key] = now
	r.order = append(r.order, asking{key, now})
}

// giveUp forgets those that have not come within renewalWait. It costs what it
// forgets.
func (r *renewals) giveUp(now time.Time) {
	n := 0
	for ; n < len(r.order); n++ {
		first := &r.order[n]
		if at, ok := r.asked[first.key]; !ok || !at.Equal(first.at) {
			continue // it has come
		}
		if now.Sub(first.at) <= renewalWait {
			break
		}
		delete(r.asked, first.key)
	}
	if r.order = r.order[n:]; len(r.order) == 0 {
		r.order = nil
	}
}

// renewalWait is how long the places are kept free for a task that was given back.
const renewalWait = 3 * time.Second

// Why a task is not started.
const (
	whyOver     = "the lease of the owner that had sent it ended"
	whyNewOwner = "its shard got a newer owner"
)

// overdue returns why a task must not be started any more by the order that we
// have (I9); empty: it may. The caller holds mu.
func (m *Minion) overdue(e *entry) string {
	o := e.order
	switch {
	case o == nil:
		return ""
	case o.Token.Less(m.journal.tokens[e.shard]):
		return whyNewOwner
	case o.HoldUntil != 0 && (e.recovered || m.deps.clock() > o.HoldUntil):
		// What an earlier process has accepted may be of an earlier boot, whose
		// clock was another.
		return whyOver
	}
	return ""
}

// returned makes the report that gives a task back. The caller holds mu.
func (m *Minion) returned(e *entry, why string) *job.Report {
	if why == whyOver && !e.recovered {
		m.renewals.ask(e.key, time.Now())
	}
	r := &job.Report{Task: e.key.id(m.cfg.ID), Shard: e.shard, Returned: true, Reason: "was not started before " + why}
	if e.order != nil {
		r.Token, r.Term = e.order.Token, e.order.Term
	}
	return r
}

// wait puts a task in line. The caller holds mu.
func (m *Minion) wait(e *entry) {
	if e.renewed {
		m.renewals.line.push(e)
		return
	}
	m.waiting.push(e)
}

// first returns the task whose turn it is, nil when none waits. The caller holds
// mu.
func (m *Minion) first() *entry {
	m.renewals.giveUp(time.Now())
	for _, line := range []*taskLine{&m.renewals.line, &m.waiting} {
		for e := line.first(); e != nil; e = line.first() {
			if e.settling == nil && e.final == nil {
				return e
			}
			line.drop() // cancelled meanwhile
		}
	}
	return nil
}

// dropFirst takes the task out of line that first has returned. The caller holds
// mu.
func (m *Minion) dropFirst() {
	if m.renewals.line.len() > 0 {
		m.renewals.line.drop()
		return
	}
	m.waiting.drop()
}
