package worker

import (
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// tasks is what the minion knows of its tasks: what is durable, what holds a place
// or waits for one, what a node is to be told, and the shim that they are handed
// to. One mutex guards it all, since each step of a task changes several of them;
// no part does I/O while it holds it, but to queue records.
type tasks struct {
	*base
	// startWake tells the starter that there is a place or a task.
	startWake chan struct{}

	mu sync.Mutex
	// mu guards the following.
	journal  *journal
	places   places
	out      outbox
	clock    serverClock
	texts    texts
	client   *shim.Client
	shimID   string
	stopping bool
}

func newTasks(b *base) *tasks {
	return &tasks{
		base: b, startWake: make(chan struct{}, 1), journal: &journal{taskTable: newTaskTable()}, out: newOutbox(),
		places: places{max: b.cfg.MaxRunning, renewals: renewals{asked: map[taskKey]time.Time{}}},
	}
}

// overdue returns why a task must not be started any more by the order that we
// have (I9); empty: it may. The caller holds mu.
func (ts *tasks) overdue(e *entry) string {
	o := e.order
	switch {
	case o == nil:
		return ""
	case o.Token.Less(ts.journal.tokens[e.shard]):
		return whyNewOwner
	case o.HoldUntil != 0 && (e.recovered || ts.deps.clock() > o.HoldUntil):
		// What an earlier process has accepted may be of an earlier boot, whose
		// clock was another.
		return whyOver
	}
	return ""
}

// returned makes the report that gives a task back. The caller holds mu.
func (ts *tasks) returned(e *entry, why string) *job.Report {
	if why == whyOver && !e.recovered {
		ts.places.renewals.ask(e.key, time.Now())
	}
	r := &job.Report{Task: e.key.id(ts.cfg.ID), Shard: e.shard, Returned: true, Reason: "was not started before " + why}
	if e.order != nil {
		r.Token, r.Term = e.order.Token, e.order.Term
	}
	return r
}

// place gives the task a place if there is one, and nobody waits before it.
// The caller holds mu and journals the intent.
func (ts *tasks) place(e *entry) bool {
	if ts.places.active >= ts.cfg.MaxRunning || ts.places.waiting.len()+ts.places.renewals.line.len() > 0 && !e.renewed || ts.client == nil {
		return false
	}
	ts.places.count(e)
	e.phase, e.instance, e.boot = phaseIntent, ts.starter(e), ts.boot
	return true
}

// starter names who starts the task: a shim, which outlives this process, or
// this process itself, where no other can find out what came of it. The caller
// holds mu.
func (ts *tasks) starter(e *entry) string {
	if handled(e.order) {
		return HandlerPrefix + ts.instance
	}
	return ts.shimID
}

// retreat brings a task that was handed over but not started back in line.
func (ts *tasks) retreat(e *entry, lost []*job.Report) []*job.Report {
	ts.places.free(e)
	e.phase = phaseAccepted
	switch {
	case e.cancelled:
		return append(lost, cancelled(e.key.id(ts.cfg.ID), e.shard, ts.clock.now(), "cancelled before it was started", e.cancelReason))
	case e.recovered:
		ts.places.held = append(ts.places.held, e)
	default:
		ts.places.waiting.putBack(e)
	}
	return lost
}

// release lets tasks that an earlier process accepted go on, now that the
// servers' time is known. It returns reports of those that came too late.
func (ts *tasks) release() []*job.Report {
	var late []*job.Report
	var early []*entry
	now := ts.clock.now()
	for _, e := range ts.places.held {
		if e.settling != nil || e.final != nil {
			continue
		}
		if why := ts.overdue(e); why != "" {
			late = append(late, ts.returned(e, why))
			continue
		}
		if o := e.order; !o.NotAfter.IsZero() && now.After(o.NotAfter) {
			late = append(late, &job.Report{
				Task: e.key.id(ts.cfg.ID), Shard: e.shard, Known: true, State: job.StateExpired,
				Reason:  "accepted, but the minion was restarted before the start and the delivery deadline has passed",
				EndedAt: now, Spooled: true,
			})
			continue
		}
		e.recovered = false
		early = append(early, e)
	}
	ts.places.held = nil
	ts.places.waiting.putBack(early...)
	return late
}

// indeterminate says that nobody can tell what became of a task, and what was found
// of it.
func (ts *tasks) indeterminate(e *entry, found string) *job.Report {
	reason := "the minion's supervising process died; the command may or may not have run to its end"
	switch {
	case e.recovered && ts.journal.damaged:
		reason = "the minion's journal is damaged; the command may or may not have run"
	case e.recovered && ts.journal.doubts(e):
		reason = "the minion's data directory is an older copy; the command may or may not have run"
	case e.boot != "" && e.boot != ts.boot:
		reason = "the host was restarted before the command's end was recorded"
	case strings.HasPrefix(e.instance, HandlerPrefix):
		reason = "the minion's process ended while a Go handler ran the task, or was about to"
	case e.phase == phaseHanded:
		reason = "the minion's supervising process died; the command may or may not have been started"
	}
	return &job.Report{
		Task: e.key.id(ts.cfg.ID), Shard: e.shard, Known: true, State: job.StateIndeterminate,
		Reason: reason + found, StartedAt: instant(e.startedAt), EndedAt: time.Now().UTC(), Spooled: true,
	}
}

// open reports whether the task is known, and whether it has not ended.
func (ts *tasks) open(key taskKey) (known, open bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if e := ts.journal.live[key]; e != nil {
		return true, e.final == nil
	}
	_, known = ts.journal.past[key]
	return known, false
}
