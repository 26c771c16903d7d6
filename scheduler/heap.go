package scheduler

import "slices"

// timers is a 4-ary min-heap of entries by next instant: the shard's plan. An
// entry knows its place, so an edit of one job costs O(log n), and nothing ever
// scans or sorts all jobs.
//
// What is due may be taken by turns instead (turn): then it waits in a line, in the
// order of its instants, and is still among the timers.
//
// It is not safe for concurrent use: each shard's goroutine owns one.
type timers struct {
	items []timer
	// line are those that are due, the oldest first, from head on. One of which the
	// entry is inLine no more, or has another instant, counts no more.
	line []timer
	head int
	// last: the next turn is that of what has come last.
	last bool
}

// timer repeats the instant beside the pointer, so that sifting compares
// without a cache miss per entry.
type timer struct {
	at int64
	e  *entry
}

const arity = 4

// inLine is the place of an entry that is due and waits in line.
const inLine = -1

// before reports whether a timer stands before another in the line: by its instant,
// and of those of one instant, that of the job which is due more seldom. So what has
// come last is the next instant of what is due often, also where both are due with a
// herd.
func (t *timer) before(o *timer) bool {
	return t.at < o.at || t.at == o.at && t.e.between() > o.e.between()
}

func (t *timer) waits() bool { return t.e.place == inLine && t.e.next == t.at }

// never is the next instant of an entry that is not in the heap.
const never = int64(1<<63 - 1)

// top returns the earliest entry and its instant.
func (h *timers) top() (*entry, int64, bool) {
	h.trim()
	switch {
	case h.head < len(h.line) && (len(h.items) == 0 || h.line[h.head].at <= h.items[0].at):
		return h.line[h.head].e, h.line[h.head].at, true
	case len(h.items) == 0:
		return nil, never, false
	}
	return h.items[0].e, h.items[0].at, true
}

// trim takes what counts no more from both ends of the line.
func (h *timers) trim() {
	for h.head < len(h.line) && !h.line[h.head].waits() {
		h.line[h.head] = timer{}
		h.head++
	}
	for h.head < len(h.line) && !h.line[len(h.line)-1].waits() {
		h.line[len(h.line)-1] = timer{}
		h.line = h.line[:len(h.line)-1]
	}
	if h.head == len(h.line) {
		h.line, h.head = h.line[:0], 0
	} else if h.head > len(h.line)/2 && h.head > turnKeeps {
		h.line = append(h.line[:0:0], h.line[h.head:]...)
		h.head = 0
	}
}

// turnKeeps is up to how many places that are not needed a line keeps.
const turnKeeps = 1024

// turn returns the entry whose turn it is of those that are due up to a horizon:
// every other turn is that of the one that has come last, unless fair is false. So a
// herd that is due in one instant does not hold up what is due after it. The entry
// stays where it is until it is set.
func (h *timers) turn(horizon int64, fair bool) (*entry, int64, bool) {
	for len(h.items) > 0 && h.items[0].at <= horizon {
		t := h.items[0]
		h.remove(t.e)
		t.e.place = inLine
		i := len(h.line)
		if i > h.head && t.before(&h.line[i-1]) {
			i, _ = slices.BinarySearchFunc(h.line[h.head:], &t, func(o timer, t *timer) int {
				if t.before(&o) {
					return 1
				}
				return -1
			})
			i += h.head
		}
		h.line = slices.Insert(h.line, i, t)
	}
	h.trim()
	if h.head == len(h.line) {
		return nil, never, false
	}
	t := &h.line[h.head]
	if newest := &h.line[len(h.line)-1]; h.last && fair && newest.at <= horizon {
		t = newest
	}
	if t.at > horizon {
		return nil, never, false
	}
	h.last = !h.last
	return t.e, t.at, true
}

// set puts e at its next instant: it is added, moved, or removed when at is never.
func (h *timers) set(e *entry, at int64) {
	e.next = at
	if e.place == inLine {
		e.place = 0
	}
	switch {
	case e.place > 0 && at == never:
		h.remove(e)
	case e.place > 0:
		i := e.place - 1
		was := h.items[i].at
		h.items[i].at = at
		if at < was {
			h.up(i)
		} else {
			h.down(i)
		}
	case at != never:
		h.items = append(h.items, timer{at: at, e: e})
		e.place = len(h.items)
		h.up(len(h.items) - 1)
	}
}

func (h *timers) remove(e *entry) {
	i := e.place - 1
	last := len(h.items) - 1
	e.place = 0
	if i != last {
		h.items[i] = h.items[last]
		h.items[i].e.place = i + 1
	}
	h.items[last] = timer{}
	h.items = h.items[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *timers) up(i int) {
	t := h.items[i]
	for i > 0 {
		parent := (i - 1) / arity
		if h.items[parent].at <= t.at {
			break
		}
		h.items[i] = h.items[parent]
		h.items[i].e.place = i + 1
		i = parent
	}
	h.items[i] = t
	t.e.place = i + 1
}

func (h *timers) down(i int) {
	n := len(h.items)
	t := h.items[i]
	for {
		first := i*arity + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, n); c++ {
			if h.items[c].at < h.items[least].at {
				least = c
			}
		}
		if h.items[least].at >= t.at {
			break
		}
		h.items[i] = h.items[least]
		h.items[i].e.place = i + 1
		i = least
	}
	h.items[i] = t
	t.e.place = i + 1
}
