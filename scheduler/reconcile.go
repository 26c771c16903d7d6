package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// The pace at which an owner looks after orders that it hears nothing about.
const (
	// askAfter: a task that was ordered and not accepted is asked about; askPer is
	// how much later for each thousand tasks of its fire, which take their time:
	// questions amid the orders would only hold these up.
	askAfter = 3 * time.Second
	askPer   = 200 * time.Millisecond
	// askDoublings is how often the pause until the next question about it doubles:
	// where very much waits for a minion, questions would take the time of all else.
	askDoublings = 4
	// askHeld: a task that its minion has, and has not started, is asked about: the
	// word that it was given back may have been lost. The pause doubles, up to
	// askHeldMost: much may wait at a minion.
	askHeld     = 30 * time.Second
	askHeldMost = 4 * time.Minute
	// silentAfter: this long after an order's expiry, or after a task's time-out,
	// without a word from its minion, the task is indeterminate.
	silentAfter = 15 * time.Second
	silentRun   = 2 * time.Minute
	// rematchEvery is how often minions are looked for that nobody matched yet.
	rematchEvery = 500 * time.Millisecond
)

// reconcile does what an open fire needs now, and sets when it is looked at next.
func (s *shard) reconcile(f *fire, now int64) {
	if f.phase == phase.FireOrphaned {
		s.reconcileOrphan(f, now)
		return
	}
	if now < f.due() { // I7
		s.reconcileAt(f, f.due())
		return
	}
	spec, err := s.spec(f)
	if err != nil {
		s.end(f, job.StateFailed, "the job's spec cannot be read: "+err.Error())
		return
	}
	s.watchTimes(f, spec, now)
	if !f.isOpen() {
		return
	}
	switch {
	case f.endAt == 0:
	case now >= f.endAt:
		s.cancel(f, now)
	default:
		s.reconcileAt(f, f.endAt) // whatever it was looked at for now
	}
	if f.ended() || !f.phase.IsEnding() && !s.passOverlap(f) {
		return
	}
	if f.tasks[0].minion == "" {
		s.reconcileUnassigned(f, spec, now)
		return
	}
	if f.allEnded() { // none was to be sent
		state, reason := verdict(f.tasks)
		s.end(f, state, reason)
		return
	}
	if s.roll(f, spec, now) {
		return
	}
	for _, t := range f.tasks {
		if f.ended() {
			return
		}
		if !t.final() && t.saved {
			s.reconcileTask(f, t, spec, now)
		}
	}
}

// reconcileUnassigned looks for minions for a fire that had none at its commit.
func (s *shard) reconcileUnassigned(f *fire, spec *job.Spec, now int64) {
	if f.e.Gone {
		s.end(f, job.StateCancelled, "the job was deleted before a minion was found")
		return
	}
	if !s.share(f, spec) {
		if now >= f.giveUp {
			_, away := s.choice.reach(f, spec.Target)
			if out := s.unsendable(f, away); len(out) > 0 {
				f.tasks = out
				state, reason := verdict(out)
				s.end(f, state, reason)
				return
			}
			s.end(f, job.StateUndeliverable, s.whyNone(f, spec.Target))
			return
		}
		s.reconcileAt(f, now+int64(rematchEvery))
		return
	}
	s.touch(f.slot) // I6: saved first, sent then
}

// whyNone tells why a fire has no minions.
func (s *shard) whyNone(f *fire, t job.Target) string {
	if found := s.deps.Minions.Match(s.choice.within(f, t)); len(found) > 0 {
		if t.EffectiveRun() == job.SpreadEach {
			return fmt.Sprintf("%d minions matched the target, and none of them has the label %s", len(found), t.By)
		}
		return fmt.Sprintf("%d minions matched the target, and it is to run on %d", len(found), t.Count)
	}
	if away := s.choice.away(f, t); len(away) > 0 {
		return awayWords(away)
	}
	if f.isBounded() && len(s.deps.Minions.Match(t)) > 0 {
		return "minions match the target, and none is one that this may be started on: " + s.choice.within(f, job.Target{}).Match
	}
	return job.ErrNoMinions.Error()
}

func awayWords(away []job.Uncontrollable) string {
	if len(away) == 1 {
		return fmt.Sprintf("1 minion matched the target, and takes no orders: %s: %s", away[0].Minion, away[0].Reason)
	}
	return fmt.Sprintf("%d minions matched the target, and take no orders; the first is %s: %s", len(away), away[0].Minion, away[0].Reason)
}

