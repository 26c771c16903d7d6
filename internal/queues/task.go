package queues

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// The parameters of an item's run that name the item, and the occurrence, or the task of a
// plan, that it does.
const (
	ParamItem = "item"
	ParamJob  = "job"
	ParamFire = "fireId"
	ParamPlan = "plan"
	ParamTask = "task"
)

// taskID names an attempt of an item (D1).
func (r *runner) taskID(c *queue.Claimed) job.TaskID {
	return job.TaskID{Fire: job.FireID{Job: r.stored.UID, At: c.At, Trigger: job.TriggerManual}, Minion: c.Worker, Attempt: c.Attempt}
}

func (r *runner) ref(id job.TaskID) job.Ref {
	return job.Ref{Task: id, Shard: r.shard, Token: r.fence.Token()}
}

// send orders items of their minions, once more if they were sent before. What is sent
// together is signed together.
func (r *runner) send(tasks ...*task) {
	var orders []job.Order
	for _, t := range tasks {
		t.sentAt = time.Now()
		if o, ok := r.order(t); ok {
			orders = append(orders, o)
		}
	}
	if len(orders) > 0 {
		r.m.deps.Minions.Send(orders)
	}
}

// order returns what a minion is to do with an item; false: it may not.
func (r *runner) order(t *task) (job.Order, bool) {
	o := OrderOf(&r.work, r.key, t.ID, t.Token.String(), string(t.Payload))
	switch from := t.Origin; {
	case from == nil:
	case from.Plan != nil:
		o.Env[job.EnvItemPlan], o.Env[job.EnvItemTask] = from.Plan.Name, from.Plan.Task
	default:
		o.Env[job.EnvItemJob], o.Env[job.EnvItemFire] = from.Job.String(), from.Fire.String()
	}
	if t.Checkpoint != "" {
		o.Env[job.EnvCheckpoint] = t.Checkpoint
	}
	if !r.admits(t, &o) {
		return o, false
	}
	if find := r.m.deps.Secrets; find != nil {
		o.Secrets, _, _ = job.WithSealed(o.Secrets, r.key.Namespace, find) // of one that is not there, the minion says so
	}
	t.nowhere = false
	o.Task, o.Shard, o.Token, o.Key, o.RunID = t.id, r.shard, r.fence.Token(), r.key.RunName(), t.id.Fire.RunID()
	o.ScheduledAt, o.Timeout = time.Unix(0, t.At).UTC(), r.work.EffectiveTimeout()
	o.NotAfter = r.m.deps.Now().Add(min(o.Timeout/2, r.m.cfg.MaxMessageExpired))
	o.Subject, o.Author, o.JobAuthor = cmp.Or(t.Subject, r.stored.AppliedBy), r.stored.AppliedBy, t.JobAuthor
	return o, true
}

// onReport takes what a minion, or the way to it, says of an item.
func (r *runner) onReport(rep *job.Report) {
	t := r.tasks[rep.Task.Fire]
	if t == nil || t.id != rep.Task {
		r.onStale(rep)
		return
	}
	if t.ending {
		return
	}
	switch {
	case !rep.Known || rep.Returned:
		t.heardAt, t.startedAt, t.nowhere = time.Time{}, time.Time{}, true
		if since := time.Since(t.sentAt); since > time.Second {
			r.send(t) // never accepted, or given back: it may have it again
		} else {
			t.sentAt = time.Now().Add(time.Second - resendAfter) // soon
		}
	case !rep.State.Final():
		t.heardAt = time.Now()
		if rep.Progress != nil {
			t.progress = rep.Progress
		}
		if rep.Checkpoint != "" {
			t.left = rep.Checkpoint
			r.keep(t)
		}
		if !rep.StartedAt.IsZero() {
			first := t.startedAt.IsZero()
			if t.startedAt = rep.StartedAt; first && t.Origin != nil {
				r.tellBegun(t)
			}
		}
	default:
		r.onEnd(t, rep)
	}
}

// keep stores the checkpoint that a minion has told of, one at a time; what comes
// meanwhile is the next one. One that cannot be stored comes with the minion's next word.
func (r *runner) keep(t *task) {
	if t.keeping || t.left == t.kept {
		return
	}
	t.keeping = true
	text, receipt := t.left, t.Receipt
	r.wg.Go(func() {
		err := r.q.Checkpoint(r.ctx, receipt, text, r.fence.Fence())
		r.do(func() {
			t.keeping = false
			switch {
			case err == nil:
				t.kept = text
				r.keep(t)
			case r.ctx.Err() == nil && !errors.Is(err, queue.ErrLost):
				r.log.Warn("checkpoint not stored", zap.String("item", receipt.ID), zap.Error(err))
			}
		})
	})
}

// item is an item in hand as the run of its occurrence tells of it.
func (r *runner) item(t *task) job.TaskItem {
	return job.TaskItem{Queue: r.key.Name, ID: t.ID, Minion: t.Worker, Attempt: t.Attempt, RunID: t.id.Fire.RunID()}
}

