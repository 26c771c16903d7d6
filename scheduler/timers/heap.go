package timers

import "slices"

// Never is the instant of what is in no heap.
const Never = int64(1<<63 - 1)

// Timer is a job's place in a Heap. It is part of the job that it is of. The zero
// value stands in no heap, but its Next is 0: see Heap.Set.
type Timer[T any] struct {
	// Of is what the timer is of. It must not change while the timer is in a heap.
	Of T
	// Period is the time between two of its instants, as far as that is known; 0: it
	// is not, or there was only one.
	Period int64
	// Next is the instant under which it lies in the heap; Never: it does not. Only
	// Heap.Set writes it, besides who makes the timer.
	Next int64

	// place is its position plus one; 0: not in the heap. inLine: it is due and waits
	// in line.
	place int
}

// Between returns the time between two of its instants: Never, which is longer than
// any, if that is not known.
func (t *Timer[T]) Between() int64 {
	if t.Period == 0 {
		return Never
	}
	return t.Period
}

// Heap is a 4-ary min-heap of timers by next instant: the shard's plan.
//
// What is due may be taken by turns instead (Turn): then it waits in a line, in the
// order of its instants, and is still in the heap.
//
// The zero value is ready for use. It is not safe for concurrent use.
type Heap[T any] struct {
	items []item[T]
	// line are those that are due, the oldest first, from head on. One of which the
	// timer is inLine no more, or has another instant, counts no more.
	line []item[T]
	head int
	// last: the next turn is that of what has come last.
	last bool
}

// item repeats the instant beside the pointer, so that sifting compares without a
// cache miss per timer.
type item[T any] struct {
	at int64
	t  *Timer[T]
}

const arity = 4

// inLine is the place of a timer that is due and waits in line.
const inLine = -1

// before reports whether an item stands before another in the line: by its instant,
// and of those of one instant, that of the job which is due more seldom. So what has
// come last is the next instant of what is due often, also where both are due with a
// herd.
func (it *item[T]) before(o *item[T]) bool {
	return it.at < o.at || it.at == o.at && it.t.Between() > o.t.Between()
}

func (it *item[T]) waits() bool { return it.t.place == inLine && it.t.Next == it.at }

// Top returns the earliest timer's owner and its instant; false: there is none.
func (h *Heap[T]) Top() (of T, at int64, ok bool) {
	h.trim()
	switch {
	case h.head < len(h.line) && (len(h.items) == 0 || h.line[h.head].at <= h.items[0].at):
		return h.line[h.head].t.Of, h.line[h.head].at, true
	case len(h.items) == 0:
		return of, Never, false
	}
	return h.items[0].t.Of, h.items[0].at, true
}

// trim takes what counts no more from both ends of the line.
func (h *Heap[T]) trim() {
	for h.head < len(h.line) && !h.line[h.head].waits() {
		h.line[h.head] = item[T]{}
		h.head++
	}
	for h.head < len(h.line) && !h.line[len(h.line)-1].waits() {
		h.line[len(h.line)-1] = item[T]{}
		h.line = h.line[:len(h.line)-1]
	}
	if h.head == len(h.line) {
		h.line, h.head = h.line[:0], 0
	} else if h.head > len(h.line)/2 && h.head > lineKeeps {
		h.line = append(h.line[:0:0], h.line[h.head:]...)
		h.head = 0
	}
}

// lineKeeps is up to how many places that are not needed a line keeps.
const lineKeeps = 1024

// Turn returns whose turn it is of those that are due up to a horizon: every other
// turn is that of the one that has come last, unless fair is false. So a herd that
// is due in one instant does not hold up what is due after it. The timer stays where
// it is until it is set.
func (h *Heap[T]) Turn(horizon int64, fair bool) (of T, at int64, ok bool) {
	for len(h.items) > 0 && h.items[0].at <= horizon {
		it := h.items[0]
		h.remove(it.t)
		it.t.place = inLine
		i := len(h.line)
		if i > h.head && it.before(&h.line[i-1]) {
			i, _ = slices.BinarySearchFunc(h.line[h.head:], &it, func(o item[T], it *item[T]) int {
				if it.before(&o) {
					return 1
				}
				return -1
			})
			i += h.head
		}
		h.line = slices.Insert(h.line, i, it)
	}
	h.trim()
	if h.head == len(h.line) {
		return of, Never, false
	}
	it := &h.line[h.head]
	if newest := &h.line[len(h.line)-1]; h.last && fair && newest.at <= horizon {
		it = newest
	}
	if it.at > horizon {
		return of, Never, false
	}
	h.last = !h.last
	return it.t.Of, it.at, true
}

// Set puts a timer at its next instant: it is added, moved, or, when at is Never,
// removed.
func (h *Heap[T]) Set(t *Timer[T], at int64) {
	t.Next = at
	if t.place == inLine {
		t.place = 0
	}
	switch {
	case t.place > 0 && at == Never:
		h.remove(t)
	case t.place > 0:
		i := t.place - 1
		was := h.items[i].at
		h.items[i].at = at
		if at < was {
			h.up(i)
		} else {
			h.down(i)
		}
	case at != Never:
		h.items = append(h.items, item[T]{at: at, t: t})
		t.place = len(h.items)
		h.up(len(h.items) - 1)
	}
}

func (h *Heap[T]) remove(t *Timer[T]) {
	i := t.place - 1
	last := len(h.items) - 1
	t.place = 0
	if i != last {
		h.items[i] = h.items[last]
		h.items[i].t.place = i + 1
	}
	h.items[last] = item[T]{}
	h.items = h.items[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *Heap[T]) up(i int) {
	it := h.items[i]
	for i > 0 {
		parent := (i - 1) / arity
		if h.items[parent].at <= it.at {
			break
		}
		h.items[i] = h.items[parent]
		h.items[i].t.place = i + 1
		i = parent
	}
	h.items[i] = it
	it.t.place = i + 1
}

func (h *Heap[T]) down(i int) {
	n := len(h.items)
	it := h.items[i]
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
		if h.items[least].at >= it.at {
			break
		}
		h.items[i] = h.items[least]
		h.items[i].t.place = i + 1
		i = least
	}
	h.items[i] = it
	it.t.place = i + 1
}
