package scheduler

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// gate holds the fires of a group back that must wait for others: for those
// before (ordered), or for a free place (maxConcurrent). It lives in the owner's
// memory. Every fire of the group that is committed and not in history stands in
// its line, also one whose start has not come, that has no minion yet, or that
// the overlap policy holds back: so an older instant is never overtaken because
// something else keeps it. A new owner counts every fire as under way whose
// minion may have its order, until the minion has answered.
type gate struct {
	// line has the fires in the order of their instants, and some that have left.
	line line
	// inside are the fires under way.
	inside map[*fire]struct{}
	// waiting are the fires whose start has come and that found no free place, in
	// the order of their instants.
	waiting []*fire
	// ordered and limit are as of the last look; limit 0 is no limit.
	ordered bool
	limit   int
}

// line is a heap of fires, the one with the oldest instant first.
type line []*fire

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return inOrder(l[i], l[j]) < 0 }
func (l line) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *line) Push(x any)        { *l = append(*l, x.(*fire)) } //nolint:errcheck // only fires are pushed
func (l *line) Pop() any {
	old := *l
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return x
}

// rules takes the group's spec.
func (g *gate) rules(spec *job.GroupSpec) {
	g.ordered, g.limit = spec.Ordered, spec.MaxConcurrent
}

// join puts a committed fire in line.
func (g *gate) join(f *fire) {
	if !f.inLine {
		f.inLine = true
		heap.Push(&g.line, f)
	}
}

// first returns the fire with the oldest instant, or nil.
func (g *gate) first() *fire {
	for len(g.line) > 0 && !g.line[0].inLine {
		heap.Pop(&g.line)
	}
	if len(g.line) == 0 {
		return nil
	}
	return g.line[0]
}

// enter reports whether the fire, whose start has come, may start; otherwise it
// waits.
func (g *gate) enter(f *fire) bool {
	if _, in := g.inside[f]; in {
		return true
	}
	if !g.mayEnter(f) {
		if !f.gated {
			f.gated = true
			i, _ := slices.BinarySearchFunc(g.waiting, f, inOrder)
			g.waiting = slices.Insert(g.waiting, i, f)
		}
		return false
	}
	g.stopWaiting(f)
	g.admit(f)
	return true
}

// has reports whether there is such a fire in line.
func (g *gate) has(is func(*fire) bool) bool {
	return slices.ContainsFunc(g.line, func(f *fire) bool { return f.inLine && is(f) })
}

func (g *gate) mayEnter(f *fire) bool {
	switch {
	case g.full():
		return false
	case g.ordered:
		return g.first() == f
	}
	return len(g.waiting) == 0 || g.waiting[0] == f || inOrder(f, g.waiting[0]) < 0
}

func (g *gate) full() bool {
	return g.ordered && len(g.inside) > 0 || g.limit > 0 && len(g.inside) >= g.limit
}

// admit counts the fire as under way.
func (g *gate) admit(f *fire) {
	if g.inside == nil {
		g.inside = map[*fire]struct{}{}
	}
	g.inside[f] = struct{}{}
}

// unadmit takes it back: the fire stands in line again.
func (g *gate) unadmit(f *fire) { delete(g.inside, f) }

// leave takes the fire out of the line.
func (g *gate) leave(f *fire) {
	delete(g.inside, f)
	f.inLine = false
	g.stopWaiting(f)
}

func (g *gate) stopWaiting(f *fire) {
	if f.gated {
		f.gated = false
		g.waiting = slices.DeleteFunc(g.waiting, func(o *fire) bool { return o == f })
	}
}

// next returns the fire that may be next to start; nil: none waits, or none may.
func (g *gate) next() *fire {
	switch {
	case g.full():
		return nil
	case g.ordered:
		return g.first()
	case len(g.waiting) > 0:
		return g.waiting[0]
	}
	return nil
}

// inOrder compares fires by their instants, then by their commits, then by
// their ids.
func inOrder(a, b *fire) int {
	return cmp.Or(cmp.Compare(a.id.At, b.id.At), cmp.Compare(a.seq(), b.seq()),
		slices.Compare(a.id.Job[:], b.id.Job[:]), cmp.Compare(a.id.Share, b.id.Share), cmp.Compare(a.id.Trigger, b.id.Trigger))
}

// why tells people what a fire waits for.
func (g *gate) why() string {
	if !g.ordered {
		return fmt.Sprintf("waiting for one of %d runs of the group to end; its maxConcurrent is %d", len(g.inside), g.limit)
	}
	if f := g.first(); f != nil && len(g.inside) == 0 {
		return fmt.Sprintf("waiting for the run of %s at %s to start and end; the group is ordered", f.e.key, f.id.Time().Format(time.RFC3339Nano))
	}
	return "waiting for the run before it to end; the group is ordered"
}

// passGate reports whether the fire may start now. When it may not, it is
// attended again when another one has ended.
func (s *shard) passGate(f *fire) bool {
	if s.turns == nil {
		return true
	}
	g := s.turns.group()
	if g == nil {
		return true
	}
	s.gate.rules(&g.Spec)
	return s.gate.enter(f) && s.passMutex(f, g)
}

// isOrdered reports whether the shard is that of an ordered group.
func (s *shard) isOrdered() bool {
	if s.turns == nil {
		return false
	}
	g := s.turns.group()
	return g != nil && g.Spec.Ordered
}

// joinGate puts a committed fire in the group's line.
func (s *shard) joinGate(f *fire) {
	if state := f.entryState(); s.turns != nil && (state == etcdkv.EntryOpen || state == etcdkv.EntryQueued) {
		s.gate.join(f)
	}
}

// leaveGate lets the next fire in, once one is in history.
func (s *shard) leaveGate(f *fire) {
	if s.turns == nil {
		return
	}
	s.gate.leave(f)
	s.openGate(s.deps.now())
}

// openGate has the fire attended that may be next.
func (s *shard) openGate(now int64) {
	next := s.gate.next()
	switch {
	case next == nil || next.ended():
	case next.phase == phase.FireHeldBack:
		s.nextInQueue(next.queue())
	default:
		s.attendAt(next, now)
	}
}

// reopenGate looks at the gate's rules anew: when they are relaxed, fires that
// wait may start.
func (s *shard) reopenGate(now int64) {
	if s.turns == nil || len(s.gate.waiting) == 0 {
		return
	}
	if g := s.turns.group(); g != nil && g.Rev != s.groupRev {
		s.groupRev = g.Rev
		s.gate.rules(&g.Spec)
		for _, f := range s.gate.waiting {
			s.attendAt(f, now)
		}
	}
}

// unadmit takes a recovered fire out of those under way once it is known that
// none of its minions has it: it waits its turn again.
func (s *shard) unadmit(f *fire) {
	if f.dispatchedAt != 0 {
		return
	}
	for _, t := range f.tasks {
		if t.phase != phase.Waiting && t.phase != phase.Sent {
			return
		}
	}
	if !slices.ContainsFunc(f.tasks, func(t *task) bool { return t.attempt > 1 }) {
		s.halt(f)
	}
	if s.turns == nil {
		return
	}
	s.gate.unadmit(f)
	s.openGate(s.deps.now())
}
