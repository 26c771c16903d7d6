package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
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
	// version is that of the roles by which it was read.
	version uint64
}

// isBounded reports whether anything bounds what the fire may start.
func (f *fire) isBounded() bool { return len(f.bounds)+len(f.e.bounds()) > 0 }

// holds returns what bounds the fire, which is bounded, by the roles as they are now. It is
// read once for a job and a version of roles, but for what fires are bounded by themselves.
func (c *chooser) holds(f *fire) *held {
	version, of := c.version(), f.e.Optional
	if c.heldVersion != version || len(c.held) > mostHeld {
		c.held, c.heldVersion = map[*plan.Optional]*held{}, version
	}
	own := len(f.bounds) > 0
	h := c.held[of]
	if own {
		h = f.held
	}
	if h != nil && h.version == version {
		return h
	}
	h = &held{version: version}
	bounds := slices.Concat(f.e.bounds(), f.bounds)
	if c.roles != nil {
		bounds = c.roles.Now(bounds, f.e.key.Namespace)
	}
	if h.bounds, h.err = command.ReadBounds(bounds); h.err == nil {
		h.targets = h.bounds.Targets()
	}
	if own {
		f.held = h
	} else {
		c.held[of] = h
	}
	return h
}

// mostHeld bounds the jobs of which is remembered what bounds them: some have been edited
// since, or are gone.
const mostHeld = 10_000

// version is that of the roles; 0: they are not known yet.
func (c *chooser) version() uint64 {
	if c.roles == nil {
		return 1
	}
	return c.roles.Version()
}

// within returns a target that admits no minion which the fire may not be started on.
func (c *chooser) within(f *fire, t job.Target) job.Target {
	if !f.isBounded() {
		return t
	}
	return command.Narrowed(t, c.holds(f).targets)
}

// scriptHeld is what bounds the script of the library that a step runs.
type scriptHeld struct {
	step   int
	name   string
	bounds *command.Bounds
}

// admitting returns the target expression that admits the minions on which an order may be
// started, empty: all; or why it may be on none.
func (c *chooser) admitting(f *fire, o *job.Order, scripts []scriptHeld) (string, error) {
	var parts []string
	if f.isBounded() {
		h := c.holds(f)
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
	if s.choice.version() == 0 {
		if now < f.due()+int64(s.cfg.MaxMessageExpired) {
			s.reconcileAt(f, now+int64(rematchEvery))
		} else {
			s.finish(f, t, now, job.StateRejected, "what the job may start is not known: this node has not read the roles yet")
		}
		return false
	}
	targets, err := s.choice.admitting(f, o, scripts)
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
