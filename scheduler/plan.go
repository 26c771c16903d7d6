package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
	"github.com/carillon-cron/carillon/scheduler/plan"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// Bounds of one commit. What does not fit goes into the next one, which follows
// at once.
const (
	// maxTasks bounds the tasks that a slot is begun with: a fire on all minions
	// of a large cluster fits, and many such fires take several slots.
	maxTasks = 100_000
	// maxInstants bounds the instants looked at for one job in one plan.
	maxInstants = 10_000
	// maxMissedRecords is how many missed occurrences of a job are recorded one
	// by one; a longer row becomes one record, and so does any row when the node
	// has, or had just now, more to do than it can.
	maxMissedRecords = 100
)

// batch is what one plan decided on, for one slot.
type batch struct {
	fires []*fire
	// tasks counts those of the fires.
	tasks int
	// triggers are the keys of the triggers that became fires.
	triggers []string
	// backfills are those that go on in this commit, backfillsBefore what they were.
	backfills       []*backfilled
	backfillsBefore []backfilled
	// before are the entries that are planned, taken the triggers, as they were, and
	// plannedBefore how far the shard was planned: see unplan.
	before        []planned
	taken         map[string]arrived
	plannedBefore int64
	// cursor: everything at or before it is planned.
	cursor int64
	// round is the group's say in it; nil for hash shards.
	round *round
}

// turnFires is how many fires a hash shard plans at a time: about a millisecond's
// work, so that other shards have the processor, and what has become due meanwhile
// has its turn in the next commit, which follows at once.
const turnFires = 256

// full reports whether what else is due goes into the next commit.
func (s *shard) full(b *batch) bool {
	most := s.cfg.SlotFires
	if s.turns == nil {
		most = min(most, turnFires)
	}
	return len(b.fires) >= most || b.tasks >= maxTasks
}

// plan takes what is due up to the look-ahead from the timers and decides what
// becomes of it. It returns nil when nothing is due.
func (s *shard) plan(now int64) *batch {
	horizon := max(now+int64(s.cfg.LookAhead), s.planned)
	b := &batch{round: s.round(), plannedBefore: s.planned}
	deadline := now - int64(s.cfg.MisfireGrace)
	s.look.Steps = 0
	for !s.full(b) && s.look.Steps < plan.MaxSteps && !s.isFull(now) {
		e, at, ok := s.nextDue(horizon, deadline)
		if !ok {
			break
		}
		if s.ahead.awaitsPast(e, at) {
			break
		}
		until, skip, mine := b.round.until(s.cfg.Node, at, horizon, deadline)
		if !mine {
			break
		}
		n := len(b.fires)
		s.planEntry(b, e, until, horizon, now, skip)
		s.takeUp(b.fires[n:]...)
	}
	n := len(b.fires)
	s.planTriggers(b, now)
	s.planBackfills(b, now)
	s.takeUp(b.fires[n:]...)
	s.cut = s.full(b)
	b.cursor = horizon
	if _, at, ok := s.timers.Top(); ok {
		b.cursor = min(horizon, at-1)
	}
	if len(s.moved) > 0 {
		b.cursor = s.moved.upTo(b.cursor)
	}
	s.planned = max(s.planned, b.cursor)
	if len(b.fires) == 0 && len(b.triggers) == 0 && len(b.backfills) == 0 {
		return nil
	}
	return b
}

// nextDue returns the entry that is planned next, if any is due. Hash shards take
// turns (I23), while nothing is so late that it is missed: then the oldest comes
// first, so that all miss alike. A group goes by its instants.
func (s *shard) nextDue(horizon, deadline int64) (*entry, int64, bool) {
	e, at, ok := s.timers.Top()
	if !ok || at > horizon {
		return nil, never, false
	}
	if s.turns != nil {
		return e, at, true
	}
	return s.timers.Turn(horizon, at >= deadline)
}

