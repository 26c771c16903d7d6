package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A rollout lets the tasks of a fire start in their order, and not all at once.
// Its order is that of the tasks, which is stored with the fire: canaries first.
// How far it has come follows from the states of the tasks, so a new owner goes
// on where the last one was: a task that the last one may have sent counts as
// running until its minion has said otherwise. What cannot be worked out is
// stored: its rules, as the job had them when the tasks were chosen; that somebody
// promoted it, and that it was stopped.

// rollout holds the owner's in-memory progress.
type rollout struct {
	spec *job.Rollout
	// canaries is how many of the tasks, the first ones, are.
	canaries int
	// values are the tasks' values of the labels in spec.MaxPer and ClusterMaxPer.
	values map[string][]string
	// batchEnd is when the last batch was seen to have ended; 0: not yet.
	batchEnd int64
	// started is how many of the batch under way have been started.
	started int
	// waiting is how many tasks waited when it was looked at last.
	waiting int
	// held tells people what it waits for; empty: nothing.
	held string
}

// arrange puts the tasks of a fire into the rollout's order, canaries first, and
// returns how many of these there are.
func (s *shard) arrange(tasks []*task, r *job.Rollout) int {
	byName := func(a, b *task) int { return job.CompareNames(string(a.minion), string(b.minion)) }
	switch r.Order {
	case job.OrderShuffle:
		rand.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	case job.OrderLabel:
		values := make(map[job.MinionID]string, len(tasks))
		for _, t := range tasks {
			values[t.minion] = s.deps.Minions.Value(t.minion, r.OrderBy)
		}
		slices.SortStableFunc(tasks, func(a, b *task) int {
			return cmp.Or(job.CompareNames(values[a.minion], values[b.minion]), byName(a, b))
		})
	default:
		slices.SortStableFunc(tasks, byName)
	}
	if r.Canary == "" && r.CanaryCount == 0 {
		return 0
	}
	first := s.isCanary(r) // asked once: minions come and go
	var canaries, others []*task
	for _, t := range tasks {
		if first(t) {
			canaries = append(canaries, t)
		} else {
			others = append(others, t)
		}
	}
	copy(tasks, append(canaries, others...))
	if r.CanaryCount > 0 {
		return min(len(canaries), r.CanaryCount)
	}
	return len(canaries)
}

// isCanary returns what tells the tasks that may be canaries.
func (s *shard) isCanary(r *job.Rollout) func(*task) bool {
	if r.Canary == "" {
		return func(t *task) bool { return t.report == nil }
	}
	found := s.deps.Minions.Match(job.Target{Match: r.Canary})
	return func(t *task) bool {
		_, ok := slices.BinarySearch(found, t.minion)
		return ok && t.report == nil
	}
}

// roll does what the fire's rollout needs now, and lets the tasks start that
// may. It reports whether the fire has one.
func (s *shard) roll(f *fire, spec *job.Spec, now int64) bool {
	if f.rules == nil || len(f.tasks) < 2 && !f.capped() {
		return false
	}
	delete(s.permits.waiting, f)
	if f.rollout == nil {
		f.rollout = s.newRollout(f)
	}
	r := f.rollout
	r.held = ""
	front := r.look(f.tasks)
	r.waiting = len(front.waiting)
	if why := r.stops(&front, len(f.tasks)); why != "" && f.stopped == "" {
		f.stopped = why
		s.touch(f.slot)
	}
	tooLate := f.doubtful && s.isTooLate(f, now)
	for _, t := range front.waiting {
		switch {
		case f.e.Gone:
			s.finish(f, t, now, job.StateCancelled, t.whyGone())
		case f.stopped != "":
			s.finish(f, t, now, job.StateSkipped, f.stopped)
		case tooLate && front.open == 0:
			s.miss(f, t, now)
		}
	}
	var next []*task
	if !tooLate && !f.e.Gone && f.stopped == "" { // else it has to be seen first whether it was begun
		next = r.next(s, f, &front, now)
	}
	s.giveBackIdle(f, front.waiting, next, now)
	for _, t := range f.tasks {
		if !f.ended() && !t.final() && t.saved && !t.isWaiting() {
			s.attendTask(f, t, spec, now)
		}
	}
	for _, t := range next {
		if !f.ended() && t.saved {
			s.attendTask(f, t, spec, now)
		}
	}
	return true
}

func (s *shard) newRollout(f *fire) *rollout {
	r := &rollout{spec: f.rules, canaries: f.canaries, values: map[string][]string{}}
	if f.recovered {
		r.started = len(f.tasks) // the batch under way is an earlier owner's, and full
	}
	for _, label := range slices.Concat(slices.Collect(maps.Keys(f.rules.MaxPer)), slices.Collect(maps.Keys(f.rules.ClusterMaxPer))) {
		values := make([]string, len(f.tasks))
		for i, t := range f.tasks {
			values[i] = s.deps.Minions.Value(t.minion, label)
		}
		r.values[label] = values
	}
	return r
}

// front is how far the tasks of a rollout are.
type front struct {
	// waiting have not been sent; open counts those that have, or may have, been,
	// and have not ended.
	waiting []*task
	places  []int
	open    int
	// busy counts the open ones by label and value.
	busy map[string]map[string]int
	// failed counts those that ran and did not succeed; canaryOpen and
	// canaryBad the canaries that have not ended, and that did not succeed.
	failed, canaryOpen, canaryBad int
	// batched counts those besides the canaries that have been open and have
	// ended, excluded those that were to get no order at all.
	batched, excluded int
	// unheard: a minion has not said yet what became of an earlier owner's order.
	unheard bool
}

