package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// fleet is the minions: each keeps a journal of what it accepted, has some of that
// wait before it starts it, gives back what is another owner's by then or whose
// lease has ended, refuses tokens lower than the highest it has seen, and tells its
// reports until they are acknowledged, as the real one does.
type fleet struct {
	mu    sync.Mutex // guards all below
	rnd   *rand.Rand
	lossy bool
	ways  map[*wire]bool
	each  map[job.MinionID]*minion
	// broken are what was found wrong.
	broken []string
	starts map[job.TaskID]int
	// jitter is that of jobs.
	jitter map[job.UID]time.Duration
	// absences counts how often a minion has gone.
	absences uint64
	// tales are what was said of each fire, and when.
	tales map[job.FireID][]string
	begun time.Time
	// made counts the ways.
	made int
}

// note adds to the tale of a fire. The caller holds mu.
func (f *fleet) note(fire job.FireID, format string, args ...any) {
	f.tales[fire] = append(f.tales[fire], fmt.Sprintf("%10.3f  %s", time.Since(f.begun).Seconds(), fmt.Sprintf(format, args...)))
}

type minion struct {
	id      job.MinionID
	away    bool
	left    time.Time
	tokens  map[job.ShardID]job.Token
	journal map[job.TaskID]*accepted
	unacked map[job.TaskID]bool
	// given are the tasks that it has given back.
	given map[job.TaskID]bool
}

// wire is one node's way to the minions.
type wire struct {
	f      *fleet
	engine *scheduler.Engine
	node   *node
	// mono is the monotonic clock of the node's orders.
	mono func() time.Duration
	// number is its place among the ways: so each seed has them in the same order.
	number int
}

func newFleet(seed uint64) *fleet {
	f := &fleet{
		rnd: rand.New(rand.NewPCG(seed, 3)), lossy: true, ways: map[*wire]bool{}, each: map[job.MinionID]*minion{}, starts: map[job.TaskID]int{}, jitter: map[job.UID]time.Duration{},
		tales: map[job.FireID][]string{}, begun: time.Now(),
	}
	for i := range minions {
		id := job.MinionID(fmt.Sprintf("m%d", i+1))
		f.each[id] = &minion{id: id, tokens: map[job.ShardID]job.Token{}, journal: map[job.TaskID]*accepted{}, unacked: map[job.TaskID]bool{}, given: map[job.TaskID]bool{}}
	}
	return f
}

func (f *fleet) join(way *wire, e *scheduler.Engine, n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	way.engine, way.node, way.number = e, n, f.made
	f.ways[way] = true
}

func (f *fleet) leave(way *wire) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ways, way)
}

// cut ends the ways of a node that crashes.
func (f *fleet) cut(e *scheduler.Engine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for way := range f.ways {
		if way.engine == e {
			delete(f.ways, way)
		}
	}
}

// recorded notes that history has a run.
func (f *fleet) recorded(run *job.Run) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(run.FireID, "recorded as %s: %s", run.State, run.Reason)
}

// calm ends all faults.
func (f *fleet) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lossy = false
	for _, m := range f.each {
		m.away = false
	}
}

// later does something after the way there, unless it is lost. The caller holds mu.
func (f *fleet) later(fn func()) {
	if f.lossy && f.rnd.IntN(40) == 0 {
		return
	}
	wait := time.Duration(1+f.rnd.IntN(30)) * time.Millisecond
	if f.lossy && f.rnd.IntN(60) == 0 {
		wait += time.Duration(f.rnd.IntN(4000)) * time.Millisecond
	}
	time.AfterFunc(wait, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		fn()
	})
}

