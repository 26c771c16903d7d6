package plans

import (
	"container/heap"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/plan"
)

// ledger is what the owner of a plan knows of its tasks, which are numbered from 0.
type ledger struct {
	graph *plan.Graph
	// firsts are the numbers of the first tasks of the chunks.
	firsts []uint32
	// next are the tasks that wait for each task; missing is how many each waits for yet.
	next    plan.Lists
	missing []uint32
	// state are indexes of names.
	state  []stateCode
	names  []plan.State
	typ    []uint8
	prio   []uint8
	types  []string
	counts map[plan.State]int
	// ready are the tasks of each type that may be put; out is how many are in its queue.
	ready []*byPriority
	out   []int
	// delayed are tasks that wait for their time only, notBefore those times.
	delayed   times
	notBefore map[uint32]int64
	// deadlines are those of tasks that were pending when they were added.
	deadlines times
}

// stateCode is a state in one byte.
type stateCode uint8

func newLedger() *ledger {
	return &ledger{graph: plan.NewGraph(), names: plan.States(), notBefore: map[uint32]int64{}, counts: map[plan.State]int{}}
}

// add adds the tasks of a chunk, all of them pending.
func (l *ledger) add(first int, tasks []etcdkv.PlanTask) {
	l.firsts = append(l.firsts, uint32(first)) //nolint:gosec // at most plan.MaxTasks
	for i := range tasks {
		t := &tasks[i]
		number := uint32(l.graph.Len()) //nolint:gosec // at most plan.MaxTasks
		l.graph.Replace(t.ID, t.After)  // an amendment may have put it in the place of one of its id
		l.state = append(l.state, l.code(plan.Pending))
		l.typ = append(l.typ, l.typeOf(t.Type))
		l.prio = append(l.prio, uint8(t.Priority)) //nolint:gosec // 0 to 9
		l.counts[plan.Pending]++
		if !t.NotBefore.IsZero() {
			l.notBefore[number] = t.NotBefore.UnixNano()
		}
		if !t.Deadline.IsZero() {
			l.deadlines = append(l.deadlines, timed{t.Deadline.UnixNano(), number})
		}
	}
}

func (l *ledger) typeOf(name string) uint8 {
	for i, t := range l.types {
		if t == name {
			return uint8(i) //nolint:gosec // at most plan.MaxTypes
		}
	}
	l.types = append(l.types, name)
	l.ready = append(l.ready, &byPriority{l: l})
	l.out = append(l.out, 0)
	return uint8(len(l.types) - 1) //nolint:gosec // at most plan.MaxTypes
}

func (l *ledger) code(s plan.State) stateCode {
	return stateCode(slices.Index(l.names, s)) //nolint:gosec // there are nine
}

func (l *ledger) stateOf(t uint32) plan.State { return l.names[l.state[t]] }

// set puts a task into a state.
func (l *ledger) set(t uint32, s plan.State) {
	was := l.stateOf(t)
	l.counts[was]--
	l.counts[s]++
	l.state[t] = l.code(s)
	if inQueue(was) != inQueue(s) {
		if inQueue(s) {
			l.out[l.typ[t]]++
		} else {
			l.out[l.typ[t]]--
		}
	}
}

// inQueue reports whether a task in a state is in its queue.
func inQueue(s plan.State) bool { return s == plan.Queued || s == plan.Running }

// begin works out what keeps each task, when all tasks are there in their states. It returns
// the pending tasks whose predecessors did not succeed.
func (l *ledger) begin(now time.Time) (skip []uint32) {
	l.next, l.missing = l.graph.Waiting()
	for t := range l.state {
		switch s := l.stateOf(uint32(t)); { //nolint:gosec // at most plan.MaxTasks
		case s == plan.Succeeded:
			for _, d := range l.next.Of(t) {
				l.missing[d]--
			}
		case s.Final() && s != plan.Replaced:
			skip = append(skip, l.next.Of(t)...)
		}
	}
	heap.Init(&l.deadlines)
	for t := range l.state {
		l.free(uint32(t), now) //nolint:gosec // at most plan.MaxTasks
	}
	return skip
}