// look tells how far the tasks are.
func (r *rollout) look(tasks []*task) front {
	f := front{busy: map[string]map[string]int{}}
	for label := range r.values {
		f.busy[label] = map[string]int{}
	}
	for i, t := range tasks {
		canary := i < r.canaries
		switch {
		case t.final():
			switch {
			case t.report.State == job.StateUncontrollable:
				f.excluded++
			case !canary:
				f.batched++
			}
			if t.report.State.StopsRollout() {
				f.failed++
			}
			if canary && t.report.State != job.StateSucceeded {
				f.canaryBad++
			}
			continue
		case t.isWaiting():
			f.waiting, f.places = append(f.waiting, t), append(f.places, i)
		default:
			f.open++
			f.unheard = f.unheard || t.phase == phase.Unknown
			for label, values := range r.values {
				f.busy[label][values[i]]++
			}
		}
		if canary {
			f.canaryOpen++
		}
	}
	return f
}

// isWaiting: the task is to be sent, and nobody has sent it yet.
func (t *task) isWaiting() bool {
	return t.phase == phase.Waiting && t.attempt == 1
}

// stops returns why the rollout goes no further; empty: it does.
func (r *rollout) stops(f *front, n int) string {
	if len(f.waiting) == 0 {
		return ""
	}
	if f.canaryBad > 0 {
		return fmt.Sprintf("the rollout was stopped: %d of %d canaries did not succeed", f.canaryBad, r.canaries)
	}
	n -= f.excluded
	if m := r.spec.MaxFailures; m != nil && f.failed > m.Of(n, 0) {
		return fmt.Sprintf("the rollout was stopped: %d of %d minions failed, and %s may", f.failed, n, *m)
	}
	return ""
}

// next returns the waiting tasks that may start now.
func (r *rollout) next(s *shard, f *fire, at *front, now int64) []*task {
	window := len(f.tasks)
	if r.spec.Batch != "" {
		window = r.spec.Batch.Of(len(f.tasks)-at.excluded, 1)
	}
	if at.canaryOpen == 0 && at.open+at.batched == 0 {
		r.started = 0 // none has begun, whatever was meant to
	}
	last := len(f.tasks)
	switch {
	case at.unheard && r.spec.MaxFailures != nil:
		// The earlier owner may have stopped it, and died before that was stored.
		r.held = "taken over; waiting for what its minions say"
		return nil
	case at.canaryOpen > 0:
		last = r.canaries
	case r.canaries > 0 && r.spec.Promote == job.PromoteManual && !f.promoted && len(at.waiting) > 0:
		r.held = fmt.Sprintf("%s succeeded; waiting for `carillon resume run %s`", canaryWords(r.canaries), f.id.RunID())
		return nil
	case r.spec.Pause > 0 && r.started >= window:
		if at.open > 0 {
			return nil // the batch goes on
		}
		if r.batchEnd == 0 {
			r.batchEnd = now
		}
		if again := r.batchEnd + int64(r.spec.Pause); now < again {
			r.held = "waiting between two batches"
			s.attendAt(f, again)
			return nil
		}
		r.batchEnd, r.started = 0, 0
	}
	var out []*task
	asks := 0 // those that start once they have their permits
	for _, place := range r.inTurn(s, f, at) {
		if place >= last {
			continue
		}
		if at.open+len(out)+asks >= window || at.canaryOpen == 0 && r.spec.Pause > 0 && r.started+asks >= window {
			break
		}
		if !r.fits(at, place) {
			continue
		}
		switch s.passCaps(f, place, now) {
		case refused:
			continue
		case asked:
			asks++
		case granted:
			out = append(out, f.tasks[place])
			if at.canaryOpen == 0 {
				r.started++
			}
		}
		for label, values := range r.values {
			at.busy[label][values[place]]++
		}
	}
	return out
}

// inTurn returns the places of the waiting tasks in the order in which they may
// start. Those that have permits, or have asked for them, come first: it is for
// them that others wait.
func (r *rollout) inTurn(s *shard, f *fire, at *front) []int {
	if !f.capped() {
		return at.places
	}
	var first, then []int
	for _, place := range at.places {
		_, asking := s.permits.asking[f.holder(f.tasks[place])]
		if asking || s.holds(f, f.tasks[place]) {
			first = append(first, place)
		} else {
			then = append(then, place)
		}
	}
	return append(first, then...)
}

// passCaps reports whether the task at a place may start as far as the caps of the
// cluster go. They are asked last, so that nobody who holds a permit waits.
func (s *shard) passCaps(f *fire, place int, now int64) permission {
	t := f.tasks[place]
	switch {
	case !f.capped():
		return granted
	case !t.saved:
		return refused // attended to again once it is
	case now < t.notBefore:
		s.attendAt(f, t.notBefore)
		return refused
	case !s.passGate(f):
		return refused
	}
	return s.permit(f, place, now)
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
			s.attendAt(f, t.notAfter+1)
		default:
			s.giveBack(f, t)
		}
	}
}

// fits reports whether one more may run among the minions that share the values
// of the task at a place.
func (r *rollout) fits(at *front, place int) bool {
	for label, most := range r.spec.MaxPer {
		if at.busy[label][r.values[label][place]] >= most {
			return false
		}
	}
	return true
}

// promoteRollout takes note that somebody lets a rollout go on from its canaries.
func (s *shard) promoteRollout(f *fire) {
	if !f.promoted && f.isOpen() {
		f.promoted = true
		s.touch(f.slot)
		s.attendAt(f, s.deps.now())
	}
}

// canaryWords returns "1 canary" or "2 canaries".
func canaryWords(n int) string {
	if n == 1 {
		return "1 canary"
	}
	return fmt.Sprintf("%d canaries", n)
}
