package worker

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/wal"
)

// admission decides about what nodes offer.
type admission struct {
	*base
	tasks     *tasks
	reporting *reporting
	signing   *signing
	seen      *seen
}

// offered is an order of an offer.
type offered struct {
	job.Order
	// refused says why nothing may be started by it. Nil: it may.
	refused error
}

// asked is a question or a cancel of an offer.
type asked struct {
	job.Ref
	// cancel: the task is to end, for the reason.
	cancel bool
	reason string
}

// signatureAt returns the signature of what is at a place of an offer; nil: it has none.
func signatureAt(offer *agentpb.Offer, place int) *agentpb.Signature {
	if place < len(offer.GetSignatures()) {
		return offer.GetSignatures()[place]
	}
	return nil
}

// read reads an offer, and checks its signatures. Orders that are refused are answered;
// questions and cancels that are, and what cannot be read, are left out.
func (ad *admission) read(offer *agentpb.Offer, now time.Time) ([]offered, []asked) {
	ad.signing.learn(offer.GetCertificates())
	return ad.orders(offer, now), ad.asked(offer, now)
}

func (ad *admission) orders(offer *agentpb.Offer, now time.Time) []offered {
	orders := make([]offered, 0, len(offer.GetOrders()))
	for i, w := range offer.GetOrders() {
		o, err := agentpb.ToOrder(w, ad.cfg.ID)
		if err != nil {
			ad.log.Warn("order cannot be read", zap.Error(err))
			continue
		}
		refused := ad.signing.order(&o, signatureAt(offer, i), now)
		if refused == nil {
			refused = ad.seen.check(o.Token)
		}
		o.HoldUntil = time.Duration(agentpb.Translate(int64(o.HoldUntil), offer.Ahead))
		orders = append(orders, offered{o, refused})
	}
	return orders
}

func (ad *admission) asked(offer *agentpb.Offer, now time.Time) []asked {
	var out []asked
	place := len(offer.GetOrders())
	for _, q := range offer.GetQuestions() {
		r, err := agentpb.ToRef(q, ad.cfg.ID)
		if err != nil {
			ad.log.Warn("question cannot be read", zap.Error(err))
		} else if ad.signing.question(&r, signatureAt(offer, place), now) == nil {
			out = append(out, asked{Ref: r})
		}
		place++
	}
	for _, c := range offer.GetCancels() {
		r, err := agentpb.ToRef(c, ad.cfg.ID)
		if err != nil {
			ad.log.Warn("cancel cannot be read", zap.Error(err))
		} else if ad.signing.cancel(&r, c.GetReason(), signatureAt(offer, place), now) == nil {
			out = append(out, asked{Ref: r, cancel: true, reason: c.GetReason()})
		}
		place++
	}
	return out
}

// offerWork is the work on one offer.
type offerWork struct {
	of    *admission
	now   time.Time // the servers' time
	batch wal.Batch
	err   error // of queueing a record

	// token and term are of the question, order or cancel that is being answered.
	token job.Token
	term  uint32

	accepted []*entry
	settled  []*entry
	tell     []taskKey
	answers  []*job.Report
	kills    []shim.Kill
}

// admit deals with an offer. When it returns, everything in it is durable or
// refused, and Taken and the answers are in the outbox.
func (ad *admission) admit(offer *agentpb.Offer) {
	a := &offerWork{of: ad}
	ad.tasks.mu.Lock()
	now := ad.tasks.clock.now()
	ad.tasks.mu.Unlock()
	orders, asked := ad.read(offer, now)
	ad.tasks.mu.Lock()
	if ad.tasks.stopping {
		ad.tasks.mu.Unlock()
		return // not taken: the node offers it elsewhere
	}
	a.now = ad.tasks.clock.now()
	for i := range orders {
		o := &orders[i]
		a.token, a.term = o.Token, o.Term
		a.order(&o.Order, o.refused)
	}
	for _, r := range asked {
		a.token, a.term = r.Token, r.Term
		if r.cancel {
			a.cancel(r.Task, r.Shard, r.reason)
			continue
		}
		_ = ad.seen.check(a.token) // an older asker is answered, too
		a.raise(r.Shard, a.token)
		a.question(r.Task, r.Shard)
	}
	ad.tasks.mu.Unlock()

	if err := ad.reporting.sync(a.batch); a.err == nil {
		a.err = err
	}
	ad.crash("accepted")
	a.finish(offer.GetSeq())
}

// add queues a record of the offer.
func (a *offerWork) add(r *record) {
	batch, err := a.of.tasks.journal.add(r)
	a.batch = max(a.batch, batch)
	if err != nil {
		a.err = err
	}
}

func (a *offerWork) raise(s job.ShardID, t job.Token) {
	batch, err := a.of.tasks.journal.raiseToken(s, t)
	a.batch = max(a.batch, batch)
	if err != nil {
		a.err = err
	}
}

