package agentpush

import "container/heap"

// kind is what a message is.
type kind uint8

const (
	aQuestion kind = iota
	anOrder
	aCancel
	kinds
)

// set returns the set that holds the kind alone.
func (k kind) set() kindSet { return 1 << k }

// kindSet is a set of kinds.
type kindSet uint8

const (
	questions  = kindSet(1 << aQuestion)
	noQuestion = kindSet(1<<anOrder | 1<<aCancel)
	anyKind    = questions | noQuestion
)

// line holds messages in the order of their arrival. The oldest message of each
// kind is at hand, and any message leaves the line without a search: each step
// costs the same for 1 and for 100,000 messages.
type line struct {
	of [kinds]chain
	n  int
	// first and last number the places in the line: messages that are put back at
	// its head count down from 0.
	first, last int64
}

// chain is a doubly linked list of the messages of one kind.
type chain struct{ first, last *message }

// push puts a message at the end.
func (l *line) push(m *message) {
	l.last++
	m.place = l.last
	c := &l.of[m.kind()]
	m.before, m.after = c.last, nil
	if c.last != nil {
		c.last.after = m
	} else {
		c.first = m
	}
	c.last = m
	l.n++
}

// putBack puts a message at the head.
func (l *line) putBack(m *message) {
	m.place = l.first
	l.first--
	c := &l.of[m.kind()]
	m.before, m.after = nil, c.first
	if c.first != nil {
		c.first.before = m
	} else {
		c.last = m
	}
	c.first = m
	l.n++
}

// remove takes a message out.
func (l *line) remove(m *message) {
	c := &l.of[m.kind()]
	if m.before != nil {
		m.before.after = m.after
	} else {
		c.first = m.after
	}
	if m.after != nil {
		m.after.before = m.before
	} else {
		c.last = m.before
	}
	m.before, m.after = nil, nil
	l.n--
}

// head returns the oldest message of the given kinds, nil if there is none.
func (l *line) head(of kindSet) *message {
	var oldest *message
	for k := range kinds {
		if m := l.of[k].first; m != nil && of&k.set() != 0 && (oldest == nil || m.place < oldest.place) {
			oldest = m
		}
	}
	return oldest
}

// spare returns the message that makes room for a newer one: the oldest question,
// else the oldest order, else the oldest cancel.
func (l *line) spare() *message {
	for k := range kinds {
		if m := l.of[k].first; m != nil {
			return m
		}
	}
	return nil
}

// byEnd is a heap of messages; the one whose life ends first is its root.
type byEnd []*message

func (b byEnd) Len() int           { return len(b) }
func (b byEnd) Less(i, j int) bool { return b[i].until < b[j].until }
func (b byEnd) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].heapAt, b[j].heapAt = i, j
}

func (b *byEnd) Push(x any) {
	m := x.(*message) // only messages are pushed
	m.heapAt = len(*b)
	*b = append(*b, m)
}

func (b *byEnd) Pop() any {
	old := *b
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*b = old[:len(old)-1]
	return m
}

func (b *byEnd) add(m *message)    { heap.Push(b, m) }
func (b *byEnd) remove(m *message) { heap.Remove(b, m.heapAt) }

// over returns the message whose life has ended first by now, nil if none has.
func (b byEnd) over(now int64) *message {
	if len(b) == 0 || b[0].until > now {
		return nil
	}
	return b[0]
}