// planTriggers turns triggers into fires.
func (s *shard) planTriggers(b *batch, now int64) {
	s.triggers.fresh = false
	all := map[job.UID]*joined{}
	for key, a := range s.triggers.all {
		if s.full(b) || len(b.triggers) >= maxTriggers {
			s.triggers.fresh = true
			break
		}
		if !s.join(all, key, &a.Trigger) {
			s.planTrigger(b, key, a.Trigger, now)
		}
	}
	s.planJoined(b, all, now)
}

// planEntry plans the entry's instants up to until and sets its next one. The
// horizon is as far as anything is planned now. skip, unless empty, is why its
// occurrences are not run.
func (s *shard) planEntry(b *batch, e *entry, until, horizon, now int64, skip string) {
	instants := s.instants[:0]
	var unknown map[int64]string // why it is not known whether it ran before
	at, cost := e.timer.Next, e.Cost(&s.look)
	before := planned{e: e, next: e.timer.Next, done: e.done}
	for n := 0; at <= until && n < maxInstants && s.look.Steps < plan.MaxSteps; n++ {
		s.look.Steps += cost
		was, why := s.ahead.committedBefore(e, at, s.fires)
		if !was {
			instants = append(instants, at)
		}
		if why != "" {
			if unknown == nil {
				unknown = map[int64]string{}
			}
			unknown[at] = why
		}
		if at > e.done && e.done != 0 {
			e.timer.Period = at - e.done
		}
		e.done = at
		at = s.nextAfter(e, at)
	}
	b.before = append(b.before, before)
	s.setNext(e, at)
	s.instants = instants
	grace := now - int64(s.cfg.MisfireGrace)
	if len(instants) == 1 && instants[0] >= grace && skip == "" && unknown == nil && s.whyClosed(e, instants[0]) == "" {
		// Most plans are of one instant that is neither late nor closed.
		s.planOccurrence(b, &fire{id: job.FireID{Job: e.uid, At: instants[0], Trigger: job.TriggerSchedule}, e: e}, now)
		return
	}
	closed := func(at int64) string {
		switch {
		case skip != "":
			return skip
		case unknown[at] != "":
			return unknown[at]
		}
		return s.whyClosed(e, at)
	}
	r := plan.Rules{
		Misfire: e.misfire, Deadline: grace, Now: now, Horizon: horizon, Closed: closed,
		Following: func(before int64, limit int) int {
			return e.Open(&s.look, at, min(before, horizon+1), limit, maxInstants, 2*plan.MaxSteps, closed)
		},
	}
	if len(instants) > 1 {
		r.Pace = int64(s.pace(e))
	}
	if e.Optional != nil && e.Optional.CatchUp > 0 {
		r.Oldest = now - int64(e.Optional.CatchUp)
	}
	var missed []int64
	decided := plan.Decide(instants, &r)
	for i := range decided {
		if decided[i].Fate == plan.Missed {
			missed = append(missed, decided[i].At)
		}
	}
	s.planMissed(b, e, missed, now)
	for i := range decided {
		d := &decided[i]
		if d.Fate == plan.Missed {
			continue
		}
		f := &fire{id: job.FireID{Job: e.uid, At: d.At, Trigger: job.TriggerSchedule}, e: e, notBefore: d.NotBefore}
		if d.Fate == plan.Run {
			s.planOccurrence(b, f, now)
		} else {
			s.planSkip(b, f, d.Why)
		}
	}
}

// whyClosed returns why a job does not run at an instant: a pause, or what closes it
// by itself; empty: it does.
func (s *shard) whyClosed(e *entry, at int64) string {
	if why := s.pausedAt(e, at); why != "" {
		return why
	}
	return e.Closed(&s.look, at)
}

// planSkip records an occurrence as skipped.
func (s *shard) planSkip(b *batch, f *fire, why string) {
	s.proceed(f, phase.FireSkipped)
	f.count, f.reason = 1, why
	b.round.used(f)
	b.fires = append(b.fires, f)
}

