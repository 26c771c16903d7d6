package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
)

// Who stores a job or a script, or starts one, may be bounded: to commands, accounts and minions.
// Minions are chosen within that, and each order is looked at once more before it is
// sent: labels, scripts and parameters may be others than when it was allowed.

// held is what bounds a fire.
type held struct {
	bounds *command.Bounds
	// err says why the bounds cannot be read: then nothing is started.
	err error
	// targets admits all minions that anything may be started on; empty: all are.
	targets string
}

// isBounded reports whether anything bounds what the fire may start.
func (f *fire) isBounded() bool { return len(f.bounds)+len(f.e.bounds()) > 0 }

// holds returns what bounds the fire, which is bounded.
func (f *fire) holds() *held {
	if f.held == nil {
		h := &held{}
		if h.bounds, h.err = command.ReadBounds(slices.Concat(f.e.bounds(), f.bounds)); h.err == nil {
			h.targets = h.bounds.Targets()
		}
		f.held = h
	}
	return f.held
}

// within returns a target that admits no minion which the fire may not be started on.
func (f *fire) within(t job.Target) job.Target {
	if !f.isBounded() {
		return t
	}
	return command.Narrowed(t, f.holds().targets)
}

// scriptHeld is what bounds the script of the library that a step runs.
type scriptHeld struct {
	step   int
	name   string
	bounds *command.Bounds
}

// admitting returns the target expression that admits the minions on which an order may be
// started, empty: all; or why it may be on none.
func (f *fire) admitting(o *job.Order, scripts []scriptHeld) (string, error) {
	var parts []string
	if f.isBounded() {
		h := f.holds()
		if h.err != nil {
			return "", h.err
		}
		targets, err := h.bounds.Within(o)
		if err != nil {
			return "", err
		}
		parts = append(parts, targets)
	}
	for _, sc := range scripts {
		targets, err := sc.bounds.WithinStep(o, sc.step)
		if err != nil {
			return "", fmt.Errorf("script %s: %w", sc.name, err)
		}
		parts = append(parts, targets)
	}
	return command.And(parts...), nil
}

// admits reports whether a task's order is within what bounds its fire, and the scripts of
// its steps. If not, the task ends, or is looked at again when its minion is known.
func (s *shard) admits(f *fire, t *task, o *job.Order, scripts []scriptHeld, now int64) bool {
	targets, err := f.admitting(o, scripts)
	if err != nil {
		s.finish(f, t, now, job.StateRejected, err.Error())
		return false
	}
	if targets == "" || s.reaches(targets, t.minion) {
		return true
	}
	if !s.reaches("", t.minion) && now < f.due()+int64(s.cfg.MaxMessageExpired) {
		s.reconcileAt(f, now+int64(rematchEvery)) // what it is may be learnt yet
		return false
	}
	s.finish(f, t, now, job.StateRejected, "minion "+string(t.minion)+" is not one that this may be started on: "+targets)
	return false
}

// reaches reports whether a target expression admits a minion, be it one that takes no
// orders now.
func (s *shard) reaches(expr string, m job.MinionID) bool {
	ready, away := s.deps.Minions.Reach(job.Target{Match: expr})
	if _, ok := slices.BinarySearch(ready, m); ok {
		return true
	}
	_, ok := slices.BinarySearchFunc(away, m, func(u job.Uncontrollable, m job.MinionID) int { return strings.Compare(string(u.Minion), string(m)) })
	return ok
}