// answer queues the answer to what is being dealt with, with its token: another
// owner must not take it for the answer to its own question.
func (a *offerWork) answer(r *job.Report) {
	r.Token, r.Term = a.token, a.term
	a.answers = append(a.answers, r)
}

// known answers for a task that the minion knows, and reports whether it does.
func (a *offerWork) known(id job.TaskID) bool {
	key := keyOf(id)
	if a.of.tasks.journal.live[key] != nil {
		a.tell = append(a.tell, key)
		return true
	}
	p, ok := a.of.tasks.journal.past[key]
	if ok {
		a.answer(p.report(id))
	}
	return ok
}

// report returns what is remembered of an acknowledged task.
func (p past) report(id job.TaskID) *job.Report {
	r := &job.Report{Task: id, Shard: p.Shard, Known: true, State: p.State, Reason: "was reported and acknowledged before"}
	if p.EndedAt != 0 {
		r.EndedAt = time.Unix(0, p.EndedAt).UTC()
	}
	if p.Exited {
		r.Exit = &job.Exit{Code: p.Code}
	}
	return r
}

// unwritable begins the reasons of orders that cannot be made durable.
const unwritable = "the journal cannot be written: "

// order decides about an order. Refused says why its signature is not good.
func (a *offerWork) order(o *job.Order, refused error) {
	j := a.of.tasks.journal
	if a.known(o.Task) {
		a.of.metrics.refused.Inc()
		return
	}
	refusal := &job.Report{Task: o.Task, Shard: o.Shard, Known: true, EndedAt: a.now, Spooled: true}
	highest := j.tokens[o.Shard]
	other, open := j.open[o.Task.Fire]
	switch {
	case refused != nil:
		// Not journaled, and its token is nobody's word: a later copy may be good.
		refusal.Spooled, refusal.State, refusal.Reason = false, job.StateRejected, refused.Error()
		a.answer(refusal)
		return
	case o.Token.Less(highest):
		// Not journaled: a later copy is as stale. And not "known": it says
		// nothing about the task, which the present owner may order.
		refusal.Known, refusal.Spooled, refusal.State = false, false, job.StateRejected
		refusal.Reason = fmt.Sprintf("stale token %s: the minion has seen %s for shard %s", o.Token, highest, o.Shard)
		a.answer(refusal)
		return
	case o.HoldUntil != 0 && a.of.deps.clock() > o.HoldUntil:
		// Not journaled either: a later copy is as late.
		refusal.Known, refusal.Returned, refusal.Spooled = false, true, false
		refusal.Reason = "reached the minion after " + whyOver
		a.answer(refusal)
		return
	case a.isEarly(o):
		// It comes again, until its time has come.
		refusal.Known, refusal.Returned, refusal.Spooled = false, true, false
		refusal.Reason = "its time has not come yet, by the clocks of the minion and of its node"
		a.answers = append(a.answers, refusal)
		return
	case !o.NotAfter.IsZero() && a.now.After(o.NotAfter):
		refusal.State = job.StateExpired
		refusal.Reason = fmt.Sprintf("reached the minion %s after its delivery deadline", a.now.Sub(o.NotAfter).Round(time.Millisecond))
	case open:
		refusal.State = job.StateRejected
		refusal.Reason = fmt.Sprintf("attempt %d of the same fire has not ended", other)
	}
	if refusal.State != "" {
		a.raise(o.Shard, o.Token)
		a.settle(refusal)
		return
	}
	if j.over() {
		// Not journaled, of course: a later copy may find room.
		refusal.State, refusal.Spooled = job.StateRejected, false
		refusal.Reason = fmt.Sprintf("%sit has more than %s, which is its limit; results wait for a node's acknowledgement", unwritable, job.Size(j.limit))
		a.answer(refusal)
		return
	}
	j.raise(o.Shard, o.Token) // the accepted record carries it
	e := j.accept(o)
	_, e.renewed = a.of.tasks.places.renewals.asked[e.key]
	delete(a.of.tasks.places.renewals.asked, e.key)
	a.accepted = append(a.accepted, e)
	a.add(&record{Kind: kindAccepted, Order: o})
	// A task that starts at once has its intent in the same sync.
	if a.of.tasks.place(e) {
		a.add(e.intent())
	}
}

// earlyBound is by how much a minion's clock and its node's may be wrong together
// before an order counts as early.
const earlyBound = 5 * time.Second

// isEarly reports whether an order comes well before its instant, by this host's
// clock and by the node's: its owner's is wrong.
func (a *offerWork) isEarly(o *job.Order) bool {
	if o.Task.Fire.Trigger != job.TriggerSchedule || o.ScheduledAt.IsZero() {
		return false
	}
	latest := a.now
	if own := time.Now(); own.After(latest) {
		latest = own
	}
	return o.ScheduledAt.After(latest.Add(earlyBound))
}