// planOccurrence makes a fire of an occurrence, or one for each node's share.
func (s *shard) planOccurrence(b *batch, f *fire, now int64) {
	nodes, shared := b.round.shares()
	switch {
	case !shared:
		s.planFire(b, f, now)
	case len(nodes) == 0:
		s.planSkip(b, f, "no node that has a share in the group is alive")
	case b.round.g.Spec.Start == job.StartSync:
		for _, n := range nodes {
			f.tasks = append(f.tasks, &task{attempt: 1, share: n, notBefore: f.notBefore})
		}
		s.planFire(b, f, now)
	default:
		for _, n := range nodes {
			part := *f
			part.id.Share, part.share = job.ShareOf(n), n
			s.planFire(b, &part, now)
		}
	}
}

// planMissed records instants that the misfire policy does not run.
func (s *shard) planMissed(b *batch, e *entry, missed []int64, now int64) {
	if len(missed) == 0 {
		return
	}
	add := func(first, last int64, n int) {
		late := time.Duration(now - first).Round(time.Millisecond)
		b.fires = append(b.fires, &fire{
			id: job.FireID{Job: e.uid, At: first, Trigger: job.TriggerSchedule}, e: e, phase: phase.FireMissed,
			reason: fmt.Sprintf("nobody could start it within %v of its instant (noticed %v late); misfire policy %q",
				s.cfg.MisfireGrace, late, e.misfire),
			count: int64(n), until: last,
		})
		s.met.alerts.WithLabelValues(alertMissed).Add(float64(n))
	}
	if len(missed) > maxMissedRecords || s.nodeLoad.WasFull(now, s.cfg.MisfireGrace) {
		add(missed[0], missed[len(missed)-1], len(missed))
		return
	}
	for _, t := range missed {
		add(t, t, 1)
	}
}

// planFire commits one occurrence to be run. The overlap policy is asked now if
// its start has come already, else when it comes (passOverlap), and in an ordered
// group once it stands in line.
func (s *shard) planFire(b *batch, f *fire, now int64) {
	f.count = 1
	b.fires = append(b.fires, f)
	b.round.used(f)
	l := f.queue()
	if f.due() <= now && !s.isOrdered() {
		switch what, why := s.admit(f); what {
		case plan.HeldBack:
			s.proceed(f, phase.FireHeldBack)
			l.wait(f)
			b.tasks += len(f.hosts) // they are stored, too
			return
		case plan.TurnedAway:
			s.proceed(f, phase.FireSkipped)
			f.reason, f.crowded = why, true
			return
		case plan.Admitted:
			s.letRun(f)
		}
	}
	l.open++
	s.assign(f, now)
	b.tasks += len(f.tasks)
}

// planTrigger turns a trigger into a fire.
func (s *shard) planTrigger(b *batch, key string, t etcdkv.Trigger, now int64) {
	e := s.jobs[t.Key]
	if m := s.moved[t.Fire.Job]; m != nil {
		if m.record == "" {
			s.triggers.fresh = true
			return // whether it is deleted or moved is being asked
		}
		e = m.e
		if m.deleted {
			e = nil
		} else if t.From != (job.Key{}) && key == s.cfg.Keys.JoinedTrigger(s.id, m.e.uid, t.From) {
			s.triggers.take(b, key)
			s.planSkip(b, &fire{id: t.Fire, e: e, cause: causeOf(&t)}, "the job was moved to another group while it waited for the others")
			return
		}
	}
	if (e == nil || e.uid != t.Fire.Job) && s.triggers.awaitsJob(key, s.jobsRev, now) {
		s.triggers.fresh = true
		return
	}
	s.triggers.take(b, key)
	if s.fireOf(t.Fire) != nil || s.sharesOpen(t.Fire) {
		return // committed already; only the deletion of its key was lost
	}
	f := &fire{id: t.Fire, e: e, cause: causeOf(&t), params: t.Params, sensitive: t.Sensitive, bounds: t.Bounds, subject: t.Subject, after: t.After, redo: t.Redo, hosts: t.Hosts}
	if e == nil || e.uid != t.Fire.Job {
		f.e = &entry{key: t.Key, uid: t.Fire.Job, Timing: plan.Timing{Gone: true}, timer: timers.Timer[*entry]{Next: never}}
		s.proceed(f, phase.FireSkipped)
		f.count, f.reason = 1, "the job was deleted before its start"
		b.fires = append(b.fires, f)
		return
	}
	if t.Fire.Trigger.Conditional() {
		if why := s.pausedAt(e, t.Fire.At); why != "" {
			s.planSkip(b, f, why)
			return
		}
	}
	s.planOccurrence(b, f, now)
}

