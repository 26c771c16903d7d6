package agentpush

import (
	"slices"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// topics makes the topics of a node.
type topics struct {
	// depth bounds what waits in a topic.
	depth int
	// spare are queues that are empty again. Most topics are empty nearly always,
	// and hold no memory then; an order to an idle minion allocates none.
	spare sync.Pool
}

func newTopics(depth int) *topics { return &topics{depth: depth} }

func (t *topics) topic() topic { return topic{of: t} }

// topic is the bounded memory queue of one minion. It is plain data; the
// channel's mutex guards it.
//
// Adding, taking, dropping and expiring a message cost the same for 1 and for
// 100,000 messages that wait, but for the depth of a heap. Only a link that
// breaks has all of them looked at (forgetOrphans).
type topic struct {
	of *topics
	// w is what waits; nil: nothing.
	w *waiting
}

// waiting is what waits in a topic.
//
// again holds what was offered on a session that broke before the minion took
// it: it goes first, and it is never dropped as "never reached the minion"
// (I4). fresh holds what has not been offered. Each has at most depth messages. The
// questions among them go by a way of their own: a minion that is offered more than
// it takes has a full topic for long.
type waiting struct {
	again, fresh line
	// about is what waits, by the task that it is about.
	about map[aboutTask]waits
	// ends are all messages, by the end of their lives.
	ends byEnd
	// most is how many there have been at a time.
	most int
}

// keepWaiting is how many messages a queue may have held that is used again: a
// larger one keeps too much memory.
const keepWaiting = 64

// aboutTask names an attempt of the minion's.
type aboutTask struct {
	job                     job.UID
	at                      int64
	trigger, attempt, share uint32
}

func aboutOf(m *message) aboutTask {
	id := m.body.GetTask()
	a := aboutTask{at: id.GetAt(), trigger: id.GetTrigger(), attempt: id.GetAttempt(), share: id.GetShare()}
	copy(a.job[:], id.GetJob())
	return a
}

// waits says how many orders and questions of a task wait.
type waits struct{ orders, questions int }

// note takes note that a message waits.
func (w *waiting) note(m *message) {
	k := m.kind()
	if k == aCancel {
		return
	}
	id := aboutOf(m)
	n := w.about[id]
	if k == anOrder {
		n.orders++
	} else {
		n.questions++
	}
	if w.about == nil {
		w.about = map[aboutTask]waits{}
	}
	w.about[id] = n
}

// unnote takes note that it does no more.
func (w *waiting) unnote(m *message) {
	k := m.kind()
	if k == aCancel {
		return
	}
	id := aboutOf(m)
	n := w.about[id]
	if k == anOrder {
		n.orders--
	} else {
		n.questions--
	}
	if n == (waits{}) {
		delete(w.about, id)
		return
	}
	w.about[id] = n
}

// needless reports whether a message is a question about what waits here: an
// order that has not been offered, or the same question. Its asker asks again.
// Questions come every few seconds for as long as nothing is heard of a task: a
// minion that is slow to take its orders would get more and more of them.
func (t *topic) needless(m *message) bool {
	if t.w == nil || !m.isQuestion() {
		return false
	}
	n := t.w.about[aboutOf(m)]
	return n.orders+n.questions > 0
}

func (t *topic) len() int {
	if t.w == nil {
		return 0
	}
	return t.w.again.n + t.w.fresh.n
}

// lineOf returns the line that a waiting message is in.
func (w *waiting) lineOf(m *message) *line {
	if m.unsure {
		return &w.again
	}
	return &w.fresh
}

// fill returns what waits, to add to it.
func (t *topic) fill() *waiting {
	if t.w == nil {
		if t.w, _ = t.of.spare.Get().(*waiting); t.w == nil {
			t.w = &waiting{}
		}
	}
	return t.w
}

// emptied lets go of the memory when nothing waits any more.
func (t *topic) emptied() {
	if t.w == nil || t.len() > 0 {
		return
	}
	if t.w.most <= keepWaiting {
		*t.w = waiting{about: t.w.about, ends: t.w.ends}
		t.of.spare.Put(t.w)
	}
	t.w = nil
}

// add lets a message wait: at the end of its line, or at the head.
func (w *waiting) add(m *message, head bool) {
	if head {
		w.lineOf(m).putBack(m)
	} else {
		w.lineOf(m).push(m)
	}
	w.ends.add(m)
	w.note(m)
	w.most = max(w.most, len(w.ends))
}

// remove takes a waiting message out.
func (w *waiting) remove(m *message) {
	w.lineOf(m).remove(m)
	w.ends.remove(m)
	w.unnote(m)
}

// push appends m and returns how the messages ended that had to make room: the
// oldest question, or the oldest order when no question waits, or the oldest
// message. A needless question ends itself.
func (t *topic) push(m *message) []ending {
	if t.needless(m) {
		return []ending{m.needless()}
	}
	w := t.fill()
	var out []ending
	for l := w.lineOf(m); l.n >= t.of.depth; {
		old := l.spare()
		w.remove(old)
		out = append(out, old.overflow())
	}
	w.add(m, false)
	return out
}

// restore puts an offer back that was not taken, ahead of everything else. The
// messages that find no room end.
func (t *topic) restore(offer []*message) []ending {
	w := t.fill()
	for _, m := range slices.Backward(offer) {
		if !m.told {
			m.unsure = true
			w.add(m, true)
		}
	}
	var out []ending
	for w.again.n > t.of.depth {
		m := w.again.head(anyKind)
		w.remove(m)
		out = append(out, m.overflow())
	}
	t.emptied()
	return out
}

// take removes and returns what fits into one offer: at most n messages and
// about the given bytes, but at least one message. Expired ones are not
// offered, nor stale orders by the clock: they are returned as ended. So a minion that
// is offered more than it takes gets orders that it may still start, however many
// wait.
func (t *topic) take(n, bytes int, now int64, clock time.Duration) (offer []*message, ended []ending) {
	w := t.w
	if w == nil {
		return nil, nil
	}
	size, full := 0, false
	from := func(l *line, of kindSet, most int) {
		for !full && len(offer) < min(most, n) {
			m := l.head(of)
			if m == nil {
				return
			}
			switch {
			case m.orphaned():
			case m.until <= now:
				ended = append(ended, m.expiry())
			case m.stale(clock):
				ended = append(ended, m.staleness())
			case len(offer) > 0 && size+m.size > bytes:
				full = true
				return
			default:
				offer = append(offer, m)
				size += m.size
			}
			w.remove(m)
		}
	}
	from(&w.again, anyKind, n)
	from(&w.fresh, questions, len(offer)+(n-len(offer))/2) // neither waits for the other
	from(&w.fresh, noQuestion, n)
	from(&w.fresh, questions, n)
	t.emptied()
	return offer, ended
}

// expire removes what is over by now.
func (t *topic) expire(now int64) []ending {
	if t.w == nil {
		return nil
	}
	var out []ending
	for m := t.w.ends.over(now); m != nil; m = t.w.ends.over(now) {
		t.w.remove(m)
		if !m.orphaned() {
			out = append(out, m.expiry())
		}
	}
	t.emptied()
	return out
}

// forgetOrphans removes what came by links that are broken. All messages are
// looked at, once for each link that breaks.
func (t *topic) forgetOrphans() {
	if t.w == nil {
		return
	}
	for _, m := range slices.Clone(t.w.ends) {
		if m.orphaned() {
			t.w.remove(m)
		}
	}
	t.emptied()
}

// drain removes and returns everything.
func (t *topic) drain() []*message {
	all := make([]*message, 0, t.len())
	if t.w == nil {
		return all
	}
	for _, from := range []struct {
		line *line
		of   kindSet
	}{{&t.w.again, anyKind}, {&t.w.fresh, noQuestion}, {&t.w.fresh, questions}} {
		for m := from.line.head(from.of); m != nil; m = from.line.head(from.of) {
			t.w.remove(m)
			all = append(all, m)
		}
	}
	t.emptied()
	return all
}

// oldest returns when the oldest waiting message came, 0 when none waits.
func (t *topic) oldest() int64 {
	if t.w == nil {
		return 0
	}
	var at int64
	for _, l := range []*line{&t.w.again, &t.w.fresh} {
		for k := range kinds {
			if m := l.of[k].first; m != nil && (at == 0 || m.since < at) {
				at = m.since
			}
		}
	}
	return at
}
