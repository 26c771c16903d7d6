package timers

// Wakeup is a fire's place in Wakeups. It is part of the fire that it is of. The zero
// value stands in none.
type Wakeup[T any] struct {
	// Of is what is woken. It must not change while the wakeup is set.
	Of T

	// place is its position plus one; 0: it does not stand there.
	place int
}

// IsSet reports whether it stands among the wakeups.
func (w *Wakeup[T]) IsSet() bool { return w.place != 0 }

// Wakeups is a 4-ary min-heap of open fires by when they want attention: of those
// that want it together, the older instant first, and then that of the job which is
// due more seldom, as what comes last has its turn first (package fair). A fire stands
// in it at most once, and not once it has ended: what is done with is not kept in
// memory by when it was to be looked after.
//
// The zero value is ready for use. It is not safe for concurrent use.
type Wakeups[T any] struct {
	items []appointment[T]
}

// Rank is what wakeups are ordered by.
type Rank struct {
	// At is when it wants attention, Instant what it is due by, and Period the time
	// between two instants of its job; see Timer.Between.
	At, Instant, Period int64
}

func (r *Rank) before(o *Rank) bool {
	switch {
	case r.At != o.At:
		return r.At < o.At
	case r.Instant != o.Instant:
		return r.Instant < o.Instant
	}
	return r.Period > o.Period
}

// appointment repeats beside the wakeup what it is ordered by, so that sifting
// compares without a cache miss for each.
type appointment[T any] struct {
	Rank

	w *Wakeup[T]
}

// Top returns when the next one wants attention; Never: none does.
func (q *Wakeups[T]) Top() int64 {
	if len(q.items) == 0 {
		return Never
	}
	return q.items[0].At
}

// Len returns how many stand in it.
func (q *Wakeups[T]) Len() int { return len(q.items) }

// Set has one woken at a time: it is added, or moved.
func (q *Wakeups[T]) Set(w *Wakeup[T], to Rank) {
	if w.place == 0 {
		q.items = append(q.items, appointment[T]{Rank: to, w: w})
		w.place = len(q.items)
		q.up(len(q.items) - 1)
		return
	}
	i := w.place - 1
	was := q.items[i].Rank
	q.items[i].Rank = to
	if to.before(&was) {
		q.up(i)
	} else {
		q.down(i)
	}
}

// Pop takes the next one out. There must be one.
func (q *Wakeups[T]) Pop() T {
	w := q.items[0].w
	q.Remove(w)
	return w.Of
}

// Remove takes one out, if it stands there.
func (q *Wakeups[T]) Remove(w *Wakeup[T]) {
	if w.place == 0 {
		return
	}
	i, last := w.place-1, len(q.items)-1
	w.place = 0
	moved := q.items[last]
	q.items[last] = appointment[T]{}
	q.items = q.items[:last]
	if i < last {
		q.items[i] = moved
		moved.w.place = i + 1
		q.down(i)
		q.up(moved.w.place - 1)
	}
	if cap(q.items) > wakeupsKept && len(q.items) < cap(q.items)/8 {
		q.items = append(make([]appointment[T], 0, len(q.items)*2), q.items...)
	}
}

// wakeupsKept is up to how many places are kept that are not needed: a herd needs
// many for a moment.
const wakeupsKept = 4096

func (q *Wakeups[T]) up(i int) {
	it := q.items[i]
	for i > 0 {
		parent := (i - 1) / arity
		if !it.before(&q.items[parent].Rank) {
			break
		}
		q.items[i] = q.items[parent]
		q.items[i].w.place = i + 1
		i = parent
	}
	q.items[i] = it
	it.w.place = i + 1
}

func (q *Wakeups[T]) down(i int) {
	it, n := q.items[i], len(q.items)
	for {
		first := i*arity + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, n); c++ {
			if q.items[c].before(&q.items[least].Rank) {
				least = c
			}
		}
		if !q.items[least].before(&it.Rank) {
			break
		}
		q.items[i] = q.items[least]
		q.items[i].w.place = i + 1
		i = least
	}
	q.items[i] = it
	it.w.place = i + 1
}
