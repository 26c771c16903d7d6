package scheduler

import (
	"cmp"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// onReports takes what minions, or the way to them, say about tasks.
func (s *shard) onReports(reports []job.Report) {
	if !s.synced || !s.own.Held() {
		return // whoever knows the open fires will be told again
	}
	s.reports = append(s.reports, reports)
}

// takeReports takes as many of the reports that wait as one turn of the shard has
// time for.
func (s *shard) takeReports() {
	for left := turnWork; left > 0 && len(s.reports) > 0; {
		batch := s.reports[0]
		n := min(left, len(batch))
		for i := range batch[:n] {
			s.onReport(&batch[i])
		}
		left -= n
		if n < len(batch) {
			s.reports[0] = batch[n:]
			return
		}
		s.reports = s.reports[1:]
	}
}

func (s *shard) onReport(r *job.Report) {
	f := s.fireOf(r.Task.Fire)
	if f == nil || f.ended() {
		if f == nil && (r.Known && r.State.Final() && r.Spooled || r.Returned) {
			s.late.take(r)
		}
		return
	}
	t := f.find(r.Task)
	r = f.inOrder(r)
	switch {
	case f.phase == phase.FireOrphaned: // comes again
	case t == nil:
		// An attempt that a later one has replaced.
		if r.State.Final() && r.Spooled {
			s.deps.Minions.Ack([]job.TaskID{r.Task})
		}
	case t.final():
	case !s.isOurs(f, t, r):
		s.onForeign(f, t, r)
	case t.phase.AtMinion() && !r.Spooled && (r.State == job.StateDeliveryTimeout || r.State == job.StateDropped):
		// A second copy of the order, lost on its way: the first one runs.
	case t.phase.AtMinion() && !r.Known && r.State == job.StateRejected:
		// A copy of the order that was refused, which says nothing of the task.
	case t.phase.AtMinion() && !r.Returned && !r.Spooled && (!r.Known || r.State == job.StateIndeterminate) && !s.isAnswer(t, r):
		s.askAnew(f, t)
	case t.phase == phase.Sent && !r.Returned && !r.Known && r.State != job.StateRejected && !untold(r) && !s.isAnswer(t, r):
		// It may have been said before our order came, and be a second copy.
		s.askAnew(f, t)
	case r.Returned, !r.Known && t.hasReturned(r):
		s.onReturned(f, t)
	case !r.Known:
		s.onUnknown(f, t, r)
	case !r.State.Final():
		s.onHeld(f, t, r)
	default:
		if r.Spooled || r.State.Started() {
			f.doubtful = false
		}
		s.settle(f, t, r)
	}
}

// onHeld handles a minion's word that it has a task, and may have started it.
func (s *shard) onHeld(f *fire, t *task, r *job.Report) {
	now := s.deps.now()
	if !t.phase.AtMinion() {
		t.asked = 0
	}
	f.doubtful, t.question, t.heldBy = false, 0, r.Instance
	if r.Item != nil {
		t.item = r.Item
	}
	switch {
	case t.phase == phase.Running:
	case !r.StartedAt.IsZero():
		s.become(t, phase.Running)
		t.started = r.StartedAt
	default:
		s.become(t, phase.Held)
		t.heardAt, t.checkAt = now, now+t.heldPause()
		if t.started.IsZero() && !t.minion.IsQueue() {
			t.started = instant(now)
		}
	}
	if s.giveUpRevoked(f, t, now) { // said by way of a peer, and told before it came
		return
	}
	if spec, err := s.spec(f); err == nil {
		s.reconcileAt(f, t.lookAt(spec))
	}
}

// hasReturned reports whether a minion's word that it has never accepted a task
// means that it has given it back, and that the word of that was lost (I31).
func (t *task) hasReturned(r *job.Report) bool {
	return t.phase == phase.Held && r.Instance != "" && r.Instance == t.heldBy
}

// isOurs reports whether what a report says holds for this owner (I24). What a
// minion has done, or keeps on its disk, is so whoever asks. That it has not
// accepted a task, or that an order did not arrive, is so only if it was said to
// this owner: an order of an earlier one may have come after it was said to that.
func (s *shard) isOurs(f *fire, t *task, r *job.Report) bool {
	if !t.inherited || r.Spooled {
		return true
	}
	if r.Known {
		switch r.State {
		case job.StateDeliveryTimeout, job.StateDropped, job.StateIndeterminate, job.StateRejected:
		default:
			return true
		}
	} else if untold(r) && f.rules != nil && s.turns == nil {
		return true // what waits in a rollout must not end with each of its owners
	}
	return r.Token == s.own.Token() && r.Term == s.term || s.isAnswer(t, r)
}

// untold reports whether a report comes from an earlier release, which did not
// tell whom it answers.
func untold(r *job.Report) bool { return r.Token == (job.Token{}) && r.Term == 0 }

// onForeign handles an answer that may be to an earlier owner's question. Nothing
// is concluded from it. But a minion of an earlier release tells of no answer to
// whose question it is: what it says that it has not accepted is ordered again
// under our token, there and as the same attempt, so that it runs once whatever
// it had accepted, and what it says then is its word on our order.
//
// A task that its minion had, by its word, and has given back under an earlier
// owner's order is one again of which nothing is known: it is asked about at once.
func (s *shard) onForeign(f *fire, t *task, r *job.Report) {
	now := s.deps.now()
	if r.Returned && t.phase.AtMinion() {
		s.letGo(t, phase.Unknown)
		t.checkAt, t.asked, t.answerBy = 0, 0, 0
		s.reconcileAt(f, now)
		return
	}
	switch {
	case r.Known, !untold(r), t.phase != phase.Unknown, f.rules != nil, f.e.Gone, f.phase.IsEnding(), now < f.due(),
		s.isMisfire(f, t, now), t.sentAt != 0 && now > t.notAfter:
		return
	}
	if s.isOrdered() && s.admission.First() != s.asker(f) || !s.passGroup(f) {
		return // whether an older one runs is asked as well
	}
	if spec, err := s.spec(f); err == nil {
		s.dispatch(f, t, spec, now)
	}
}

// inOrder returns a report whose times are not before its order was sent: what is
// left of the difference between the clocks.
func (f *fire) inOrder(r *job.Report) *job.Report {
	sent := instant(f.dispatchedAt)
	if f.recovered || f.dispatchedAt == 0 || r.StartedAt.IsZero() || !r.StartedAt.Before(sent) {
		return r
	}
	out := *r
	out.StartedAt = sent
	if !out.EndedAt.IsZero() && out.EndedAt.Before(sent) {
		out.EndedAt = sent
	}
	return &out
}

// The pause before a task is ordered again that its minion has returned or has not
// taken: none the first time, then longer each time. It comes back again and again
// from a minion that gets no order in the time of a lease, or that has seen a
// higher token of the shard.
const (
	returnPause    = 50 * time.Millisecond
	returnPauseMax = time.Second
)

// onReturned handles a minion's word that it has not started a task, and will not,
// though it may have accepted it (I20).
func (s *shard) onReturned(f *fire, t *task) {
	if t.phase.AtMinion() {
		s.letGo(t, phase.Waiting)
	}
	if t.phase == phase.Unknown || t.sentAt == 0 {
		s.onUnknown(f, t, &job.Report{}) // it was an earlier owner's order
		return
	}
	s.orderAgain(f, t)
}

// letGo forgets that a task's minion has it.
func (s *shard) letGo(t *task, next phase.Task) {
	s.become(t, next)
	t.started, t.heldBy, t.heardAt, t.question = time.Time{}, "", 0, 0
}

// orderAgain has the same order, which was not started, sent once more, after a
// pause. One that has waited at its minion for longer than the grace is a misfire:
// it is too late now. The time that it waited for its turn before does not count.
func (s *shard) orderAgain(f *fire, t *task) {
	now := s.deps.now()
	if s.isMisfire(f, t, now) && f.dispatchedAt < now-int64(s.cfg.MisfireGrace) {
		s.miss(f, t, now)
		return
	}
	s.become(t, phase.Waiting)
	t.sentAt, t.question = 0, 0
	t.notBefore = now + int64(min(time.Duration(t.returned)*returnPause, returnPauseMax))
	t.returned++
	s.reconcileAt(f, t.notBefore)
}

// isAnswer reports whether a report answers the question that a task was asked
// about anew with.
func (s *shard) isAnswer(t *task, r *job.Report) bool {
	return t.question != 0 && r.Token == s.own.Token() && r.Term == t.question
}

// askAnew has a minion asked, under a number that no earlier question had, about a
// task that it has, by its word, or that was ordered there, and of which it, or the way
// to it, now says that it has not, or that nobody knows. That may have been said before,
// or of another copy of the order, and have been overtaken on its way: from a node to
// another, or when the minion went to another. Only the answer to this question was
// said after.
func (s *shard) askAnew(f *fire, t *task) {
	if t.question == 0 {
		t.question, t.checkAt, t.asked = s.nextTerm(), 0, 0
	}
	s.reconcileAt(f, s.deps.now())
}

// onUnknown handles a minion's word that it never accepted a task, and why, if it
// has refused the order.
func (s *shard) onUnknown(f *fire, t *task, r *job.Report) {
	now := s.deps.now()
	if t.phase.AtMinion() {
		// It had accepted it: its journal is gone, and with it the truth.
		s.finish(f, t, now, job.StateIndeterminate, "minion "+string(t.minion)+" has lost its journal")
		return
	}
	if t.phase == phase.Sent {
		if now > t.notAfter {
			reason := "minion " + string(t.minion) + " never accepted the order"
			if r.Reason != "" {
				reason += ": " + r.Reason
			}
			s.finish(f, t, now, job.StateDeliveryTimeout, reason)
			return
		}
		s.orderAgain(f, t) // lost on its way, or its token is not good there
		return
	}
	if t.phase == phase.Unknown && t.sentAt != 0 {
		s.become(t, phase.Sent) // it was ordered anew meanwhile
	} else {
		s.become(t, phase.Waiting)
	}
	s.unadmit(f)
	if s.isMisfire(f, t, now) {
		s.miss(f, t, now)
		return
	}
	s.reconcileAt(f, now)
}

// isTooLate reports whether it is too late to begin the fire.
func (s *shard) isTooLate(f *fire, now int64) bool {
	return f.id.Trigger == job.TriggerSchedule && f.due() < now-int64(s.cfg.MisfireGrace) && f.e.misfire == job.MisfireSkip
}

// isMisfire reports whether a task that was not started is not to be started any more,
// since it is too late. What is tried again was in time, and a rollout goes on.
func (s *shard) isMisfire(f *fire, t *task, now int64) bool {
	return f.rules == nil && t.attempt == 1 && s.isTooLate(f, now)
}

// miss ends a task that was not started in time.
func (s *shard) miss(f *fire, t *task, now int64) {
	s.finish(f, t, now, job.StateMissed, "committed in time but not started within "+s.cfg.MisfireGrace.String()+" of its instant; misfire policy \"skip\"")
}

// runOf builds the record of a fire.
func (s *shard) runOf(f *fire, state job.State, reason string) job.Run {
	run := job.Run{
		RunID: f.runID(), FireID: f.id, Namespace: f.e.key.Namespace, Job: f.e.key.Name,
		Trigger: f.id.Trigger.String(), State: state, Reason: reason, Attempt: 0,
		Cause: f.cause, Subject: f.subject, Author: cmp.Or(f.author, f.e.appliedBy()), Params: job.MaskedParams(f.params, f.sensitive), Sensitive: job.SensitiveNames(f.sensitive), Redo: f.redo, Alerts: f.alerts,
		Node: f.slot.node, Share: f.share, Shard: s.id, Token: s.own.Token(),
		ScheduledAt: f.id.Time(), CommittedAt: instant(f.committedAt), DispatchedAt: instant(f.dispatchedAt),
		Count: int(max(f.count, 1)), Tasks: make([]job.Task, 0, len(f.tasks)), Attempts: f.attempts, AttemptsLeftOut: f.leftOut,
	}
	if f.count > 1 {
		run.Until = instant(f.until)
	}
	for _, t := range f.tasks {
		if t.minion == "" {
			continue
		}
		run.Attempt = max(run.Attempt, t.attempt)
		switch {
		case t.report != nil:
			run.Tasks = append(run.Tasks, taskRecord(t.report))
		case t.awaitsWorker():
			run.Tasks = append(run.Tasks, job.Task{Minion: t.minion, Attempt: t.attempt, State: job.StatePending, Reason: awaitsWorker, Item: t.item})
		case t.phase.AtMinion():
			run.Tasks = append(run.Tasks, job.Task{Minion: t.minion, Attempt: t.attempt, State: job.StateRunning, StartedAt: t.started, Item: t.item})
		default:
			run.Tasks = append(run.Tasks, job.Task{Minion: t.minion, Attempt: t.attempt, State: job.StatePending})
		}
		run.Tasks[len(run.Tasks)-1].Share = t.share
	}
	spanOf(&run)
	if state.Final() && run.EndedAt.IsZero() && len(run.Tasks) > 0 {
		run.EndedAt = instant(s.deps.now())
	}
	return run
}

// spanOf sets a run's start and end from its tasks'.
func spanOf(run *job.Run) {
	for _, t := range run.Tasks {
		if !t.StartedAt.IsZero() && (run.StartedAt.IsZero() || t.StartedAt.Before(run.StartedAt)) {
			run.StartedAt = t.StartedAt
		}
		if run.State.Final() && t.EndedAt.After(run.EndedAt) {
			run.EndedAt = t.EndedAt
		}
	}
}

func taskRecord(r *job.Report) job.Task {
	return job.Task{
		Minion: r.Task.Minion, Attempt: r.Task.Attempt, State: r.State, Reason: r.Reason,
		StartedAt: r.StartedAt, EndedAt: r.EndedAt, Exit: r.Exit, Stdout: r.Stdout, Stderr: r.Stderr, Steps: r.Steps, Item: r.Item,
	}
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
