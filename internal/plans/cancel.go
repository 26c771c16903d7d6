package plans

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

// obey does what people have ordered of the plan, and takes the orders off (P7). An order that
// cannot be done as a whole now stays.
func (r *runner) obey(ctx context.Context, e etcdkv.Entry[etcdkv.StoredPlan]) error {
	if len(e.Value.Orders) == 0 {
		return nil
	}
	for i := range e.Value.Orders {
		if err := r.cancel(ctx, &e.Value, &e.Value.Orders[i]); err != nil {
			return err
		}
	}
	// The ends are written down before the order goes: the next owner has one or the other.
	if err := r.flush(ctx, 1); err != nil {
		return err
	}
	p := e.Value
	p.Orders = nil
	value, err := etcdkv.Encode(p)
	if err != nil {
		return err
	}
	// If it has changed meanwhile, there is a further order: all are done again then.
	_, err = r.k.txn(ctx, []clientv3.Cmp{r.fence.Fence(), clientv3.Compare(clientv3.ModRevision(r.key), "=", e.ModRevision)}, clientv3.OpPut(r.key, value))
	return err
}

// cancel cancels tasks.
func (r *runner) cancel(ctx context.Context, p *etcdkv.StoredPlan, o *etcdkv.PlanOrder) error {
	why := "cancelled"
	if o.By != "" {
		why += " by " + o.By
	}
	if o.Reason != "" {
		why += ": " + o.Reason
	}
	one := func(t uint32) error { return r.cancelTask(ctx, p.Namespace, t, why) }
	switch {
	case len(o.Tasks) > 0:
		for _, id := range o.Tasks {
			if t, ok := r.l.graph.Find(id); ok {
				if err := one(uint32(t)); err != nil { //nolint:gosec // at most MaxStored
					return err
				}
			}
		}
		return nil
	case o.Group == "":
		for t := range r.l.state {
			if err := one(uint32(t)); err != nil { //nolint:gosec // at most MaxStored
				return err
			}
		}
		return nil
	}
	return list(ctx, r.k.client, r.k.cfg.Timeout, r.keys.Chunks(), func(key string, value []byte) error {
		first, _ := r.keys.ParseChunk(key)
		tasks, err := etcdkv.DecodePlanTasks(key, value)
		if err != nil {
			return err
		}
		for i := range tasks {
			if tasks[i].Group != o.Group {
				continue
			}
			if err := one(uint32(first + i)); err != nil { //nolint:gosec // at most MaxStored
				return err
			}
		}
		return nil
	})
}

// cancelTask cancels a task, unless it has ended.
func (r *runner) cancelTask(ctx context.Context, ns string, t uint32, why string) error {
	switch s := r.l.stateOf(t); {
	case s.Final():
		return nil
	case s == plan.Pending:
		r.change(t, etcdkv.PlanState{State: string(plan.Cancelled), Reason: why}, false)
		return r.flush(ctx, changesAtOnce)
	}
	return r.cancelItem(ctx, ns, r.l.types[r.l.typ[t]], t, why)
}

// flush writes down what has changed, until fewer changes than least are left.
func (r *runner) flush(ctx context.Context, least int) error {
	for len(r.changes) >= least {
		if _, err := r.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cancelTries is how often an item is looked for that changes meanwhile.
const cancelTries = 20

// cancelItem takes the item of a task out of its queue, or has its worker end it. The item
// tells of its end.
func (r *runner) cancelItem(ctx context.Context, ns, typ string, t uint32, why string) error {
	q, _, err := r.queue(ctx, ns, typ)
	if err != nil || q == nil {
		return err
	}
	for range cancelTries {
		v, err := q.Find(ctx, ItemID(r.uid, int(t)))
		if errors.Is(err, job.ErrNotFound) || err == nil && v.State == queue.StateDead {
			return nil // it has ended, and tells of it
		}
		if err != nil {
			return err
		}
		if _, err = q.Cancel(ctx, &v, why); !errors.Is(err, job.ErrConflict) {
			return err
		}
	}
	return errors.New("an item keeps changing while it is to be cancelled")
}