// Match implements scheduler.Minions.
func (way *wire) Match(job.Target) []job.MinionID {
	way.f.mu.Lock()
	defer way.f.mu.Unlock()
	var out []job.MinionID
	for id, m := range way.f.each {
		if !m.away {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Connected implements scheduler.Minions.
func (way *wire) Reach(t job.Target) ([]job.MinionID, []job.Uncontrollable) {
	return way.Match(t), nil
}

func (*wire) Value(job.MinionID, string) string { return "" }

func (way *wire) Absence(id job.MinionID) (job.Absence, bool) {
	way.f.mu.Lock()
	defer way.f.mu.Unlock()
	m := way.f.each[id]
	return job.Absence{Since: m.left, For: time.Since(m.left)}, m.away
}

func (way *wire) Absences() uint64 {
	way.f.mu.Lock()
	defer way.f.mu.Unlock()
	return way.f.absences
}

func (*wire) Revoked(job.MinionID) bool { return false }

func (way *wire) Connected(id job.MinionID) bool {
	way.f.mu.Lock()
	defer way.f.mu.Unlock()
	return !way.f.each[id].away
}

// clockSlack is how little a clock may be off without being corrected.
const clockSlack = 11 * time.Millisecond

// Send implements scheduler.Minions.
func (way *wire) Send(orders []job.Order) {
	f := way.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ways[way] {
		return
	}
	for _, o := range orders {
		late := job.Spec{Jitter: job.Duration(f.jitter[o.Task.Fire.Job])}
		if early := time.Until(o.ScheduledAt.Add(late.Delay(o.Task.Fire))); early > clockSlack {
			f.broken = append(f.broken, fmt.Sprintf("S4: %v sent %v early by %s", o.Task, early, way.node.id))
		}
		until := time.Now().Add(o.HoldUntil - way.mono())
		f.note(o.Task.Fire, "%s orders attempt %d of %s, token %v term %d", way.node.id, o.Task.Attempt, o.Task.Minion, o.Token, o.Term)
		f.later(func() { f.order(f.each[o.Task.Minion], o, until) })
	}
}

// accepted is a task that a minion has by an order.
type accepted struct {
	job.Report
	token job.Token
	term  uint32
	// until is when its owner's lease ends (I20).
	until time.Time
}

// order has a minion accept an order, or not. The caller holds mu.
func (f *fleet) order(m *minion, o job.Order, until time.Time) {
	if m.away {
		return
	}
	refused := job.Report{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term}
	switch r := m.journal[o.Task]; {
	case r != nil:
		f.report(m, r.Report)
		return
	case o.Token.Less(m.tokens[o.Shard]): // S3
		refused.State, refused.Reason = job.StateRejected, "stale token"
		f.report(m, refused)
		return
	case !time.Now().Before(until):
		refused.Returned = true
		f.report(m, refused)
		return
	}
	m.tokens[o.Shard] = o.Token
	if time.Now().After(o.NotAfter) {
		refused.Known, refused.State, refused.Reason, refused.Spooled = true, job.StateRejected, "too late", true
		f.report(m, refused)
		return
	}
	delete(m.given, o.Task)
	r := &accepted{Report: job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateRunning}, token: o.Token, term: o.Term, until: until}
	m.journal[o.Task] = r
	fails := o.Command[0] == "fail" && f.rnd.IntN(2) == 0
	if !f.lossy || f.rnd.IntN(10) > 0 {
		f.start(m, r, fails)
		return
	}
	f.note(o.Task.Fire, "%s has attempt %d wait", m.id, o.Task.Attempt)
	f.report(m, r.Report)
	time.AfterFunc(time.Duration(f.rnd.IntN(6000))*time.Millisecond, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case m.journal[o.Task] != r || r.State.Final():
			// given back already, or cancelled
		case r.token.Less(m.tokens[o.Shard]) || !time.Now().Before(r.until):
			f.giveBack(m, r, r.token, r.term)
		default:
			f.start(m, r, fails)
		}
	})
}

// giveBack has a minion say to whom it holds for that it has not started a task, and
// will not. The caller holds mu.
func (f *fleet) giveBack(m *minion, r *accepted, token job.Token, term uint32) {
	f.note(r.Task.Fire, "%s gives attempt %d back", m.id, r.Task.Attempt)
	delete(m.journal, r.Task)
	m.given[r.Task] = true
	f.report(m, job.Report{Task: r.Task, Shard: r.Shard, Returned: true, Token: token, Term: term})
}