// tellBegun tells the owner of an occurrence that a worker has begun with it. It is for
// people to see: nothing depends on it, and it is not tried again.
func (r *runner) tellBegun(t *task) {
	receipt, as, at := t.Receipt, r.item(t), t.startedAt
	r.wg.Go(func() {
		if err := r.q.Begin(r.ctx, receipt, as, at); err != nil && r.ctx.Err() == nil && !errors.Is(err, queue.ErrLost) {
			r.log.Debug("not told that an item was begun", zap.String("item", receipt.ID), zap.Error(err))
		}
	})
}

// onStale takes what is said of an attempt that is not the item's present claim: it has
// no effect, but that the minion stops, or forgets (D2).
func (r *runner) onStale(rep *job.Report) {
	switch {
	case !r.synced || !r.fence.Held() || !rep.Known:
	case rep.State.Final():
		if rep.Spooled {
			r.m.met.settled.WithLabelValues("late").Inc()
			r.m.deps.Minions.Ack([]job.TaskID{rep.Task})
		}
	default:
		r.m.deps.Minions.Cancel([]job.Ref{r.ref(rep.Task)}, "the item was taken from this minion")
	}
}

// onEnd settles an item by its minion's last report.
func (r *runner) onEnd(t *task, rep *job.Report) {
	o := queue.Outcome{Result: queue.Failed, Reason: string(rep.State)}
	if rep.Reason != "" {
		o.Reason += ": " + rep.Reason
	}
	o.Checkpoint = cmp.Or(rep.Checkpoint, t.left)
	retry := r.stored.Spec.EffectiveRetry()
	switch {
	case rep.State == job.StateSucceeded:
		o.Result = queue.Succeeded
	case t.Cancel != nil:
		o.Result = queue.Dropped
	case rep.State == job.StateDeliveryTimeout, rep.State == job.StateDropped, rep.State == job.StateExpired:
		o.Result = queue.Lost // it was not begun
	case rep.State == job.StateFailed && (rep.Verdict == job.VerdictSnooze || rep.Verdict == job.VerdictInterrupted):
		o.Result, o.After = queue.Snoozed, time.Duration(rep.After)
	case rep.State == job.StateFailed && rep.Verdict == job.VerdictPermanent:
		o.Result = queue.Hopeless
	case rep.State == job.StateFailed && !retry.Allows(rep.State, rep.Exit):
		o.Result = queue.Hopeless
	}
	r.end(t, o, rep)
}

// lose takes an item back whose minion is lost (D4).
func (r *runner) lose(t *task, why string) {
	rep := &job.Report{Task: t.id, Known: true, State: job.StateIndeterminate, Reason: why, StartedAt: t.startedAt, EndedAt: r.m.deps.Now().UTC()}
	o := queue.Outcome{Result: queue.Lost, Reason: why, Checkpoint: t.left}
	if t.Cancel != nil {
		o.Result = queue.Dropped
	}
	r.log.Info("item taken back", zap.String("item", t.ID), zap.Int("attempt", t.Attempt), zap.String("why", why))
	r.end(t, o, rep)
}

// end settles an item in hand: first its record, if it is the last attempt, then the
// queue, then the minion may forget (D3).
func (r *runner) end(t *task, o queue.Outcome, rep *job.Report) {
	t.ending = true
	r.vacate(t)
	last := t.Counted() >= r.stored.Spec.EffectiveRetry().Attempts
	if o.Result == queue.Lost && last {
		o.Result = queue.Hopeless
	}
	if t.Origin != nil {
		last := *rep
		item := r.item(t)
		last.Item = &item
		o.Report = &last
	}
	o.Tried = &job.Attempt{
		Minion: t.Worker, Attempt: t.Attempt, State: rep.State, Reason: rep.Reason, StartedAt: rep.StartedAt, EndedAt: rep.EndedAt, Exit: rep.Exit,
	}
	switch o.Result {
	case queue.Lost, queue.Snoozed:
		r.settle(t, o, rep)
		return
	case queue.Failed:
		if !last {
			r.settle(t, o, rep)
			return
		}
	case queue.Succeeded, queue.Dropped, queue.Hopeless:
	}
	run := r.runOf(t, rep)
	if o.Result == queue.Failed || o.Result == queue.Hopeless {
		run.Reason = queue.DeadReason(t.Attempt, run.Reason)
	}
	r.m.deps.History.Record(run, func(err error) {
		r.do(func() {
			if err != nil {
				r.log.Warn("run not recorded, will be tried again", zap.String("run", string(run.RunID)), zap.Error(err))
				r.later(func() { r.end(t, o, rep) })
				return
			}
			r.settle(t, o, rep)
		})
	})
}

// later calls fn after a pause.
func (r *runner) later(fn func()) {
	timer := time.AfterFunc(settleRetry, func() { r.do(fn) })
	_ = timer // what it does when the runner has ended is nothing
}

// done is an item that was done, and is to be settled.
type done struct {
	t   *task
	o   queue.Outcome
	rep *job.Report
}

