package scheduler

import (
	"container/heap"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// slot is a slot as its owner holds it.
type slot struct {
	seq         uint64
	committedAt int64
	node        job.NodeID
	maxAt       int64
	fires       []*fire
	open        int
	// tell are recorded fires of whose end others are to be told; they stay in
	// the slot until a note of it is written.
	tell []*fire
	// dirty: the stored value has to be written again. closed: nothing is left in
	// it, and it is to be deleted. beyond: it waits among those for the cursor.
	// shrinking: it is to be written again without what has ended.
	dirty, closed, beyond, shrinking bool
	// stored is how many entries the stored value has.
	stored int
}

// newSlot puts fires into a slot that is committed at a time.
func newSlot(seq uint64, now int64, node job.NodeID, fires []*fire) *slot {
	sl := &slot{seq: seq, committedAt: now, node: node, fires: fires, open: len(fires)}
	for i, f := range fires {
		f.slot, f.place, f.committedAt = sl, i, now
		sl.maxAt = max(sl.maxAt, f.id.At, f.until)
	}
	return sl
}

// encode packs what of the slot is still open.
func (s *slot) encode() []byte {
	v := etcdkv.Slot{CommittedAt: s.committedAt, Node: s.node, Entries: make([]etcdkv.SlotEntry, 0, s.open)}
	for _, f := range s.fires {
		if f != nil {
			v.Entries = append(v.Entries, f.stored())
		}
	}
	s.stored = len(v.Entries)
	return etcdkv.EncodeSlot(&v)
}

// beyond are slots that are to be written again, or deleted, once the cursor has
// passed them (I3, I5), the first one first. While an owner is behind there may be
// thousands: each is looked at once when it comes, and once when it is passed.
type beyond []*slot

func (b beyond) Len() int           { return len(b) }
func (b beyond) Less(i, j int) bool { return b[i].maxAt < b[j].maxAt }
func (b beyond) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *beyond) Push(x any)        { *b = append(*b, x.(*slot)) } // only slots are pushed
func (b *beyond) Pop() any {
	old := *b
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*b = old[:len(old)-1]
	return x
}

// shrinkAfter is how long what has ended may stay in the stored value of a slot whose
// other entries are open. An owner that finds it there asks its minions, who remember
// it for much longer, but not for as long as others of the slot may run.
const shrinkAfter = int64(10 * time.Second)

// shrink is a slot that is to be written again at a time.
type shrink struct {
	slot *slot
	at   int64
}

// slotTable are the open slots of a shard, and which of them the next commits write or
// delete.
type slotTable struct {
	slots map[uint64]*slot
	// dirty are those that the next commits write, closed those that they delete.
	dirty, closed map[*slot]struct{}
	// beyond are slots that wait for the cursor.
	beyond beyond
	// shrinks are slots that are written again when their time comes, in its order.
	shrinks []shrink
	// upTo returns up to where slots may be written again and deleted.
	now, upTo func() int64
}

func newSlotTable(now, upTo func() int64) slotTable {
	return slotTable{slots: map[uint64]*slot{}, dirty: map[*slot]struct{}{}, closed: map[*slot]struct{}{}, now: now, upTo: upTo}
}

// shrinkLater has what has ended of a slot leave its stored value.
func (t *slotTable) shrinkLater(sl *slot) {
	if !sl.shrinking {
		sl.shrinking = true
		t.shrinks = append(t.shrinks, shrink{sl, t.now() + shrinkAfter})
	}
}

// shrinkSlots has those slots written whose time has come, unless that was done
// meanwhile.
func (t *slotTable) shrinkSlots(now int64) {
	for len(t.shrinks) > 0 && t.shrinks[0].at <= now {
		sl := t.shrinks[0].slot
		t.shrinks[0] = shrink{}
		t.shrinks = t.shrinks[1:]
		sl.shrinking = false
		if sl.open > 0 && sl.open < sl.stored {
			t.touch(sl)
		}
	}
}

// touch marks a slot to be written again.
func (t *slotTable) touch(sl *slot) {
	if !sl.dirty {
		sl.dirty = true
		t.queueSlot(sl)
	}
}

// finishSlot marks a slot to be deleted.
func (t *slotTable) finishSlot(sl *slot) {
	delete(t.dirty, sl)
	sl.dirty = false
	if !sl.closed {
		sl.closed = true
		t.queueSlot(sl)
	}
}

// queueSlot puts a slot among those that the next commits write or delete, or
// among those that wait for the cursor.
func (t *slotTable) queueSlot(sl *slot) {
	switch {
	case sl.beyond:
	case sl.maxAt > t.upTo():
		sl.beyond = true
		heap.Push(&t.beyond, sl)
	case sl.closed:
		t.closed[sl] = struct{}{}
	case sl.dirty:
		t.dirty[sl] = struct{}{}
	}
}

// passSlots has those slots written or deleted that the cursor has passed.
func (t *slotTable) passSlots() {
	for len(t.beyond) > 0 && t.beyond[0].maxAt <= t.upTo() {
		sl := heap.Pop(&t.beyond).(*slot) // only slots are pushed
		sl.beyond = false
		t.queueSlot(sl)
	}
}
