package worker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// phase is how far a task has come on this minion.
type phase uint8

const (
	// phaseAccepted: durable, waits for its turn.
	phaseAccepted phase = iota
	// phaseIntent: that it is started next is durable, or becomes so now.
	phaseIntent
	// phaseHanded: the shim was told to start it.
	phaseHanded
	// phaseRunning: the shim has started it.
	phaseRunning
	// phaseEnded: there is a final report.
	phaseEnded
)

// entry is a task that is not done, or whose report is not acknowledged.
type entry struct {
	key   taskKey
	shard job.ShardID
	phase phase
	order *job.Order // nil once ended
	// instance and boot are the shim and the boot that the intent named.
	instance, boot string
	startedAt      int64
	// pid and ticks are the process that the shim has started, and its start time.
	// seen: this process was told of it by the shim that has it.
	pid   int
	ticks uint64
	seen  bool
	// orphaned: its shim has died, and what is left of it is being ended; orphanedAt
	// is since when, ended how many processes were.
	orphaned   bool
	orphanedAt int64
	ended      int
	// stop ends the task's Go handler, while one runs it in this process.
	stop context.CancelCauseFunc
	// progress and checkpoint are what it has told last; toldAt is when that was sent,
	// telling: it will be.
	progress   *job.Progress
	checkpoint string
	toldAt     time.Time
	telling    bool
	// cancelled: the task was asked to end; cancelReason says why.
	cancelled    bool
	cancelReason string
	// recovered: accepted by an earlier process; NotAfter is looked at again.
	recovered bool

	// renewed: it was given back when its turn had come, and is here again.
	renewed bool

	// seq orders tasks by their arrival.
	seq uint64
	// counted: the task holds one of the MaxRunning places.
	counted bool

	// settling is the last report while it is on its way to the disk, final
	// once it is durable.
	settling, final *job.Report
	// queued: the key is in the outbox. sentAt is when final was last sent.
	queued bool
	sentAt time.Time

	// parkedFor is the hash of the text that the task waits for; empty: it waits
	// for none.
	parkedFor string
	// found are its secrets, from when they were found out until it is started; nil:
	// they are not.
	found *found
}

// taskTable is what the journal says, in memory. The minion's mutex guards it.
type taskTable struct {
	live   map[taskKey]*entry
	past   map[taskKey]past
	tokens map[job.ShardID]job.Token
	// open is which attempt of a fire has not ended.
	open map[job.FireID]int
	seq  uint64
	// given is when tasks were given back that have not come again since, givenOrder
	// each time that one was, those that have come again among them.
	given      map[taskKey]time.Time
	givenOrder []givenBack
	// forget are the keys of past in the order in which they were acknowledged.
	forget []taskKey
	// unacked is how many last reports wait for their acknowledgement.
	unacked int
}

func newTaskTable() *taskTable {
	return &taskTable{
		live: map[taskKey]*entry{}, past: map[taskKey]past{},
		tokens: map[job.ShardID]job.Token{}, open: map[job.FireID]int{}, given: map[taskKey]time.Time{},
	}
}

// raise notes a token and reports whether it is higher than all before.
func (l *taskTable) raise(s job.ShardID, t job.Token) bool {
	if !l.tokens[s].Less(t) {
		return false
	}
	l.tokens[s] = t
	return true
}

// accept enters a task.
func (l *taskTable) accept(o *job.Order) *entry {
	l.seq++
	e := &entry{key: keyOf(o.Task), shard: o.Shard, order: o, seq: l.seq}
	delete(l.given, e.key)
	l.live[e.key] = e
	l.open[e.key.fire] = e.key.attempt
	return e
}

// remove takes a task back that did not become durable.
func (l *taskTable) remove(e *entry) {
	delete(l.live, e.key)
	l.closeFire(e.key)
}

// settle notes the last report of a task that is on its way to the disk. A
// task that was never accepted gets an entry with it. It returns nil when the
// task has a last report already.
func (l *taskTable) settle(r *job.Report) *entry {
	key := keyOf(r.Task)
	e := l.live[key]
	if r.Returned && (e == nil || e.phase >= phaseRunning) {
		return nil
	}
	if e == nil {
		l.seq++
		e = &entry{key: key, shard: r.Shard, phase: phaseEnded, seq: l.seq}
		l.live[key] = e
	}
	if e.settling != nil || e.final != nil {
		return nil
	}
	e.settling = r
	return e
}

// end makes the report that is being settled the final one.
func (l *taskTable) end(e *entry) {
	e.phase, e.final, e.settling, e.order = phaseEnded, e.settling, nil, nil
	l.unacked++
	l.closeFire(e.key)
}

// giveBack forgets a task whose last report says that it was given back.
func (l *taskTable) giveBack(e *entry) {
	e.order = nil // whoever is about to start it sees that
	l.remove(e)
	l.noteGiven(givenBack{e.key, e.shard, time.Now()})
}

// givenBack says that a task was given back.
type givenBack struct {
	key   taskKey
	shard job.ShardID
	at    time.Time
}

// maxGiven bounds what is remembered of tasks that were given back: beyond it, who
// asks about the oldest is told less. givenFor is for how long it is remembered: an
// owner has heard of it by then, or another asks.
const (
	maxGiven = 50_000
	givenFor = 10 * time.Minute
)

// noteGiven remembers that a task was given back, and forgets what is too old or
// too much.
func (l *taskTable) noteGiven(g givenBack) {
	l.given[g.key] = g.at
	l.givenOrder = append(l.givenOrder, g)
	n := 0
	for ; n < len(l.givenOrder); n++ {
		first := &l.givenOrder[n]
		if !l.isGiven(first) {
			continue
		}
		if g.at.Sub(first.at) < givenFor && len(l.givenOrder)-n <= maxGiven {
			break
		}
		delete(l.given, first.key)
	}
	l.givenOrder = l.givenOrder[n:]
}

