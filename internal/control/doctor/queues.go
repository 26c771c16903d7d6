package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Queues are the cluster's queues. Those of a list come without their workers.
type Queues interface {
	Queues(ctx context.Context, namespace string) ([]api.Queue, error)
	Queue(ctx context.Context, key job.Key) (api.Queue, error)
}

// unattended is how long an item waits until it is told that nobody works on its queue.
const unattended = time.Minute

// checkQueues looks for items on which nobody works, and for dead letters.
func (c *Checker) checkQueues(ctx context.Context) ([]api.Check, error) {
	all, err := c.queues.Queues(ctx, "")
	if err != nil {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	found := ailments{name: "queues", status: api.CheckWarn, hint: "see `carillon queue list -A`"}
	for i := range all {
		q := &all[i]
		name, hint := q.Key().String(), askWhoMay
		if !sees(rights.Queues, q.Namespace, q.Labels) {
			name = hiddenName
		}
		if q.Waiting > int64(q.Delayed) && q.Hold == nil && !q.OldestPutAt.IsZero() && c.db.Now().Sub(q.OldestPutAt) > unattended {
			full, err := c.queues.Queue(ctx, q.Key())
			if err != nil {
				return nil, err
			}
			if !worked(full.Workers) {
				if name != hiddenName {
					hint = fmt.Sprintf("start a minion with worker --queue %s:1; `carillon queue show %s` tells of those that its target does not match", name, name)
				}
				found.add(fmt.Sprintf("%d items of queue %s wait, and no minion works on it", q.Waiting, name), hint)
			}
		}
		if q.Dead > 0 {
			if name != hiddenName {
				hint = fmt.Sprintf("see `carillon queue dead %s`; then redrive or purge them", name)
			}
			found.add(fmt.Sprintf("dead letters in queue %s: %d", name, q.Dead), hint)
		}
	}
	if len(found.checks) == 0 {
		return nil, nil
	}
	return found.all(""), nil
}

// worked reports whether a minion works on a queue.
func worked(all []api.QueueWorker) bool {
	return slices.ContainsFunc(all, func(w api.QueueWorker) bool { return w.AwaySince.IsZero() && w.Trouble == "" })
}
