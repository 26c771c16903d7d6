package admit

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Gate holds the runs of a group back that must wait for others: for those
// before (ordered), or for a free place (maxConcurrent). It lives in the owner's
// memory. Every run of the group that is committed and not in history stands in
// its line, also one whose start has not come, that has no minion yet, or that
// the overlap policy holds back: so an older instant is never overtaken because
// something else keeps it. A new owner counts every run as under way whose
// minion may have its order, until the minion has answered.
//
// The zero value lets everybody through that stands in line. It is not safe for
// concurrent use.
type Gate struct {
	// line has the runs in the order of their instants, and some that have left.
	line line
	// inside are the runs under way.
	inside map[*Run]struct{}
	// waiting are the runs whose start has come and that found no free place, in
	// the order of their instants.
	waiting []*Run
	// ordered and limit are as of the last look; limit 0 is no limit.
	ordered bool
	limit   int
	// rev is the revision of the group's spec for which those who wait have asked again.
	rev int64
}

// place is where a run stands at the gate. The zero value is nowhere.
type place uint8

const (
	nowhere place = iota // it has not come, or has left
	inLine               // it is committed, and its start has not come
	before               // its start has come, and it waits
	inside               // it is under way
)

// line is a heap of runs, the one with the oldest instant first.
type line []*Run

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].compare(l[j]) < 0 }
func (l line) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *line) Push(x any)        { *l = append(*l, x.(*Run)) } // only runs are pushed
func (l *line) Pop() any {
	old := *l
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return x
}

// InOrder compares fires by their instants, then by their commits, then by their ids.
func InOrder(a job.FireID, aSeq uint64, b job.FireID, bSeq uint64) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(aSeq, bSeq),
		slices.Compare(a.Job[:], b.Job[:]), cmp.Compare(a.Share, b.Share), cmp.Compare(a.Trigger, b.Trigger))
}

func (r *Run) compare(o *Run) int { return InOrder(r.ID, r.Seq, o.ID, o.Seq) }

// Rules takes the group's spec.
func (g *Gate) Rules(spec *job.GroupSpec) {
	g.ordered, g.limit = spec.Ordered, spec.MaxConcurrent
}

// changed takes a group's spec, and returns the runs that are to ask again because
// it is another one than at the last look: it may have been relaxed.
func (g *Gate) changed(spec *job.GroupSpec, rev int64) []*Run {
	if len(g.waiting) == 0 || rev == g.rev {
		return nil
	}
	g.rev = rev
	g.Rules(spec)
	return g.waiting
}

// Join puts a committed run in line.
func (g *Gate) Join(r *Run) {
	if r.place == nowhere {
		r.place = inLine
		heap.Push(&g.line, r)
	}
}

// First returns the run with the oldest instant, or nil.
func (g *Gate) First() *Run {
	for len(g.line) > 0 && g.line[0].place == nowhere {
		heap.Pop(&g.line)
	}
	if len(g.line) == 0 {
		return nil
	}
	return g.line[0]
}

// Has reports whether there is such a run in line.
func (g *Gate) Has(is func(*Run) bool) bool {
	return slices.ContainsFunc(g.line, func(r *Run) bool { return r.place != nowhere && is(r) })
}

// enter reports whether the run, whose start has come, may start; otherwise it
// waits.
func (g *Gate) enter(r *Run) bool {
	if r.place == inside {
		return true
	}
	if !g.mayEnter(r) {
		if r.place != before {
			r.place = before
			i, _ := slices.BinarySearchFunc(g.waiting, r, (*Run).compare)
			g.waiting = slices.Insert(g.waiting, i, r)
		}
		return false
	}
	g.Admit(r)
	return true
}

func (g *Gate) mayEnter(r *Run) bool {
	switch {
	case g.full():
		return false
	case g.ordered:
		return g.First() == r
	}
	return len(g.waiting) == 0 || g.waiting[0] == r || r.compare(g.waiting[0]) < 0
}

func (g *Gate) full() bool {
	return g.ordered && len(g.inside) > 0 || g.limit > 0 && len(g.inside) >= g.limit
}

// Admit counts the run as under way.
func (g *Gate) Admit(r *Run) {
	g.stopWaiting(r)
	if g.inside == nil {
		g.inside = map[*Run]struct{}{}
	}
	g.inside[r] = struct{}{}
	r.place = inside
}

// Unadmit takes it back: the run stands in line again.
func (g *Gate) Unadmit(r *Run) {
	if r.place == inside {
		delete(g.inside, r)
		r.place = inLine
	}
}

// Leave takes the run out of the line.
func (g *Gate) Leave(r *Run) {
	delete(g.inside, r)
	g.stopWaiting(r)
	r.place = nowhere
}

func (g *Gate) stopWaiting(r *Run) {
	if r.place == before {
		g.waiting = slices.DeleteFunc(g.waiting, func(o *Run) bool { return o == r })
	}
}

// Next returns the run that may be next to start; nil: none waits, or none may.
func (g *Gate) Next() *Run {
	switch {
	case g.full():
		return nil
	case g.ordered:
		return g.First()
	case len(g.waiting) > 0:
		return g.waiting[0]
	}
	return nil
}

// why tells people what a run waits for.
func (g *Gate) why() string {
	if !g.ordered {
		return fmt.Sprintf("waiting for one of %d runs of the group to end; its maxConcurrent is %d", len(g.inside), g.limit)
	}
	if r := g.First(); r != nil && len(g.inside) == 0 {
		return fmt.Sprintf("waiting for the run of %s at %s to start and end; the group is ordered", r.Job, r.ID.Time().Format(time.RFC3339Nano))
	}
	return "waiting for the run before it to end; the group is ordered"
}
