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
func (b *beyond) Push(x any)        { *b = append(*b, x.(*slot)) } //nolint:errcheck // only slots are pushed
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

// shrinkLater has what has ended of a slot leave its stored value.
func (s *shard) shrinkLater(sl *slot) {
	if !sl.shrinking {
		sl.shrinking = true
		s.shrinks = append(s.shrinks, shrink{sl, s.deps.now() + shrinkAfter})
	}
}

// shrinkSlots has those slots written whose time has come, unless that was done
// meanwhile.
func (s *shard) shrinkSlots(now int64) {
	for len(s.shrinks) > 0 && s.shrinks[0].at <= now {
		sl := s.shrinks[0].slot
		s.shrinks[0] = shrink{}
		s.shrinks = s.shrinks[1:]
		sl.shrinking = false
		if sl.open > 0 && sl.open < sl.stored {
			s.touch(sl)
		}
	}
}

// touch marks a slot to be written again.
func (s *shard) touch(sl *slot) {
	if !sl.dirty {
		sl.dirty = true
		s.queueSlot(sl)
	}
}

// finishSlot marks a slot to be deleted.
func (s *shard) finishSlot(sl *slot) {
	delete(s.dirty, sl)
	sl.dirty = false
	if !sl.closed {
		sl.closed = true
		s.queueSlot(sl)
	}
}

// queueSlot puts a slot among those that the next commits write or delete, or
// among those that wait for the cursor.
func (s *shard) queueSlot(sl *slot) {
	switch {
	case sl.beyond:
	case sl.maxAt > s.decided():
		sl.beyond = true
		heap.Push(&s.beyond, sl)
	case sl.closed:
		s.closed[sl] = struct{}{}
	case sl.dirty:
		s.dirty[sl] = struct{}{}
	}
}

// passSlots has those slots written or deleted that the cursor has passed.
func (s *shard) passSlots() {
	for len(s.beyond) > 0 && s.beyond[0].maxAt <= s.decided() {
		sl := heap.Pop(&s.beyond).(*slot) //nolint:errcheck // only slots are pushed
		sl.beyond = false
		s.queueSlot(sl)
	}
}
