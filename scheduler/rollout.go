package scheduler

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/admit"
)

// A rollout's tasks are put into their order when they are chosen, which is stored with
// the fire. Which of them may start is decided in package admit.

// roll does what the fire's rollout needs now, and lets the tasks start that
// may. It reports whether the fire has one.
func (s *shard) roll(f *fire, spec *job.Spec, now int64) bool {
	if f.rules == nil || len(f.tasks) < 2 && !f.capped() {
		return false
	}
	if f.asks != nil {
		s.admission.Anew(f.asks)
	}
	if f.rollout == nil {
		f.rollout = admit.NewRollout(f.rules, len(f.tasks), f.canaries, func(i int, label string) string {
			return s.deps.Minions.Value(f.tasks[i].minion, label)
		}, f.recovered)
	}
	front := f.rollout.Look(len(f.tasks), func(i int) admit.Progress { return f.tasks[i].progress() })
	if why := f.rollout.Stops(front); why != "" && f.stopped == "" {
		f.stopped = why
		s.touch(f.slot)
	}
	waiting := make([]*task, len(front.Waiting))
	for i, place := range front.Waiting {
		waiting[i] = f.tasks[place]
	}
	tooLate := f.doubtful && s.isTooLate(f, now)
	for _, t := range waiting {
		switch {
		case f.e.Gone:
			s.finish(f, t, now, job.StateCancelled, t.whyGone())
		case f.stopped != "":
			s.finish(f, t, now, job.StateSkipped, f.stopped)
		case tooLate && front.Open == 0:
			s.miss(f, t, now)
		}
	}
	var next []*task
	if !tooLate && !f.e.Gone && f.stopped == "" { // else it has to be seen first whether it was begun
		next = s.nextOfRollout(f, front, now)
	}
	s.giveBackIdle(f, waiting, next, now)
	for _, t := range f.tasks {
		if !f.ended() && !t.final() && t.saved && !t.progress().IsWaiting() {
			s.reconcileTask(f, t, spec, now)
		}
	}
	for _, t := range next {
		if !f.ended() && t.saved {
			s.reconcileTask(f, t, spec, now)
		}
	}
	return true
}

// nextOfRollout returns the waiting tasks that may start now.
func (s *shard) nextOfRollout(f *fire, front *admit.Front, now int64) []*task {
	turn := admit.Turn{Run: f.runID, Now: now, Promoted: f.promoted}
	if f.capped() {
		turn.InTurn = func(places []int) []int { return s.inTurn(f, places) }
		turn.Ask = func(place int) admit.Answer { return s.askCaps(f, place, now) }
	}
	places, again := f.rollout.Next(front, &turn)
	if again != 0 {
		s.reconcileAt(f, again)
	}
	next := make([]*task, len(places))
	for i, place := range places {
		next[i] = f.tasks[place]
	}
	return next
}

// inTurn puts the places of waiting tasks into the order in which they may start: those
// that have permits, or have asked for them, come first, for it is for them that others
// wait.
func (s *shard) inTurn(f *fire, places []int) []int {
	var first, then []int
	for _, place := range places {
		if s.admission.IsFirst(f.holder(f.tasks[place])) {
			first = append(first, place)
		} else {
			then = append(then, place)
		}
	}
	return append(first, then...)
}

// askCaps asks whether the task at a place may start as far as the caps of the cluster go. They are
// asked last, so that nobody who holds a permit waits.
func (s *shard) askCaps(f *fire, place int, now int64) admit.Answer {
	t := f.tasks[place]
	switch {
	case !t.saved:
		return admit.No // looked at again once it is
	case now < t.notBefore:
		s.reconcileAt(f, t.notBefore)
		return admit.No
	}
	return s.admission.Ask(s.asker(f), cappedTask{f, t, place}, s.group(), now)
}

func (t *task) progress() admit.Progress {
	p := admit.Progress{Phase: t.phase, Attempt: t.attempt}
	if t.report != nil {
		p.State = t.report.State
	}
	return p
}

// giveBackIdle gives the permits of those tasks back that wait, and do not start
// now. One that was sent, and is said not to have come, keeps its permits for as
// long as its order may still be on its way.
func (s *shard) giveBackIdle(f *fire, waiting, next []*task, now int64) {
	if !f.capped() {
		return
	}
	for _, t := range waiting {
		switch {
		case t.final() || slices.Contains(next, t):
		case now <= t.notAfter:
			s.reconcileAt(f, t.notAfter+1)
		default:
			s.giveBack(f, t)
		}
	}
}

// promoteRollout takes note that somebody lets a rollout go on from its canaries.
func (s *shard) promoteRollout(f *fire) {
	if !f.promoted && f.isOpen() {
		f.promoted = true
		s.touch(f.slot)
		s.reconcileAt(f, s.deps.now())
	}
}