func (s *shard) reconcileTask(f *fire, t *task, spec *job.Spec, now int64) {
	switch t.phase {
	case phase.Held, phase.Running:
		s.reconcileRunning(f, t, spec, now)
	case phase.Unknown:
		s.reconcileUnknown(f, t, now)
	case phase.Waiting:
		if now < t.notBefore {
			s.reconcileAt(f, t.notBefore)
			return
		}
		if s.mayStart(f, t, now) {
			s.dispatch(f, t, spec, now)
		}
	case phase.Sent:
		s.reconcileSent(f, t, now)
	case phase.Ended:
	}
}

// reconcileSent asks about a task that was ordered and of which nothing is heard.
func (s *shard) reconcileSent(f *fire, t *task, now int64) {
	switch {
	case now >= t.notAfter+int64(silentAfter):
		s.finish(f, t, now, job.StateIndeterminate,
			fmt.Sprintf("minion %s has not said whether it accepted the order", t.minion))
	case now >= t.checkAt:
		if s.giveUpRevoked(f, t, now) {
			return
		}
		if s.deps.Minions.Connected(t.minion) {
			if t.question == 0 {
				t.question = s.nextTerm() // only the answer to it was said after our order
			}
			s.ask(f, t, now)
		} else {
			t.asked = 0 // the pause begins anew with the minion's next session
			t.checkAt = now + f.askPause(t)
		}
		t.checkAt = min(t.checkAt, f.lastAsk(t, now))
		s.reconcileAt(f, t.checkAt)
	default:
		s.reconcileAt(f, t.checkAt)
	}
}

// reconcileUnknown asks about a task that an earlier owner may have ordered. For a
// minion that is connected to no node it waits (gone.go).
func (s *shard) reconcileUnknown(f *fire, t *task, now int64) {
	if now >= t.checkAt {
		if s.giveUpRevoked(f, t, now) {
			return
		}
		if s.deps.Minions.Connected(t.minion) {
			if t.answerBy == 0 {
				t.answerBy = now + int64(s.cfg.MaxMessageExpired)
			}
			s.ask(f, t, now)
		} else {
			t.asked, t.answerBy, t.checkAt = 0, 0, now+int64(rematchEvery)
		}
	}
	if t.answerBy != 0 && now >= t.answerBy {
		s.finish(f, t, now, job.StateIndeterminate,
			fmt.Sprintf("minion %s has not answered since the shard changed its owner; whether it ran the task is not known", t.minion))
		return
	}
	s.reconcileAt(f, t.checkAt)
}

// reconcileRunning looks after a task that its minion has. It ends one whose minion is
// not heard of long after its time-out. What waits at its minion has not begun with
// that time, and is asked about before.
func (s *shard) reconcileRunning(f *fire, t *task, spec *job.Spec, now int64) {
	if s.giveUpRevoked(f, t, now) {
		return
	}
	limit := t.limit(spec)
	if now >= limit+int64(silentRun) {
		what := "started the task and has not said how it ended"
		if t.phase != phase.Running {
			what = "accepted the task and has said nothing of it since"
		}
		s.finish(f, t, now, job.StateIndeterminate, fmt.Sprintf("minion %s %s", t.minion, what))
		return
	}
	connected, begun := s.deps.Minions.Connected(t.minion), t.phase == phase.Running
	switch {
	case t.question != 0:
		if connected && now >= t.checkAt {
			s.ask(f, t, now)
		}
		s.reconcileAt(f, max(t.checkAt, now+int64(rematchEvery)))
	case begun && now < limit, !begun && now < t.checkAt:
	case connected:
		s.ask(f, t, now)
		t.checkAt = now + t.heldPause()
	}
	s.reconcileAt(f, max(t.lookAt(spec), now+int64(silentAfter)))
}

// limit is when something should have been heard of a task that its minion has.
func (t *task) limit(spec *job.Spec) int64 {
	since := t.heardAt + int64(askHeldMost)
	if t.phase == phase.Running {
		since = t.started.UnixNano()
	}
	return since + int64(spec.EffectiveTimeout())
}

// lookAt is when a task that its minion has is looked at again.
func (t *task) lookAt(spec *job.Spec) int64 {
	limit := t.limit(spec)
	if t.phase == phase.Running {
		return limit
	}
	return min(t.checkAt, limit+int64(silentRun))
}

// heldPause is how long to wait for a word about a task that waits at its minion.
func (t *task) heldPause() int64 { return int64(min(askHeld<<min(t.asked, 10), askHeldMost)) }

// whyGone tells why a task of a deleted job is not sent.
func (t *task) whyGone() string {
	if t.attempt > 1 {
		return fmt.Sprintf("the job was deleted before attempt %d was sent", t.attempt)
	}
	return "the job was deleted before its order was sent"
}

// whyNotAgain tells why a task of a deleted job that would be tried again is not.
const whyNotAgain = "not tried again, as the job was deleted meanwhile"

