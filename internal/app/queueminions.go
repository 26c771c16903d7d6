package app

import (
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// queueMinions has queues stand among the minions, for jobs that are dispatched to them:
// they are always there.
type queueMinions struct {
	scheduler.Minions
	fires *queues.Fires
}

func (m queueMinions) Match(t job.Target) []job.MinionID {
	if len(t.Names) == 1 && job.MinionID(t.Names[0]).IsQueue() {
		return []job.MinionID{job.MinionID(t.Names[0])}
	}
	return m.Minions.Match(t)
}

func (m queueMinions) Value(id job.MinionID, key string) string {
	if id.IsQueue() {
		return ""
	}
	return m.Minions.Value(id, key)
}

func (m queueMinions) Connected(id job.MinionID) bool {
	return id.IsQueue() || m.Minions.Connected(id)
}

func (m queueMinions) Absence(id job.MinionID) (job.Absence, bool) {
	if id.IsQueue() {
		return job.Absence{}, false
	}
	return m.Minions.Absence(id)
}

func (m queueMinions) Revoked(id job.MinionID) bool {
	return !id.IsQueue() && m.Minions.Revoked(id)
}

func (m queueMinions) Send(orders []job.Order) {
	parted(orders, func(o *job.Order) job.MinionID { return o.Task.Minion }, m.Minions.Send, m.fires.Send)
}

func (m queueMinions) Ask(refs []job.Ref) {
	parted(refs, minionOfRef, m.Minions.Ask, m.fires.Ask)
}

func (m queueMinions) Cancel(refs []job.Ref, reason string) {
	parted(refs, minionOfRef, func(r []job.Ref) { m.Minions.Cancel(r, reason) }, func(r []job.Ref) { m.fires.Cancel(r, reason) })
}

func (m queueMinions) Ack(tasks []job.TaskID) {
	parted(tasks, func(t *job.TaskID) job.MinionID { return t.Minion }, m.Minions.Ack, m.fires.Ack)
}

func minionOfRef(r *job.Ref) job.MinionID { return r.Task.Minion }

// parted hands what is for minions to one, and what is for queues to the other. Most often
// all is for minions.
func parted[T any](all []T, of func(*T) job.MinionID, toMinions, toQueues func([]T)) {
	var minions, queues []T
	for i := range all {
		if of(&all[i]).IsQueue() {
			if queues == nil {
				minions = append(minions, all[:i]...)
			}
			queues = append(queues, all[i])
		} else if queues != nil {
			minions = append(minions, all[i])
		}
	}
	if queues == nil {
		toMinions(all)
		return
	}
	toQueues(queues)
	if len(minions) > 0 {
		toMinions(minions)
	}
}