// isGiven reports whether a task has not come again since it was given back.
func (l *taskTable) isGiven(g *givenBack) bool { return l.given[g.key].Equal(g.at) }

// gaveBack reports whether a task was given back, and has not come again.
func (l *taskTable) gaveBack(key taskKey) bool {
	at, ok := l.given[key]
	return ok && time.Since(at) < givenFor
}

// ordered returns the live tasks in the order of their arrival.
func (l *taskTable) ordered() []*entry {
	all := make([]*entry, 0, len(l.live))
	for _, e := range l.live {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

func (l *taskTable) closeFire(key taskKey) {
	if l.open[key.fire] == key.attempt {
		delete(l.open, key.fire)
	}
}

// ack moves an ended task to the past.
func (l *taskTable) ack(key taskKey, at int64) bool {
	e := l.live[key]
	if e == nil || e.final == nil {
		return false
	}
	p := past{Shard: e.shard, State: e.final.State, AckedAt: at}
	if !e.final.EndedAt.IsZero() {
		p.EndedAt = e.final.EndedAt.UnixNano()
	}
	if x := e.final.Exit; x != nil {
		p.Exited, p.Code = true, x.Code
	}
	delete(l.live, key)
	l.unacked--
	l.remember(key, p)
	return true
}

func (l *taskTable) remember(key taskKey, p past) {
	l.past[key] = p
	l.forget = append(l.forget, key)
}

// Bounds of the past: beyond maxPast tasks, those older than minKeep go early.
const (
	maxPast = 200_000
	minKeep = 10 * time.Minute
)

// expire forgets what was acknowledged longer ago than keep. It costs what it
// forgets, however much is remembered.
func (l *taskTable) expire(now time.Time, keep time.Duration) {
	n := 0
	for ; n < len(l.forget); n++ {
		age := time.Duration(now.UnixNano() - l.past[l.forget[n]].AckedAt)
		if age < keep && (len(l.past) <= maxPast || age < minKeep) {
			break
		}
		delete(l.past, l.forget[n])
	}
	l.forget = l.forget[n:] // what is appended next lets the array go
}

// apply replays one record of the journal.
func (l *taskTable) apply(r *record) {
	var e *entry
	if r.Task != nil {
		e = l.live[*r.Task]
	}
	switch r.Kind {
	case kindAccepted:
		if r.Order != nil {
			l.accept(r.Order).recovered = true
			l.raise(r.Order.Shard, r.Order.Token)
		}
	case kindIntent:
		if e != nil && e.final == nil {
			e.phase, e.instance, e.boot = phaseHanded, r.Instance, r.Boot
		}
	case kindStarted:
		if e != nil && e.final == nil {
			e.phase, e.startedAt, e.pid, e.ticks = phaseRunning, r.At, r.PID, r.Ticks
		}
	case kindCancel:
		if e != nil {
			e.cancelled, e.cancelReason = true, r.Reason
		}
	case kindEnded:
		if r.Report != nil {
			key := keyOf(r.Report.Task)
			switch e := l.settle(r.Report); {
			case e == nil && r.Report.Returned && l.live[key] == nil: // from compaction
				l.noteGiven(givenBack{key, r.Report.Shard, time.Now()})
			case e == nil:
			case r.Report.Returned:
				l.giveBack(e)
			default:
				l.end(e)
			}
		}
	case kindAcked:
		if r.Task != nil {
			l.ack(*r.Task, r.At)
		}
	case kindToken:
		if r.Token != nil {
			l.raise(r.Shard, *r.Token)
		}
	case kindPast:
		if r.Task != nil && r.Past != nil {
			l.remember(*r.Task, *r.Past)
		}
	case kindProbe: // tells nothing
	}
}

// snapshot emits the records that make the task table what it is.
func (l *taskTable) snapshot(emit func(*record) error) error {
	for s, t := range l.tokens {
		if err := emit(&record{Kind: kindToken, Shard: s, Token: &t}); err != nil {
			return err
		}
	}
	for _, key := range l.forget {
		if p, ok := l.past[key]; ok {
			if err := emit(&record{Kind: kindPast, Task: &key, Past: &p}); err != nil {
				return err
			}
		}
	}
	for i := range l.givenOrder {
		if g := &l.givenOrder[i]; l.isGiven(g) {
			r := &job.Report{Task: g.key.id(""), Shard: g.shard, Returned: true}
			if err := emit(&record{Kind: kindEnded, Report: r}); err != nil {
				return err
			}
		}
	}
	for _, e := range l.ordered() {
		for _, r := range e.records() {
			if err := emit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// records returns the records of one task.
func (e *entry) records() []*record {
	if r := cmp.Or(e.final, e.settling); r != nil {
		return []*record{{Kind: kindEnded, Report: r}}
	}
	if e.order == nil {
		return nil // never accepted, and its report could not be written yet
	}
	out := []*record{{Kind: kindAccepted, Order: e.order}}
	if e.cancelled {
		out = append(out, &record{Kind: kindCancel, Task: &e.key, Reason: e.cancelReason})
	}
	if e.phase >= phaseIntent {
		out = append(out, &record{Kind: kindIntent, Task: &e.key, Instance: e.instance, Boot: e.boot})
	}
	if e.phase == phaseRunning {
		out = append(out, &record{Kind: kindStarted, Task: &e.key, PID: e.pid, Ticks: e.ticks, At: e.startedAt})
	}
	return out
}