// settleDone settles items that were done, many at a time.
func (r *runner) settleDone() {
	for len(r.done) > 0 && r.settling < settlesAtOnce {
		part := r.done[:min(len(r.done), settleMost)]
		r.done = r.done[len(part):]
		r.settling++
		r.wg.Go(func() {
			ended := make([]queue.Ended, len(part))
			for i := range part {
				ended[i] = queue.Ended{Receipt: part[i].t.Receipt, Report: part[i].o.Report}
			}
			errs := r.q.DoneAll(r.ctx, ended, r.fence.Fence())
			r.do(func() {
				r.settling--
				for i := range part {
					r.settled(part[i].t, part[i].o, part[i].rep, errs[i])
				}
				r.settleDone()
			})
		})
	}
}

// settle writes how a claim ends. Meanwhile its worker is free for others.
func (r *runner) settle(t *task, o queue.Outcome, rep *job.Report) {
	if o.Result == queue.Succeeded {
		r.done = append(r.done, done{t, o, rep})
		r.settleDone()
		return
	}
	r.wg.Go(func() {
		err := r.q.Settle(r.ctx, t.Receipt, o, r.fence.Fence())
		r.do(func() { r.settled(t, o, rep, err) })
	})
}

func (r *runner) settled(t *task, o queue.Outcome, rep *job.Report, err error) {
	switch {
	case errors.Is(err, queue.ErrLost):
		// Done before, or not ours any more: the view tells which, and the minion asks.
		r.drop(t)
		return
	case err != nil:
		if r.ctx.Err() == nil {
			r.log.Warn("item not settled, will be tried again", zap.String("item", t.ID), zap.Error(err))
		}
		r.later(func() { r.settle(t, o, rep) })
		return
	}
	r.drop(t)
	result := "done"
	switch o.Result {
	case queue.Succeeded:
	case queue.Dropped:
		result = "cancelled"
	case queue.Failed:
		if result = "retried"; t.Counted() >= r.stored.Spec.EffectiveRetry().Attempts {
			result = "dead"
		}
	case queue.Hopeless:
		result = "dead"
	case queue.Lost:
		result = "lost"
	case queue.Snoozed:
		result = "snoozed"
	}
	r.m.met.settled.WithLabelValues(result).Inc()
	if o.Result != queue.Snoozed {
		r.rates.count(result == "done")
	}
	if rep.Spooled {
		r.m.deps.Minions.Ack([]job.TaskID{rep.Task})
	}
}

// runOf is the record of an item, by what is known of its attempt.
func (r *runner) runOf(t *task, rep *job.Report) job.Run {
	key := r.key.RunName()
	run := job.Run{
		RunID: t.id.Fire.RunID(), FireID: t.id.Fire, Namespace: key.Namespace, Job: key.Name, Trigger: t.id.Fire.Trigger.String(),
		State: job.StatePending, Attempt: t.Attempt, Cause: "item " + t.ID + " of queue " + r.key.String(), Subject: t.Subject, Author: r.stored.AppliedBy, Params: map[string]string{ParamItem: t.ID},
		Node: r.m.cfg.Node, Shard: r.shard, Token: t.Token, ScheduledAt: time.Unix(0, t.At).UTC(), CommittedAt: t.PutAt,
		DispatchedAt: t.Since, StartedAt: t.startedAt, Count: 1, Attempts: t.Tried, AttemptsLeftOut: t.TriedLeftOut,
	}
	switch o := t.Origin; {
	case o == nil:
	case o.Plan != nil:
		run.Params[ParamPlan], run.Params[ParamTask] = o.Plan.Name, o.Plan.Task
		run.Cause += fmt.Sprintf(", task %s of plan %s", o.Plan.Task, o.Plan.Name)
	default:
		run.Params[ParamJob], run.Params[ParamFire] = o.Job.String(), o.Fire.String()
		run.Cause += fmt.Sprintf(", run %s of job %s", o.Fire.RunID(), o.Job)
	}
	one := job.Task{Minion: t.Worker, Attempt: t.Attempt, State: job.StatePending, StartedAt: t.startedAt}
	if !t.startedAt.IsZero() {
		run.State, one.State = job.StateRunning, job.StateRunning
	}
	if rep != nil {
		run.State, run.Reason, run.StartedAt, run.EndedAt = rep.State, rep.Reason, rep.StartedAt, rep.EndedAt
		one.State, one.Reason, one.StartedAt, one.EndedAt = rep.State, rep.Reason, rep.StartedAt, rep.EndedAt
		one.Exit, one.Stdout, one.Stderr = rep.Exit, rep.Stdout, rep.Stderr
		if run.EndedAt.IsZero() {
			run.EndedAt = r.m.deps.Now().UTC()
		}
	}
	run.Tasks = []job.Task{one}
	return run
}

// live returns what is in hand, as runs.
func (r *runner) live() []job.Run {
	out := make([]job.Run, 0, len(r.tasks))
	for _, t := range r.tasks {
		if !t.ending {
			out = append(out, r.runOf(t, nil))
		}
	}
	return out
}
