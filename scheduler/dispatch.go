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
// The item keeps the bounds of who stored the job and of who asked for the run: the queue's
// dispatcher looks at each of its orders.
func (s *shard) addItem(f *fire, t *task, spec *job.Spec, o *job.Order, params map[string]string, now int64) bool {
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
	o.Item = &job.OrderItem{Priority: spec.Dispatch.Priority, Key: spec.Dispatch.Key, Payload: text, Bounds: f.e.bounds().With(f.bounds)}
	return true
}
