package scheduler

import (
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A job may have its occurrences be items of a queue. The queue stands in the place of a
// minion then: its order puts the item, and what becomes of the item is what a minion says
// of a task. So all that is said of owners, recovery and records holds for it.

// awaitsWorker tells what a task waits for that is an item in a queue.
const awaitsWorker = "waiting in its queue for a worker"

// awaitsWorker reports whether a task is an item that no worker has begun with.
func (t *task) awaitsWorker() bool { return t.phase == phase.Held && t.minion.IsQueue() }

// addItem adds to an order to a queue what it puts there. It is false if nothing may be put.
// What runs, and where, is the queue's, so that bounds of commands and minions say nothing
// of it: who stored the job had the right to put items there; who has bounds has it not.
func (s *shard) addItem(f *fire, t *task, spec *job.Spec, o *job.Order, params map[string]string, now int64) bool {
	if len(f.bounds) > 0 {
		s.finish(f, t, now, job.StateRejected, "who asked for the run may start it within bounds only, and those allow nothing on queues")
		return false
	}
	if spec.Dispatch == nil {
		s.finish(f, t, now, job.StateRejected, "the job was edited meanwhile, and is dispatched to a queue no more")
		return false
	}
	text, err := spec.ItemPayload(params)
	if err != nil {
		s.finish(f, t, now, job.StateRejected, "the payload of the item cannot be made: "+err.Error())
		return false
	}
	o.Env, o.Secrets = nil, nil
	o.Item = &job.OrderItem{Priority: spec.Dispatch.Priority, Key: spec.Dispatch.Key, Payload: text}
	return true
}