// whyNotStarted tells why a deleted job's runs that wait do not start.
const whyNotStarted = "the job was deleted while the run waited"

// shareVariable tells a command whose share of a parallel occurrence it is.
const shareVariable = job.EnvPrefix + "SHARE"

// dispatch sends a task's order (I1, I6, I7).
func (s *shard) dispatch(f *fire, t *task, spec *job.Spec, now int64) {
	if f.e.Gone {
		s.finish(f, t, now, job.StateCancelled, t.whyGone())
		return
	}
	if f.phase.IsEnding() {
		s.finish(f, t, now, job.StateCancelled, f.endWhy)
		return
	}
	one := spec.Target.EffectiveRun() == job.SpreadOne
	if one && !f.recovered && !t.ordered && !s.deps.Minions.Connected(t.minion) {
		// Nobody has sent this order yet, so another minion may have it.
		if m := s.choice.choose(f, spec.Target, t.attempt+1); len(m) == 1 && m[0] != t.minion {
			t.minion, t.saved = m[0], false
			s.touch(f.slot)
			return
		}
	}
	if s.deps.Minions.Revoked(t.minion) {
		s.finish(f, t, now, job.StateUncontrollable, "its certificate was revoked before the order was sent")
		return
	}
	env, secrets := f.variables(spec)
	w, ready, err := s.workOf(f, spec, now)
	if ready && err == nil {
		secrets, ready, err = s.sealed(f, secrets, now)
	}
	switch {
	case !ready:
		s.reconcileAt(f, now+int64(scriptWait))
		return
	case err != nil:
		s.finish(f, t, now, job.StateRejected, "the order cannot be made: "+err.Error())
		return
	}
	if share := cmp.Or(t.share, f.share); share != "" {
		env = maps.Clone(env)
		if env == nil {
			env = map[string]string{}
		}
		env[shareVariable] = string(share)
	}
	if len(w.Params) > 0 {
		env = withParams(env, w.Params)
	}
	if len(w.Sensitive) > 0 {
		secrets = job.WithSensitive(secrets, w.Sensitive)
	}
	command, script := spec.Started()
	if w.sum != "" {
		script = &job.Script{Interpreter: script.Interpreter}
	}
	f.author = f.e.appliedBy()
	o := job.Order{
		Task: f.taskID(t), Shard: s.id, Token: s.own.Token(), Term: s.term, Key: f.e.key, RunID: f.runID(),
		Subject: cmp.Or(f.subject, f.author), Author: f.author,
		Command: command, Script: script, ScriptSHA256: w.sum, Steps: w.Steps,
		Env: env, Secrets: secrets, WorkingDir: spec.WorkingDir, User: w.User, Limits: spec.Limits,
		ScheduledAt: f.id.Time(), Timeout: spec.EffectiveTimeout(),
	}
	if t.minion.IsQueue() {
		if !s.addItem(f, t, spec, &o, w.Params, now) {
			return
		}
	} else if (f.isBounded() || len(w.scripts) > 0) && !s.admits(f, t, &o, w.scripts, now) {
		return
	}
	if f.dispatchedAt == 0 {
		f.dispatchedAt = now
		f.doubtful = false
		s.ping(f, job.PingStart, "")
		s.met.dispatched.Inc()
		s.met.lateness.Observe(time.Duration(now - f.due()).Seconds())
	}
	life := min(spec.EffectiveTimeout()/2, s.cfg.MaxMessageExpired)
	t.sentAt, t.notAfter, t.ordered = now, now+int64(life), true
	if t.phase == phase.Waiting { // else whether an earlier owner's order was accepted is still not known
		s.become(t, phase.Sent)
	}
	t.asked = 0
	t.checkAt = now + f.askPause(t)
	s.reconcileAt(f, t.checkAt)
	o.NotAfter = time.Unix(0, t.notAfter)
	s.out.add(o, len(f.tasks))
}

// withParams adds a run's parameters to an environment.
func withParams(env, params map[string]string) map[string]string {
	out := make(map[string]string, len(env)+len(params))
	maps.Copy(out, env)
	for k, v := range params {
		out[job.ParamEnv(k)] = v
	}
	return out
}

// askPause is how long to wait for a word about a task before it is asked about, or
// asked about again.
func (f *fire) askPause(t *task) int64 {
	return int64((askAfter + askPer*time.Duration(len(f.tasks)/1000)) << min(t.asked, askDoublings))
}

// lastAsk is when a task that was ordered is asked about at the latest: when its order has
// expired, and again and again from then on, until nothing is waited for any more. A
// question may have been lost with the minion's session.
func (f *fire) lastAsk(t *task, now int64) int64 {
	if now < t.notAfter {
		return t.notAfter
	}
	return now + f.askPause(&task{})
}

