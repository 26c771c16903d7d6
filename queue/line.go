package queue

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// ref names an item.
type ref struct {
	priority int
	id       string
}

// entry is what the dispatcher knows of an item.
type entry struct {
	ref
	// createRev is 0 when there is a marker but no item.
	createRev, modRev int64
	raw               []byte
	item              etcdkv.QueueItem

	// markerRev is the create revision of the marker, markerMod its mod
	// revision; 0: there is none.
	markerRev, markerMod int64
	marker               etcdkv.QueueMarker
	deadline             time.Time

	// busy: a claim is under way, or has succeeded at revision busyRev and
	// its marker has not been seen yet.
	busy    bool
	busyRev int64
	// changes counts what was seen of the item and its marker; planned is what it
	// was when the claim was made up.
	changes, planned int
	// stale: a claim has failed its compares, so it has changed in a way that
	// is not seen yet. It is busy until the next event.
	stale bool

	// cancel is why the item is to be ended; nil: it is not.
	cancel *string
	// heldKey is the key under which it is counted among those in hand; empty: it is not.
	heldKey string

	// line is where it waits, at index; nil: nowhere.
	line  *line
	index int
}

// line is a heap of entries.
type line struct {
	entries []*entry
	less    func(a, b *entry) bool
}

// inTurn is the order in which items are handed out (Q5). With aging, a step of
// priority is worth so much waiting: the order of two items never changes.
func inTurn(aging time.Duration) func(a, b *entry) bool {
	if aging <= 0 {
		return inOrder
	}
	begin := func(e *entry) time.Time { return e.item.PutAt.Add(-time.Duration(e.priority) * aging) }
	return func(a, b *entry) bool {
		if x, y := begin(a), begin(b); !x.Equal(y) {
			return x.Before(y)
		}
		return inOrder(a, b)
	}
}

// inOrder is the order by priority, then by when items were put.
func inOrder(a, b *entry) bool {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.createRev, b.createRev), cmp.Compare(a.id, b.id)) < 0
}

// expiry is when an item expires, if it still waits.
type expiry struct {
	at time.Time
	ref
}

// expiries is a heap, the next first. What has gone or was claimed meanwhile is in it
// until its time has come.
type expiries []expiry

// Len, Less, Swap, Push and Pop are heap.Interface.
func (x expiries) Len() int           { return len(x) }
func (x expiries) Less(i, j int) bool { return x[i].at.Before(x[j].at) }
func (x expiries) Swap(i, j int)      { x[i], x[j] = x[j], x[i] }
func (x *expiries) Push(v any)        { *x = append(*x, v.(expiry)) }

func (x *expiries) Pop() any {
	old := *x
	v := old[len(old)-1]
	*x = old[:len(old)-1]
	return v
}

// inTime is the order in which items come to be ready.
func inTime(a, b *entry) bool { return a.item.NotBefore.Before(b.item.NotBefore) }

func (l *line) first() *entry {
	if len(l.entries) == 0 {
		return nil
	}
	return l.entries[0]
}

// add puts an entry into the line; it must not be in another one.
func (l *line) add(e *entry) {
	e.line = l
	heap.Push(l, e)
}

// leave takes an entry out of the line in which it is, if any.
func (e *entry) leave() {
	if e.line != nil {
		heap.Remove(e.line, e.index)
		e.line = nil
	}
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (l *line) Len() int           { return len(l.entries) }
func (l *line) Less(i, j int) bool { return l.less(l.entries[i], l.entries[j]) }
func (l *line) Swap(i, j int) {
	l.entries[i], l.entries[j] = l.entries[j], l.entries[i]
	l.entries[i].index, l.entries[j].index = i, j
}

func (l *line) Push(x any) {
	e := x.(*entry)
	e.index = len(l.entries)
	l.entries = append(l.entries, e)
}

func (l *line) Pop() any {
	last := len(l.entries) - 1
	e := l.entries[last]
	l.entries[last] = nil
	l.entries = l.entries[:last]
	return e
}
