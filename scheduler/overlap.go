package scheduler

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/admit"
	"github.com/carillon-cron/carillon/scheduler/phase"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

// overlapQueue is what the overlap policy looks at: the occurrences of a job, or of one
// node's shares of them. A fire is in it from its commit. It runs from its start,
// which may be much later (jitter, catchUpEvery): only what runs keeps others
// from starting.
type overlapQueue struct {
	// open counts fires that are committed to be run and have not ended; running
	// are those of them that have started, or of which nobody knows yet.
	open, running int32
	// waiting are the fires that the overlap policy holds back, in order.
	waiting []*fire
}

// first returns the fire that may start when none runs.
func (l *overlapQueue) first() *fire {
	if len(l.waiting) == 0 {
		return nil
	}
	return l.waiting[0]
}

// wait puts a fire among those that wait.
func (l *overlapQueue) wait(f *fire) {
	i, _ := slices.BinarySearchFunc(l.waiting, f, inOrder)
	l.waiting = slices.Insert(l.waiting, i, f)
}

// leave takes a fire out of those that wait.
func (l *overlapQueue) leave(f *fire) {
	l.waiting = slices.DeleteFunc(l.waiting, func(o *fire) bool { return o == f })
}

// letRun has a fire start, as far as the overlap policy goes: it counts as running.
func (s *shard) letRun(f *fire) {
	if !f.phase.Runs() {
		s.proceed(f, phase.FireStarted)
		f.queue().running++
	}
}

// halt takes it back.
func (s *shard) halt(f *fire) {
	if !f.phase.Runs() {
		return
	}
	next := phase.FireDue
	if f.phase.IsEnding() {
		next = phase.FireDropped
	}
	s.proceed(f, next)
	f.queue().running--
}

// inOrder compares fires by their instants, then by their commits, then by
// their ids.
func inOrder(a, b *fire) int { return admit.InOrder(a.id, a.seq(), b.id, b.seq()) }

// inTheWay reports whether runs keep a fire of their queue from starting. In an
// ordered group only older ones do: those that are not wait for it.
func (s *shard) inTheWay(f *fire) bool {
	l := f.queue()
	if l.running == 0 || !s.isOrdered() {
		return l.running > 0
	}
	return s.admission.Has(func(r *admit.Run) bool {
		o := fireFor(r)
		return o.phase.Runs() && o.queue() == l && inOrder(o, f) < 0
	})
}

// admit decides whether a fire whose start has come may go on beside what runs.
func (s *shard) admit(f *fire) (plan.Admission, string) {
	e := f.e
	if f.id.Trigger == job.TriggerBackfill || e.Gone || !e.migrating && !s.inTheWay(f) {
		return plan.Admitted, ""
	}
	return plan.Overlap(e.overlap, len(f.queue().waiting), s.queueLimit(e))
}

// passOverlap reports whether an open fire, whose start has come, may go on. If
// not, it waits from now on, or has ended.
func (s *shard) passOverlap(f *fire) bool {
	if f.phase.Runs() {
		return true
	}
	l := f.queue()
	if slices.ContainsFunc(f.tasks, (*task).mayHaveBegun) {
		s.letRun(f) // an earlier owner may have started it
		return true
	}
	switch what, why := s.admit(f); what {
	case plan.HeldBack:
		s.proceed(f, phase.FireHeldBack)
		f.unassign()
		l.open--
		l.wait(f)
		s.touch(f.slot)
		s.supersede(f)
		s.nextInQueue(l)
		return false
	case plan.TurnedAway:
		f.unassign()
		f.crowded = true
		s.end(f, job.StateSkipped, why)
		return false
	case plan.Admitted:
	}
	s.letRun(f)
	return true
}

// nextInQueue starts the fire that has waited longest, if nothing is in its way
// any more.
func (s *shard) nextInQueue(l *overlapQueue) {
	if w := l.first(); w != nil && !w.e.migrating && !s.inTheWay(w) {
		s.promote(w)
	}
}

// promote starts a fire that the overlap policy held back.
func (s *shard) promote(f *fire) {
	l := f.queue()
	l.leave(f)
	l.open++
	s.letRun(f)
	s.assign(f, s.deps.now())
	s.touch(f.slot)
	s.reconcileAt(f, max(f.due(), s.deps.now()))
}