// ask has a task's minion asked about it; checkAt is when that is done again.
func (s *shard) ask(f *fire, t *task, now int64) {
	t.checkAt = now + f.askPause(t)
	t.asked++
	ref := s.ref(f.taskID(t))
	ref.Term = cmp.Or(t.question, ref.Term)
	s.asks = append(s.asks, ref)
}

// ref names a task to its minion, as of this ownership.
func (s *shard) ref(id job.TaskID) job.Ref {
	return job.Ref{Task: id, Shard: s.id, Token: s.own.Token(), Term: s.term}
}

// finish gives a task a final state that its owner found out without a report.
func (s *shard) finish(f *fire, t *task, now int64, state job.State, reason string) {
	s.settle(f, t, &job.Report{
		Task: f.taskID(t), Shard: s.id, Known: true, State: state, Reason: reason,
		StartedAt: t.started, EndedAt: time.Unix(0, now).UTC(),
	})
}

// settle takes a task's final report: the task is tried again, or it has ended,
// and with the last task the run.
func (s *shard) settle(f *fire, t *task, r *job.Report) {
	spec, err := s.spec(f)
	if again := err == nil && f.endAt == 0 && mayRetry(spec, t, r); again && !f.e.Gone {
		s.retry(f, t, r, spec)
		return
	} else if again {
		r = because(r, whyNotAgain)
	} else if err == nil && t.attempt < spec.Retry.Attempts && isPermanent(spec, r) {
		r = because(r, whyPermanent)
	}
	t.report = r
	s.become(t, phase.Ended)
	s.giveBack(f, t)
	if !f.allEnded() {
		if f.rollout != nil && f.rollout.Waits() {
			s.reconcileAt(f, s.deps.now())
		}
		return
	}
	state, reason := verdict(f.tasks)
	s.end(f, state, reason)
}

// because returns a report whose reason goes on to tell why there is no other attempt.
func because(r *job.Report, why string) *job.Report {
	last := *r
	last.Reason = strings.TrimPrefix(r.Reason+"; "+why, "; ")
	return &last
}

// idempotentAttempts is how often a task is tried in all that may have run, and
// may run again.
const idempotentAttempts = 3

// mayRetry reports whether an attempt that ended so is followed by another. One
// of which nobody knows whether it ran is, where the job says that running it
// twice does no harm.
func mayRetry(spec *job.Spec, t *task, r *job.Report) bool {
	if r.State == job.StateIndeterminate {
		return spec.Idempotent && t.attempt < max(spec.Retry.Attempts, idempotentAttempts)
	}
	return !isPermanent(spec, r) && spec.Retry.Allows(r.State, r.Exit) && t.attempt < spec.Retry.Attempts
}

// isPermanent reports whether a handler, or the exit code of a command, says that it is of
// no use to try a task again that has failed.
func isPermanent(spec *job.Spec, r *job.Report) bool {
	return r.State == job.StateFailed && (r.Verdict == job.VerdictPermanent || !spec.Retry.Allows(r.State, r.Exit))
}

// whyPermanent ends the reason of a task that has attempts left and is not tried again.
const whyPermanent = "not tried again, as the failure is permanent"

// retry plans the task's next attempt, on another minion where one will do. The
// report is acknowledged once the new attempt is in the slot.
func (s *shard) retry(f *fire, t *task, r *job.Report, spec *job.Spec) {
	wait := spec.Retry.Delay(t.attempt + 1)
	wait += time.Duration(rand.Int64N(int64(wait)/5 + 1))
	next := &task{minion: t.minion, share: t.share, attempt: t.attempt + 1, notBefore: s.deps.now() + int64(wait)}
	if spec.Target.EffectiveRun() == job.SpreadOne {
		if m := s.choice.choose(f, spec.Target, next.attempt); len(m) == 1 {
			next.minion = m[0]
		}
	}
	for i, o := range f.tasks {
		if o == t {
			f.tasks[i] = next
		}
	}
	f.attempts, f.leftOut = job.KeepAttempt(f.attempts, f.leftOut, job.Attempt{
		Share: t.share, Minion: t.minion, Attempt: t.attempt, State: r.State, Reason: r.Reason,
		StartedAt: r.StartedAt, EndedAt: r.EndedAt, Exit: r.Exit,
	})
	s.touch(f.slot)
	if r.Spooled {
		id := f.taskID(t)
		s.afterSave = append(s.afterSave, func() { s.deps.Minions.Ack([]job.TaskID{id}) })
	}
	s.log.Debug("attempt failed, will be tried again", zap.Stringer("fire", f.id),
		zap.Int("attempt", t.attempt), zap.String("state", string(r.State)), zap.Duration("after", wait))
}

// recordRetry is the pause after history refused a record.
const recordRetry = time.Second