// start has a minion start a task. The caller holds mu.
func (f *fleet) start(m *minion, r *accepted, fails bool) {
	f.starts[r.Task]++
	f.note(r.Task.Fire, "%s starts attempt %d", m.id, r.Task.Attempt)
	r.StartedAt = time.Now()
	f.report(m, r.Report)
	time.AfterFunc(time.Duration(f.rnd.IntN(1500))*time.Millisecond, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.State.Final() {
			return // cancelled
		}
		r.State, r.EndedAt, r.Spooled = job.StateSucceeded, time.Now(), true
		if fails {
			r.State, r.Exit = job.StateFailed, &job.Exit{Code: 1}
		}
		f.finish(m, r)
	})
}

// finish tells of an end until it is acknowledged. The caller holds mu.
func (f *fleet) finish(m *minion, r *accepted) {
	m.unacked[r.Task] = true
	var again func()
	again = func() {
		if !m.unacked[r.Task] {
			return
		}
		if !m.away {
			f.report(m, r.Report)
		}
		time.AfterFunc(5*time.Second, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			again()
		})
	}
	again()
}

// report tells all nodes, as the hubs tell the shard's owner. The caller holds mu.
func (f *fleet) report(m *minion, r job.Report) {
	if m.away {
		return
	}
	ways := slices.SortedFunc(maps.Keys(f.ways), func(a, b *wire) int { return a.number - b.number })
	said := time.Since(f.begun)
	for _, way := range ways {
		f.later(func() {
			if f.ways[way] {
				f.note(r.Task.Fire, "%s hears what %s said at %.3f: %s", way.node.id, m.id, said.Seconds(), word(&r))
				way.engine.Reports([]job.Report{r})
			}
		})
	}
}

// word is a report in short.
func word(r *job.Report) string {
	switch {
	case r.Returned:
		return "attempt " + strconv.Itoa(r.Task.Attempt) + " was given back"
	case !r.Known:
		return "attempt " + strconv.Itoa(r.Task.Attempt) + " was never accepted"
	}
	return "attempt " + strconv.Itoa(r.Task.Attempt) + " is " + string(r.State)
}

// Ask implements scheduler.Minions.
func (way *wire) Ask(refs []job.Ref) {
	way.each("asks about", refs, func(*minion, *accepted) {})
}

// Cancel implements scheduler.Minions.
func (way *wire) Cancel(refs []job.Ref, reason string) {
	way.each("cancels", refs, func(m *minion, r *accepted) {
		if !r.State.Final() {
			r.State, r.Reason, r.EndedAt, r.Spooled = job.StateCancelled, reason, time.Now(), true
			way.f.finish(m, r)
		}
	})
}

// each has minions do something with tasks that they know, and tell of them.
func (way *wire) each(what string, refs []job.Ref, do func(*minion, *accepted)) {
	f := way.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ways[way] {
		return
	}
	for _, q := range refs {
		f.note(q.Task.Fire, "%s %s attempt %d of %s, token %v term %d", way.node.id, what, q.Task.Attempt, q.Task.Minion, q.Token, q.Term)
		f.later(func() {
			m := f.each[q.Task.Minion]
			if m.away || q.Token.Less(m.tokens[q.Shard]) {
				return
			}
			m.tokens[q.Shard] = q.Token
			if r, known := m.journal[q.Task]; known {
				if r.StartedAt.IsZero() && !r.State.Final() && r.token.Less(q.Token) {
					f.giveBack(m, r, q.Token, q.Term)
					return
				}
				do(m, r)
				f.report(m, r.Report)
				return
			}
			f.report(m, job.Report{Task: q.Task, Shard: q.Shard, Token: q.Token, Term: q.Term, Returned: m.given[q.Task]})
		})
	}
}

// Ack implements scheduler.Minions.
func (way *wire) Ack(tasks []job.TaskID) {
	f := way.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range tasks {
		f.later(func() { delete(f.each[id.Minion].unacked, id) })
	}
}
