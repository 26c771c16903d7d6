package etcd

import (
	"container/heap"
	"encoding/json"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// walk is a place in a decoded segment.
type walk struct {
	seg *segment
	i   int
}

func (w *walk) record() *etcdkv.SegmentRecord { return &w.seg.records[w.i] }

// rev is the revision at which the record was written (H2).
func (w *walk) rev() int64 {
	if r := w.record().Rev; r != 0 {
		return r
	}
	return w.seg.modRev
}

// token is that under which the record was made; zero: it cannot be read.
func (w *walk) token() job.Token {
	var run struct{ Token job.Token }
	if err := json.Unmarshal([]byte(w.record().Run), &run); err != nil {
		return job.Token{}
	}
	return run.Token
}

// counts reports whether a record is read rather than another one of the same run
// (H2). Tokens are looked at only where there are two.
func (w *walk) counts(o *walk) bool {
	mine, other := w.token(), o.token()
	if mine != other && !mine.IsZero() && !other.IsZero() {
		return other.Less(mine)
	}
	return w.rev() > o.rev()
}

// merger walks over the records of several segments in the order of lists, and
// comes to each RunID once. Segments may be added as long as none of their
// records belongs before the one that was returned last.
type merger struct {
	heap walks
}

// add adds what a segment has after a position; nil: all of it.
func (m *merger) add(seg *segment, after *history.Position) {
	w := walk{seg: seg}
	if after != nil {
		for w.i < len(seg.records) && position(w.record()).Compare(*after) <= 0 {
			w.i++
		}
	}
	if w.i < len(seg.records) {
		heap.Push(&m.heap, w)
	}
}

// top returns the instant of what comes next.
func (m *merger) top() (at int64, ok bool) {
	if len(m.heap) == 0 {
		return 0, false
	}
	return m.heap[0].record().At, true
}

// next returns the version that counts of the next record; there must be one.
func (m *merger) next() walk {
	best := m.pop()
	for len(m.heap) > 0 && m.heap[0].record().ID == best.record().ID {
		if w := m.pop(); w.counts(&best) {
			best = w
		}
	}
	return best
}

func (m *merger) pop() walk {
	w := m.heap[0]
	if m.heap[0].i++; m.heap[0].i < len(w.seg.records) {
		heap.Fix(&m.heap, 0)
	} else {
		heap.Pop(&m.heap)
	}
	return w
}

func position(r *etcdkv.SegmentRecord) history.Position {
	return history.Position{At: r.At, ID: r.ID}
}

// walks is a heap.Interface in the order of lists.
type walks []walk

func (w walks) Len() int           { return len(w) }
func (w walks) Less(i, j int) bool { return w[i].record().Compare(w[j].record()) < 0 }
func (w walks) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *walks) Push(x any)        { *w = append(*w, x.(walk)) }
func (w *walks) Pop() any {
	old := *w
	x := old[len(old)-1]
	*w = old[:len(old)-1]
	return x
}
