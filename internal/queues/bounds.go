package queues

import (
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Who applies a queue, or puts an item into it, may be bounded: to commands, accounts and
// minions. Workers are chosen within that, and each order is looked at once more before it
// is sent: labels may be others by then, and each payload is another one (D6).

// held is what bounds an order.
type held struct {
	bounds *command.Bounds
	// err says why the bounds cannot be read: then nothing is started.
	err error
	// version is that of the roles by which it was read.
	version uint64
}

// version is that of the roles; 0: they are not known yet.
func (r *runner) version() uint64 {
	if r.m.deps.Roles == nil {
		return 1
	}
	return r.m.deps.Roles.Version()
}

// read returns what bounds come to by the roles as they are now.
func (r *runner) read(b job.Bounds) held {
	h := held{version: r.version()}
	if r.m.deps.Roles != nil {
		b = r.m.deps.Roles.Now(b, r.key.Namespace)
	}
	h.bounds, h.err = command.ReadBounds(b)
	return h
}

// holds returns what bounds the queue.
func (r *runner) holds() *held {
	if r.held.version == 0 || r.held.version != r.version() {
		r.held = r.read(r.stored.Bounds)
	}
	return &r.held
}

// within returns the minions that may work on the queue.
func (r *runner) within() job.Target {
	t := job.Target{Match: r.work.Target.Match, Run: job.SpreadAll}
	h := r.holds()
	if h.err != nil {
		return t // each order is refused
	}
	return command.Narrowed(t, h.bounds.Targets())
}

// admits reports whether an item's order is within what bounds it. If not, the item ends,
// or is taken back from the minion that may not have it.
func (r *runner) admits(t *task, o *job.Order) bool {
	if len(r.stored.Bounds)+len(t.Bounds) == 0 {
		return true
	}
	h := *r.holds()
	if len(t.Bounds) > 0 {
		h = r.read(slices.Concat(r.stored.Bounds, t.Bounds))
	}
	if h.version == 0 {
		t.sentAt = time.Now().Add(time.Second - resendAfter) // soon
		return false
	}
	targets, err := "", h.err
	if err == nil {
		targets, err = h.bounds.Within(o)
	}
	switch {
	case err != nil:
		r.refuse(t, queue.Hopeless, err.Error())
	case targets == "" || r.reaches(targets, t.Worker):
		return true
	case r.reaches("", t.Worker):
		r.refuse(t, queue.Lost, "minion "+string(t.Worker)+" is not one that this may be started on: "+targets)
	}
	// What the minion is may be learnt yet.
	return false
}

// refuse ends an item whose order is not sent. One that may have been sent before, under
// other bounds, is asked for first: it may run.
func (r *runner) refuse(t *task, result queue.Result, why string) {
	if !t.nowhere {
		r.m.deps.Minions.Ask([]job.Ref{r.ref(t.id)})
		return
	}
	rep := &job.Report{Task: t.id, Known: true, State: job.StateRejected, Reason: why, EndedAt: r.m.deps.Now().UTC()}
	r.log.Info("item not ordered", zap.String("item", t.ID), zap.String("why", why))
	r.end(t, queue.Outcome{Result: result, Reason: string(rep.State) + ": " + why}, rep)
}

// reaches reports whether a target expression admits a minion, be it one that takes no
// orders now.
func (r *runner) reaches(expr string, m job.MinionID) bool {
	ready, away := r.m.deps.Minions.Reach(job.Target{Match: expr, Run: job.SpreadAll})
	if _, ok := slices.BinarySearch(ready, m); ok {
		return true
	}
	_, ok := slices.BinarySearchFunc(away, m, func(u job.Uncontrollable, m job.MinionID) int { return strings.Compare(string(u.Minion), string(m)) })
	return ok
}
