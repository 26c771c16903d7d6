package scheduler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// gate holds the fires of a group back that must wait for others: for the one
// before (ordered), or for a free place (maxConcurrent). It lives in the owner's
// memory: a new owner counts every fire as under way whose minion may have its
// order, until the minion has answered.
type gate struct {
	// inside are the fires under way.
	inside map[*fire]struct{}
	// waiting are the fires held back, in the order of their instants.
	waiting []*fire
	// ordered and limit are as of the last look; limit 0 is no limit.
	ordered bool
	limit   int
}

// rules takes the group's spec.
func (g *gate) rules(spec *job.GroupSpec) {
	g.ordered, g.limit = spec.Ordered, spec.MaxConcurrent
}

// enter reports whether the fire may start; otherwise it waits.
func (g *gate) enter(f *fire) bool {
	if _, in := g.inside[f]; in {
		return true
	}
	if g.full() || len(g.waiting) > 0 && g.waiting[0] != f {
		if !f.gated {
			f.gated = true
			i, _ := slices.BinarySearchFunc(g.waiting, f, inOrder)
			g.waiting = slices.Insert(g.waiting, i, f)
		}
		if g.full() || g.waiting[0] != f {
			return false
		}
	}
	if f.gated {
		f.gated = false
		g.waiting = g.waiting[1:]
	}
	g.admit(f)
	return true
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

// leave takes the fire out, and returns the one that may be next.
func (g *gate) leave(f *fire) *fire {
	delete(g.inside, f)
	if f.gated {
		f.gated = false
		g.waiting = slices.DeleteFunc(g.waiting, func(o *fire) bool { return o == f })
	}
	if len(g.waiting) > 0 && !g.full() {
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
	if g.ordered {
		return "waits for the run before it to end; the group is ordered"
	}
	return fmt.Sprintf("waits for one of %d runs of the group to end; its maxConcurrent is %d", len(g.inside), g.limit)
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
	s.gate.rules(&g.spec)
	return s.gate.enter(f) && s.passMutex(f, g)
}

// leaveGate lets the next fire in.
func (s *shard) leaveGate(f *fire) {
	if s.turns == nil {
		return
	}
	s.unlock(f)
	if next := s.gate.leave(f); next != nil {
		s.attendAt(next, s.deps.now())
	}
}

// reopenGate looks at the gate's rules anew: when they are relaxed, fires that
// wait may start.
func (s *shard) reopenGate(now int64) {
	if s.turns == nil || len(s.gate.waiting) == 0 {
		return
	}
	if g := s.turns.group(); g != nil && g.rev != s.groupRev {
		s.groupRev = g.rev
		s.gate.rules(&g.spec)
		s.attendAt(s.gate.waiting[0], now)
	}
}

// unadmit takes a recovered fire out of those under way once it is known that
// none of its minions has it: it waits its turn again.
func (s *shard) unadmit(f *fire) {
	if f.dispatchedAt != 0 {
		return
	}
	for _, t := range f.tasks {
		if t.unknown || t.running || t.final() {
			return
		}
	}
	if !slices.ContainsFunc(f.tasks, func(t *task) bool { return t.attempt > 1 }) {
		f.lane().halt(f)
	}
	if s.turns == nil {
		return
	}
	if next := s.gate.leave(f); next != nil {
		s.attendAt(next, s.deps.now())
	}
}
