package scheduler

// timers is a 4-ary min-heap of entries by next instant: the shard's plan. An
// entry knows its place, so an edit of one job costs O(log n), and nothing ever
// scans or sorts all jobs.
//
// It is not safe for concurrent use: each shard's goroutine owns one.
type timers struct {
	items []timer
}

// timer repeats the instant beside the pointer, so that sifting compares
// without a cache miss per entry.
type timer struct {
	at int64
	e  *entry
}

const arity = 4

// never is the next instant of an entry that is not in the heap.
const never = int64(1<<63 - 1)

// top returns the earliest entry and its instant.
func (h *timers) top() (*entry, int64, bool) {
	if len(h.items) == 0 {
		return nil, never, false
	}
	return h.items[0].e, h.items[0].at, true
}

// set puts e at its next instant: it is added, moved, or removed when at is never.
func (h *timers) set(e *entry, at int64) {
	e.next = at
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