func (a *offerWork) settle(r *job.Report) {
	if e := a.of.tasks.journal.settle(r); e != nil {
		a.settled = append(a.settled, e)
		a.add(&record{Kind: kindEnded, Report: r})
	}
}

// question answers what became of a task. One that is not its asker's, and not
// started, is given back; so is one of an earlier process. One whose lease has ended
// is given back at its turn only: what waits may be asked about, and be much.
func (a *offerWork) question(id job.TaskID, shard job.ShardID) {
	if e := a.of.tasks.journal.live[keyOf(id)]; e != nil && e.phase < phaseHanded && e.settling == nil && e.final == nil {
		if why := a.of.tasks.overdue(e); why == whyNewOwner || why != "" && e.recovered {
			r := a.of.tasks.returned(e, why)
			r.Token, r.Term = a.token, a.term
			a.settle(r)
			return
		}
	}
	switch {
	case a.known(id):
	case a.of.tasks.journal.gaveBack(keyOf(id)):
		// Word of it may be on its way yet, behind this answer.
		a.answer(&job.Report{Task: id, Shard: shard, Returned: true, Reason: "was given back before it was started"})
	default:
		if why, gone := a.of.tasks.journal.memory.gone(id.Fire); gone {
			a.settle(&job.Report{
				Task: id, Shard: shard, Known: true, State: job.StateIndeterminate, Token: a.token, Term: a.term,
				Reason: why + ", so it may or may not have run", EndedAt: a.now, Spooled: true,
			})
			return
		}
		a.answer(&job.Report{Task: id, Shard: shard, Reason: "the minion has never accepted it"})
	}
}

// cancel ends a task, or leaves a tombstone.
func (a *offerWork) cancel(id job.TaskID, shard job.ShardID, reason string) {
	j := a.of.tasks.journal
	if a.token.Less(j.tokens[shard]) || a.of.seen.check(a.token) != nil {
		a.question(id, shard) // from a former owner, or of before a restore
		return
	}
	a.raise(shard, a.token)
	e := j.live[keyOf(id)]
	if e == nil {
		if a.known(id) {
			return // in the past
		}
		a.settle(cancelled(id, shard, a.now, "cancelled before it reached the minion", reason))
		return
	}
	switch {
	case e.settling != nil || e.final != nil:
		a.tell = append(a.tell, e.key)
	case e.phase < phaseHanded:
		a.settle(cancelled(id, shard, a.now, "cancelled before it was started", reason))
	default:
		e.cancelled, e.cancelReason = true, reason
		a.add(&record{Kind: kindCancel, Task: &e.key, Reason: e.cancelReason})
		if e.stop != nil {
			e.stop(fmt.Errorf("%w: %s", handler.ErrCancelled, e.cancelReason))
			return
		}
		a.kills = append(a.kills, shim.Kill{Key: e.key.String(), Reason: e.cancelReason})
	}
}

func cancelled(id job.TaskID, shard job.ShardID, now time.Time, what, reason string) *job.Report {
	if reason != "" {
		what += ": " + reason
	}
	return &job.Report{Task: id, Shard: shard, Known: true, State: job.StateCancelled, Reason: what, EndedAt: now, Spooled: true}
}

// finish puts the answers into the outbox and passes on what is to be started.
func (a *offerWork) finish(seq uint64) {
	a.of.tasks.mu.Lock()
	a.of.tasks.out.taken = append(a.of.tasks.out.taken, seq)
	notify(a.of.tasks.out.wake)
	for _, e := range a.accepted {
		if a.err != nil {
			a.of.tasks.places.free(e)
			a.of.tasks.journal.remove(e)
			r := &job.Report{
				Task: e.key.id(a.of.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
				Reason: unwritable + a.err.Error(), EndedAt: a.now,
			}
			if e.order != nil {
				r.Token, r.Term = e.order.Token, e.order.Term
			}
			a.of.tasks.out.answer(r)
			continue
		}
		a.of.tasks.out.tell(e)
		if e.phase == phaseIntent {
			a.of.tasks.places.ready.push(e)
		} else {
			a.of.tasks.places.wait(e)
		}
	}
	a.of.reporting.commit(a.settled, a.err)
	for _, key := range a.tell {
		if e := a.of.tasks.journal.live[key]; e != nil {
			a.of.tasks.out.tell(e)
		}
	}
	for _, r := range a.answers {
		if a.err != nil && !r.Known {
			continue // the token it rests on is not durable
		}
		a.of.tasks.out.answer(r)
	}
	client := a.of.tasks.client
	a.of.tasks.mu.Unlock()
	notify(a.of.tasks.startWake)
	if len(a.kills) > 0 && client != nil {
		if err := client.Kill(a.kills); err != nil {
			a.of.log.Warn("kill was not passed on; it is repeated after the next attach", zap.Error(err))
		}
	}
	if a.err != nil {
		a.of.fail(a.err)
	}
}