// causeOf tells people who asked for a start.
func causeOf(t *etcdkv.Trigger) string {
	switch {
	case t.Cause != "":
		return t.Cause
	case t.By != "":
		return "started by " + t.By
	}
	return ""
}

// sharesOpen reports whether shares of an occurrence are open.
func (s *shard) sharesOpen(id job.FireID) bool {
	if s.turns == nil {
		return false
	}
	for o := range s.fires {
		if o.Job == id.Job && o.At == id.At && o.Trigger == id.Trigger {
			return true
		}
	}
	return false
}

// maxTriggers keeps a commit under etcd's limit of 128 operations.
const maxTriggers = 32

// assign chooses the fire's minions. With none at hand the fire is committed
// without: the choice is then made, and written, before anything is sent.
func (s *shard) assign(f *fire, now int64) {
	if len(f.tasks) == 0 {
		f.tasks = []*task{{attempt: 1, notBefore: f.notBefore}}
	}
	spec, err := s.specs.of(f.e)
	if err == nil && s.share(f, spec) {
		return
	}
	f.giveUp = max(now, f.due()) + int64(s.cfg.MaxMessageExpired)
}

// share gives each task of a fire that has no minion yet its minions: every
// share has the target for itself. It reports whether any were found.
func (s *shard) share(f *fire, spec *job.Spec) bool {
	var out []*task
	ready, away := s.choice.reach(f, spec.Target)
	for i, t := range f.tasks {
		found := ready
		if len(f.hosts) == 0 {
			found = s.choice.pick(f, ready, spec.Target, t.attempt+i)
		}
		if len(f.tasks) == 1 && len(found) == 1 && t.minion == "" {
			t.minion, out = found[0], f.tasks // as most are
			break
		}
		for _, m := range found {
			out = append(out, &task{minion: m, share: t.share, attempt: t.attempt, notBefore: t.notBefore})
		}
	}
	if len(out) > 0 {
		out = append(out, s.unsendable(f, away)...)
	}
	if len(out) == 0 {
		return false
	}
	rules := spec.Rollout
	if len(out) == 1 { // what else there is to a rollout is between several
		rules = job.Rollout{ClusterMaxPer: rules.ClusterMaxPer}
	}
	if !rules.IsZero() {
		f.rules, f.canaries = &rules, s.choice.arrange(out, &rules)
		// Who names hosts, as a redo does, knows that they are no canaries.
		if rules.Canary != "" && f.canaries == 0 && len(f.hosts) == 0 {
			f.stopped = "the rollout was not begun: none of its minions is a canary, " + rules.Canary
		}
	}
	f.tasks, f.places = out, nil
	return true
}

// unsendable returns tasks, ended already, for minions that are to run the fire and
// are uncontrollable.
func (s *shard) unsendable(f *fire, away []job.Uncontrollable) []*task {
	var out []*task
	for _, u := range away {
		for _, o := range f.tasks {
			t := &task{minion: u.Minion, share: o.share, attempt: 1, phase: phase.Ended}
			t.report = s.unsent(f, t, job.StateUncontrollable, u.Reason)
			out = append(out, t)
		}
	}
	return out
}

// unsent is the report of a task that ended without an order.
func (s *shard) unsent(f *fire, t *task, state job.State, reason string) *job.Report {
	return &job.Report{Task: f.taskID(t), Shard: s.id, Known: true, State: state, Reason: reason}
}
