package admit

import (
	"fmt"
	"maps"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// Rollout lets the tasks of a run start in their order, and not all at once.
// Its order is that of the tasks, which is stored with the fire: canaries first.
// How far it has come follows from the states of the tasks, so a new owner goes
// on where the last one was: a task that the last one may have sent counts as
// running until its minion has said otherwise. What cannot be worked out is
// stored: its rules, as the job had them when the tasks were chosen; that somebody
// promoted it, and that it was stopped.
type Rollout struct {
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

// NewRollout returns the rollout of a run of so many tasks, the first of which are
// canaries. value returns a task's value of a label. resumed says that an earlier owner
// may have begun it: the batch under way is that one's, and full.
func NewRollout(rules *job.Rollout, tasks, canaries int, value func(i int, label string) string, resumed bool) *Rollout {
	r := &Rollout{spec: rules, canaries: canaries, values: map[string][]string{}}
	if resumed {
		r.started = tasks
	}
	for _, label := range slices.Concat(slices.Collect(maps.Keys(rules.MaxPer)), slices.Collect(maps.Keys(rules.ClusterMaxPer))) {
		values := make([]string, tasks)
		for i := range values {
			values[i] = value(i, label)
		}
		r.values[label] = values
	}
	return r
}

// Waits reports whether tasks waited when it was looked at last.
func (r *Rollout) Waits() bool { return r.waiting > 0 }

// Held tells people what it waits for; empty: nothing.
func (r *Rollout) Held() string { return r.held }

// Bounds are the bounds of the cluster that a task is under.
func (r *Rollout) Bounds(i int) map[cluster.Cap]int {
	bounds := make(map[cluster.Cap]int, len(r.spec.ClusterMaxPer))
	for label, most := range r.spec.ClusterMaxPer {
		bounds[cluster.Cap{Label: label, Value: r.values[label][i]}] = most
	}
	return bounds
}

// Progress is how far a task has come.
type Progress struct {
	Phase phase.Task
	// Attempt is 1 for the first one.
	Attempt int
	// State is that of a task that has ended.
	State job.State
}

// IsWaiting: the task is to be sent, and nobody has sent it yet.
func (p Progress) IsWaiting() bool { return p.Phase == phase.Waiting && p.Attempt == 1 }

// Front is how far the tasks of a rollout are.
type Front struct {
	// Waiting are those that have not been sent; Open counts those that have, or may
	// have, been, and have not ended.
	Waiting []int
	Open    int

	tasks int
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

// Look tells how far the tasks are.
func (r *Rollout) Look(tasks int, at func(i int) Progress) *Front {
	f := &Front{tasks: tasks, busy: map[string]map[string]int{}}
	for label := range r.values {
		f.busy[label] = map[string]int{}
	}
	for i := range tasks {
		canary, t := i < r.canaries, at(i)
		switch {
		case t.Phase == phase.Ended:
			switch {
			case t.State == job.StateUncontrollable:
				f.excluded++
			case !canary:
				f.batched++
			}
			if t.State.StopsRollout() {
				f.failed++
			}
			if canary && t.State != job.StateSucceeded {
				f.canaryBad++
			}
			continue
		case t.IsWaiting():
			f.Waiting = append(f.Waiting, i)
		default:
			f.Open++
			f.unheard = f.unheard || t.Phase == phase.Unknown
			for label, values := range r.values {
				f.busy[label][values[i]]++
			}
		}
		if canary {
			f.canaryOpen++
		}
	}
	r.held, r.waiting = "", len(f.Waiting)
	return f
}

// Stops returns why the rollout goes no further; empty: it does.
func (r *Rollout) Stops(f *Front) string {
	if len(f.Waiting) == 0 {
		return ""
	}
	if f.canaryBad > 0 {
		return fmt.Sprintf("the rollout was stopped: %d of %d canaries did not succeed", f.canaryBad, r.canaries)
	}
	n := f.tasks - f.excluded
	if m := r.spec.MaxFailures; m != nil && f.failed > m.Of(n, 0) {
		return fmt.Sprintf("the rollout was stopped: %d of %d minions failed, and %s may", f.failed, n, *m)
	}
	return ""
}

// Turn is what the next tasks are chosen by.
type Turn struct {
	Run func() job.RunID
	Now int64
	// Promoted: somebody has let it go on from its canaries.
	Promoted bool
	// InTurn puts the places of the tasks that wait into the order in which they may
	// start. Nil: they have it.
	InTurn func(places []int) []int
	// Ask is asked of each task that may start as far as the rollout goes. Nil: it may.
	Ask func(place int) Answer
}

// Next returns the places of the waiting tasks that may start now, and when it is to
// be asked again, if by the time; 0: not.
func (r *Rollout) Next(at *Front, t *Turn) (start []int, again int64) {
	window := at.tasks
	if r.spec.Batch != "" {
		window = r.spec.Batch.Of(at.tasks-at.excluded, 1)
	}
	if at.canaryOpen == 0 && at.Open+at.batched == 0 {
		r.started = 0 // none has begun, whatever was meant to
	}
	last := at.tasks
	switch {
	case at.unheard && r.spec.MaxFailures != nil:
		// The earlier owner may have stopped it, and died before that was stored.
		r.held = "taken over; waiting for what its minions say"
		return nil, 0
	case at.canaryOpen > 0:
		last = r.canaries
	case r.canaries > 0 && r.spec.Promote == job.PromoteManual && !t.Promoted && len(at.Waiting) > 0:
		r.held = fmt.Sprintf("%s succeeded; waiting for `carillon resume run %s`", canaryWords(r.canaries), t.Run())
		return nil, 0
	case r.spec.Pause > 0 && r.started >= window:
		if at.Open > 0 {
			return nil, 0 // the batch goes on
		}
		if r.batchEnd == 0 {
			r.batchEnd = t.Now
		}
		if again := r.batchEnd + int64(r.spec.Pause); t.Now < again {
			r.held = "waiting between two batches"
			return nil, again
		}
		r.batchEnd, r.started = 0, 0
	}
	places := at.Waiting
	if t.InTurn != nil {
		places = t.InTurn(places)
	}
	asks := 0 // those that start once they have their permits
	for _, place := range places {
		if place >= last {
			continue
		}
		if at.Open+len(start)+asks >= window || at.canaryOpen == 0 && r.spec.Pause > 0 && r.started+asks >= window {
			break
		}
		if !r.fits(at, place) {
			continue
		}
		answer := Yes
		if t.Ask != nil {
			answer = t.Ask(place)
		}
		switch answer {
		case No:
			continue
		case Asked:
			asks++
		case Yes:
			start = append(start, place)
			if at.canaryOpen == 0 {
				r.started++
			}
		}
		for label, values := range r.values {
			at.busy[label][values[place]]++
		}
	}
	return start, 0
}

// fits reports whether one more may run among the minions that share the values
// of the task at a place.
func (r *Rollout) fits(at *Front, place int) bool {
	for label, most := range r.spec.MaxPer {
		if at.busy[label][r.values[label][place]] >= most {
			return false
		}
	}
	return true
}

// canaryWords returns "1 canary" or "2 canaries".
func canaryWords(n int) string {
	if n == 1 {
		return "1 canary"
	}
	return fmt.Sprintf("%d canaries", n)
}
