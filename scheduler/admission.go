package scheduler

import (
	"context"
	"slices"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/admit"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// What lets a task start is decided in package admit. Here is what the shard is to it,
// and when it is told what has become of a fire.

// newAdmission returns what the shard asks before it starts a task.
func (s *shard) newAdmission(book admit.Book) *admit.Admission {
	return admit.New(&admit.Owner{
		Shard: s.id, Token: s.own,
		AskAgain: func(r *admit.Run, at int64) { s.reconcileAt(fireFor(r), at) },
		Ended:    func(r *admit.Run) bool { return fireFor(r).ended() },
		Open:     s.openRuns, Capped: s.openCapped, StoreLock: s.storeLock, Fail: s.fail,
		Now: s.deps.now, Do: s.do,
		Go:    func(fn func(context.Context)) { s.spawn(fn) },
		Spare: func(fn func(context.Context)) bool { return s.deps.bestEffort.do(fn) },
	}, &admit.Deps{Client: s.deps.Client, Keys: s.cfg.Keys, Caps: s.deps.Cluster.Caps, Logger: s.log, Book: book})
}

// fireFor returns the fire that a run is of.
func fireFor(r *admit.Run) *fire { return r.Of.(*fire) } // only asker makes runs

// asker returns the fire as it asks for leave to start. Only those of groups, and those
// that need permits, have to.
func (s *shard) asker(f *fire) *admit.Run {
	if f.asks == nil {
		f.asks = &admit.Run{ID: f.id, Job: f.e.key, Seq: f.seq(), Of: f}
	}
	return f.asks
}

// capped reports whether the fire's tasks need permits.
func (f *fire) capped() bool { return f.rules != nil && len(f.rules.ClusterMaxPer) > 0 }

func (f *fire) holder(t *task) admit.Holder {
	return admit.Holder{Fire: f.taskID(t).Fire, Minion: t.minion}
}

// cappedTask is a task that needs permits, at a place of its fire's; below 0: it is to
// be looked for. The fire has a rollout.
type cappedTask struct {
	f     *fire
	t     *task
	place int
}

func (c cappedTask) Holder() admit.Holder { return c.f.holder(c.t) }

func (c cappedTask) Bounds() map[cluster.Cap]int {
	place := c.place
	if place < 0 {
		if place = slices.Index(c.f.tasks, c.t); place < 0 {
			return nil // another attempt is in its place
		}
	}
	return c.f.rollout.Bounds(place)
}

func (c cappedTask) Over() bool { return c.f.ended() || c.t.final() }

// group returns the shard's group; nil: it is that of none, or of one that is deleted.
func (s *shard) group() *cluster.Group {
	if s.turns == nil {
		return nil
	}
	return s.turns.group()
}

// isOrdered reports whether the shard is that of an ordered group.
func (s *shard) isOrdered() bool {
	g := s.group()
	return g != nil && g.Spec.Ordered
}

// mayStart asks whether a task may be sent. It is the last question before an order is
// made.
func (s *shard) mayStart(f *fire, t *task, now int64) bool {
	g := s.group()
	if g == nil && !f.capped() {
		return true
	}
	var asks admit.Task
	if f.capped() {
		asks = cappedTask{f, t, -1}
	}
	return s.admission.Ask(s.asker(f), asks, g, now) == admit.Yes
}

// passGroup reports whether the fire may start now as far as its group goes. When it
// may not, it is looked at again when it may be otherwise.
func (s *shard) passGroup(f *fire) bool {
	g := s.group()
	return g == nil || s.admission.Pass(s.asker(f), g)
}

// joinGate puts a committed fire in the group's line.
func (s *shard) joinGate(f *fire) {
	if state := f.entryState(); s.turns != nil && (state == etcdkv.EntryOpen || state == etcdkv.EntryQueued) {
		s.admission.Join(s.asker(f))
	}
}

// leaveGate lets the next fire in, once one is in history.
func (s *shard) leaveGate(f *fire) {
	if s.turns == nil {
		return
	}
	s.admission.Leave(s.asker(f))
	s.openGate(s.deps.now())
}

// openGate has the fire looked at that may be next.
func (s *shard) openGate(now int64) {
	r := s.admission.Next()
	if r == nil {
		return
	}
	switch next := fireFor(r); next.phase {
	case phase.FireEnded:
	case phase.FireHeldBack:
		s.nextInQueue(next.queue())
	case phase.FireDue, phase.FireStarted, phase.FireEnding, phase.FireDropped, phase.FireSkipped, phase.FireMissed, phase.FireOrphaned:
		s.reconcileAt(next, now)
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
	s.admission.Unadmit(s.asker(f))
	s.openGate(s.deps.now())
}

// giveBack gives a task's permits back: it has ended, or cannot start now.
func (s *shard) giveBack(f *fire, t *task) {
	if f.capped() {
		s.admission.GiveBack(f.holder(t))
	}
}

// endAdmission gives back all that an ended fire has, but for its place at the gate.
func (s *shard) endAdmission(f *fire) {
	if f.asks == nil && !f.capped() {
		return
	}
	var has []admit.Holder
	if f.capped() {
		has = make([]admit.Holder, len(f.tasks))
		for i, t := range f.tasks {
			has[i] = f.holder(t)
		}
	}
	s.admission.End(s.asker(f), has)
}

// openRuns returns the ids of the shard's open runs.
func (s *shard) openRuns() map[job.RunID]bool {
	open := make(map[job.RunID]bool, len(s.fires))
	for _, f := range s.fires {
		if !f.ended() {
			open[f.runID()] = true
		}
	}
	return open
}

// openCapped returns the tasks that have not ended and need permits, and has their
// fires looked at.
func (s *shard) openCapped() map[admit.Holder]struct{} {
	open := map[admit.Holder]struct{}{}
	now := s.deps.now()
	for _, f := range s.fires {
		if f.ended() || !f.capped() {
			continue
		}
		for _, t := range f.tasks {
			if !t.final() {
				open[f.holder(t)] = struct{}{}
			}
		}
		s.reconcileAt(f, max(now, f.due()))
	}
	return open
}

// storeLock has the next commit store the group's lock; then, unless nil, is called.
func (s *shard) storeLock(name string, lease int64, then func()) {
	s.state.Mutex, s.state.MutexLease, s.ringDirty = name, lease, true
	if then != nil {
		s.afterState = append(s.afterState, then)
	}
}

// lockState copies what of the state belongs to the lock: it may change while a
// commit is under way.
func lockState(to *etcdkv.ShardState, from *etcdkv.ShardState) {
	to.Ring, to.Mutex, to.MutexLease, to.Failures = from.Ring, from.Mutex, from.MutexLease, from.Failures
}

// fail ends the shard because of a write that failed.
func (s *shard) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// wakeForCaps wakes the shards that wait for room under a cap, when caps have
// changed.
func (m *membership) wakeForCaps() {
	now := m.e.deps.Cluster.Caps()
	if m.capsSeen == now {
		return
	}
	m.capsSeen = now
	m.e.mu.RLock()
	defer m.e.mu.RUnlock()
	for _, s := range m.e.shards {
		if s.admission.Used() {
			s.do(s.admission.CapsChanged)
		}
	}
}
