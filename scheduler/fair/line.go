package fair

// Queue is what the items of one job wait in: a ring, of which it knows the last. It
// is part of the job. The zero value has none.
type Queue[T any] struct{ last *Item[T] }

// Item is what waits for a turn of its queue. It is part of the fire that it is of.
type Item[T any] struct {
	// Of is what has the turn. It must not change while the item waits.
	Of T

	// next is the one of its queue that has the turn after it.
	next *Item[T]
}

// Waits reports whether it waits for its turn.
func (it *Item[T]) Waits() bool { return it.next != nil }

// Line holds what is ready to be looked at. It is served by turns: each queue has
// one before another has its second, and every other turn is that of a queue that has
// come last. So a herd that is due in one instant holds up neither the jobs of the
// instants after it, nor these the herd. The items of a queue come in their order.
//
// The zero value is ready for use. It is not safe for concurrent use.
type Line[T any] struct {
	// line are the queues that wait for a turn, as they came, from head on.
	line []*Queue[T]
	head int
	// later are those that have had a turn and wait for the next; turns counts those
	// of the line's front since they were let in again.
	later []*Queue[T]
	turns int
	// queues counts those in line and later.
	queues int
	// last: the next turn is that of a queue that has come last.
	last bool
}

// letIn is after how many turns of the front those are let in again that have had
// theirs: they wait for no longer than this, however many come.
const letIn = 1024

// Add has an item wait for a turn of its queue. It must not wait already.
func (l *Line[T]) Add(g *Queue[T], it *Item[T]) {
	if g.last == nil {
		it.next = it
		l.line = append(l.line, g)
		l.queues++
	} else {
		it.next, g.last.next = g.last.next, it
	}
	g.last = it
}

// Any reports whether items wait.
func (l *Line[T]) Any() bool { return l.queues > 0 }

// Next takes the item out whose turn it is; false: none waits.
func (l *Line[T]) Next() (of T, ok bool) {
	if l.queues == 0 {
		return of, false
	}
	if l.head == len(l.line) || l.turns >= letIn {
		l.line = append(l.later, l.line[l.head:]...)
		l.later, l.head, l.turns = nil, 0, 0
	}
	var g *Queue[T]
	if l.last {
		g = l.line[len(l.line)-1]
		l.line[len(l.line)-1] = nil
		l.line = l.line[:len(l.line)-1]
	} else {
		g = l.line[l.head]
		l.line[l.head] = nil
		l.head++
		l.turns++
	}
	l.last = !l.last
	last := g.last
	it := last.next
	if it == last {
		g.last = nil
		l.queues--
	} else {
		last.next = it.next
		l.later = append(l.later, g)
	}
	it.next = nil
	return it.Of, true
}