// free has a task wait for its time, or be ready, if nothing else keeps it.
func (l *ledger) free(t uint32, now time.Time) {
	if l.stateOf(t) != plan.Pending || l.missing[t] > 0 {
		return
	}
	if at := l.notBefore[t]; at > now.UnixNano() {
		heap.Push(&l.delayed, timed{at, t})
		return
	}
	heap.Push(l.ready[l.typ[t]], t)
}

// ended tells the tasks that wait for one that has ended. It returns those to be skipped.
func (l *ledger) ended(t uint32, now time.Time) []uint32 {
	next := l.next.Of(int(t))
	switch l.stateOf(t) {
	case plan.Succeeded:
	case plan.Replaced:
		return nil // they wait for what comes in its place
	default:
		return next
	}
	for _, d := range next {
		l.missing[d]--
		l.free(d, now)
	}
	return nil
}

// due has the tasks be ready whose time has come, and returns some of the pending ones whose
// deadline has passed.
func (l *ledger) due(now time.Time, most int) (late []uint32) {
	at := now.UnixNano()
	for len(l.delayed) > 0 && l.delayed[0].at <= at {
		t := heap.Pop(&l.delayed).(timed).task //nolint:forcetypeassert // it holds nothing else
		l.free(t, now)
	}
	for len(l.deadlines) > 0 && l.deadlines[0].at <= at && len(late) < most {
		t := heap.Pop(&l.deadlines).(timed).task //nolint:forcetypeassert // it holds nothing else
		if l.stateOf(t) == plan.Pending {
			late = append(late, t)
		}
	}
	return late
}

// take returns the next tasks of a type that may be put.
func (l *ledger) take(typ, most int) []uint32 {
	var out []uint32
	for h := l.ready[typ]; h.Len() > 0 && len(out) < most; {
		t := heap.Pop(h).(uint32) //nolint:forcetypeassert // it holds nothing else
		if l.stateOf(t) == plan.Pending {
			out = append(out, t)
		}
	}
	return out
}

// chunk returns the number of the first task of a task's chunk, and how many it has.
func (l *ledger) chunk(t uint32) (first, n int) {
	lo, hi := 0, len(l.firsts)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; l.firsts[mid] <= t {
			lo = mid
		} else {
			hi = mid
		}
	}
	end := len(l.state)
	if lo+1 < len(l.firsts) {
		end = int(l.firsts[lo+1])
	}
	return int(l.firsts[lo]), end - int(l.firsts[lo])
}

// open counts the tasks that have not ended.
func (l *ledger) open() int {
	return l.counts[plan.Pending] + l.counts[plan.Queued] + l.counts[plan.Running]
}

// timed is a task at a time.
type timed struct {
	at   int64
	task uint32
}

// times are tasks, the earliest first.
type times []timed

func (h times) Len() int           { return len(h) }
func (h times) Less(i, j int) bool { return h[i].at < h[j].at }
func (h times) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *times) Push(x any)        { *h = append(*h, x.(timed)) } //nolint:forcetypeassert // of container/heap
func (h *times) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// byPriority are tasks, those with the highest priority first, then in the order of the plan.
type byPriority struct {
	l     *ledger
	tasks []uint32
}

func (h *byPriority) Len() int { return len(h.tasks) }
func (h *byPriority) Less(i, j int) bool {
	a, b := h.tasks[i], h.tasks[j]
	if p, q := h.l.prio[a], h.l.prio[b]; p != q {
		return p > q
	}
	return a < b
}
func (h *byPriority) Swap(i, j int) { h.tasks[i], h.tasks[j] = h.tasks[j], h.tasks[i] }
func (h *byPriority) Push(x any)    { h.tasks = append(h.tasks, x.(uint32)) } //nolint:forcetypeassert // of container/heap
func (h *byPriority) Pop() any {
	last := h.tasks[len(h.tasks)-1]
	h.tasks = h.tasks[:len(h.tasks)-1]
	return last
}
