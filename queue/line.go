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

	// line is where it waits, at index; nil: nowhere.
	line  *line
	index int
}

// line is a heap of entries.
type line struct {
	entries []*entry
	less    func(a, b *entry) bool
}

// inTurn is the order in which items are handed out (Q5).
func inTurn(a, b *entry) bool {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.createRev, b.createRev), cmp.Compare(a.id, b.id)) < 0
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
