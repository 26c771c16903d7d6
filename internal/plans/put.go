package plans

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

const (
	// putTogether is how many tasks one transaction puts: each has a compare of its own
	// besides those of owner, plan and queue.
	putTogether = queue.MaxGuards - 3
	// putAtOnce is how many tasks of a type are put before others have their turn, by putters
	// goroutines.
	putAtOnce = 200
	putters   = 8
	// putAgain is the pause after a queue took nothing.
	putAgain = time.Second
)

// opened is a queue as it is described.
type opened struct {
	*queue.Queue
	etcdkv.StoredQueue
	rev int64
}

// group is what is put together.
type group struct {
	q     *opened
	tasks []uint32
	items []queue.Item

	// What came of them: put are in the queue, foreign have ids that somebody else's items
	// have, refused are those that the queue does not take. rest were not put, for err.
	put, foreign []uint32
	refused      []refused
	rest         []uint32
	err          error
}

// refused is a task that its queue does not take.
type refused struct {
	task uint32
	why  error
}

// put puts tasks into their queues, and reports whether there may be more at once.
func (r *runner) put(ctx context.Context, e etcdkv.Entry[etcdkv.StoredPlan]) (bool, error) {
	var groups []*group
	now, more := r.k.now(), false
	for typ, name := range r.l.types {
		room := r.k.cfg.Window - r.l.out[typ]
		if room <= 0 || r.l.ready[typ].Len() == 0 || now.Before(r.notBefore[name]) {
			continue
		}
		q, why, err := r.queue(ctx, e.Value.Namespace, name)
		if err != nil {
			return false, err
		}
		if why != "" || q != nil && q.Hold != nil && q.Hold.Draining {
			if why == "" {
				why = "the queue is draining, and takes no items"
			}
			r.troubled(name, why)
			r.notBefore[name] = now.Add(putAgain)
			continue
		}
		tasks := r.l.take(typ, min(room, putAtOnce))
		more = more || len(tasks) == putAtOnce
		made, err := r.itemsOf(ctx, &e.Value, q, tasks)
		if err != nil {
			return false, err
		}
		groups = append(groups, made...)
	}
	if len(groups) == 0 {
		return len(r.changes) > 0, nil
	}
	var wg sync.WaitGroup
	work := make(chan *group)
	for range min(putters, len(groups)) {
		wg.Go(func() {
			for g := range work {
				r.putGroup(ctx, e.ModRevision, g)
			}
		})
	}
	for _, g := range groups {
		work <- g
	}
	close(work)
	wg.Wait()
	return r.afterPut(now, groups, more)
}

// afterPut takes what came of putting.
func (r *runner) afterPut(now time.Time, groups []*group, more bool) (bool, error) {
	for _, g := range groups {
		name := g.q.Name
		for _, t := range g.put {
			r.change(t, etcdkv.PlanState{State: string(plan.Queued)}, false)
		}
		for _, t := range g.foreign {
			r.change(t, etcdkv.PlanState{State: string(plan.Failed), Reason: "the queue has another item of this id, which somebody put"}, false)
		}
		for _, f := range g.refused {
			r.change(f.task, etcdkv.PlanState{State: string(plan.Failed), Reason: "the queue does not take it: " + f.why.Error()}, false)
		}
		switch {
		case g.err == nil:
			r.troubled(name, "")
		case errors.Is(g.err, queue.ErrChanged): // what has changed is seen soon
			r.again(g.rest, now)
			r.notBefore[name], more = now.Add(lookEvery), false
		default:
			return false, g.err
		}
	}
	return more || len(r.changes) > 0, nil
}

// again has tasks be put that were taken for it.
func (r *runner) again(tasks []uint32, now time.Time) {
	for _, t := range tasks {
		r.l.free(t, now)
	}
}

// putGroup puts tasks together (P3), or one by one where one of them is in the way of the
// others: the key of a task's item is never written without the item.
func (r *runner) putGroup(ctx context.Context, planRev int64, g *group) {
	r.putPart(ctx, planRev, g, 0, len(g.tasks))
}

func (r *runner) putPart(ctx context.Context, planRev int64, g *group, from, to int) {
	var invalid *job.InvalidError
	added, err := r.add(ctx, planRev, g.q, g.tasks[from:to], g.items[from:to])
	switch alone := to-from == 1; {
	case err == nil && alone && added[0].Duplicate:
		g.foreign = append(g.foreign, g.tasks[from])
	case err == nil:
		g.put = append(g.put, g.tasks[from:to]...)
	case !alone && (errors.Is(err, queue.ErrApart) || errors.As(err, &invalid)):
		for i := from; i < to && g.err == nil; i++ {
			r.putPart(ctx, planRev, g, i, i+1)
		}
	case errors.As(err, &invalid):
		g.refused = append(g.refused, refused{g.tasks[from], err})
	default:
		g.err, g.rest = err, g.tasks[from:]
	}
}

// add puts items, and with them the keys that tell of them, by one transaction.
func (r *runner) add(ctx context.Context, planRev int64, q *opened, tasks []uint32, items []queue.Item) ([]queue.Added, error) {
	along := queue.Along{Together: true, Guards: []clientv3.Cmp{
		r.fence.Fence(),
		clientv3.Compare(clientv3.ModRevision(r.key), "=", planRev),
		clientv3.Compare(clientv3.ModRevision(r.k.cfg.Keys.QueueType(q.Key())), "=", q.rev),
	}}
	for i, t := range tasks {
		name := r.keys.Item(int(t))
		value, err := etcdkv.Encode(etcdkv.QueueFire{Schema: etcdkv.Schema, ItemOrigin: *items[i].Origin})
		if err != nil {
			return nil, err
		}
		along.Guards = append(along.Guards, clientv3.Compare(clientv3.CreateRevision(name), "=", 0))
		along.Ops = append(along.Ops, clientv3.OpPut(name, value))
	}
	return q.Add(ctx, items, along)
}

// itemsOf makes the items of tasks. Those that their queue does not take have failed.
func (r *runner) itemsOf(ctx context.Context, p *etcdkv.StoredPlan, q *opened, tasks []uint32) ([]*group, error) {
	var out []*group
	for _, t := range tasks {
		if q == nil {
			r.change(t, etcdkv.PlanState{State: string(plan.Failed), Reason: "its queue does not exist any more"}, false)
			continue
		}
		task, err := r.task(ctx, t)
		if err != nil {
			return nil, err
		}
		text := task.Payload()
		if wrong := queues.Unfit(&q.Spec, string(text)); wrong != "" {
			r.change(t, etcdkv.PlanState{State: string(plan.Failed), Reason: "the queue does not take its parameters any more: " + wrong}, false)
			continue
		}
		item := queue.Item{
			ID: ItemID(r.uid, int(t)), Priority: task.Priority, Payload: text, Bounds: task.Bounds, ExpiresAt: task.Deadline, Subject: p.Subject,
			Origin: &job.ItemOrigin{Plan: &job.ItemPlan{UID: r.uid, Number: int(t), Name: p.Upstream + "/" + p.ID, Task: task.ID}},
		}
		if task.Amends != nil {
			item.Subject = task.Amends.Subject
		}
		if item.ExpiresAt.IsZero() && q.Spec.ExpireAfter != 0 {
			item.ExpiresAt = r.k.now().Add(time.Duration(q.Spec.ExpireAfter)).UTC()
		}
		if n := len(out); n == 0 || len(out[n-1].tasks) == putTogether {
			out = append(out, &group{q: q})
		}
		g := out[len(out)-1]
		g.tasks, g.items = append(g.tasks, t), append(g.items, item)
	}
	return out, nil
}

// ItemID is the id of the item that a task of a plan becomes.
func ItemID(uid job.UID, number int) string { return fmt.Sprintf("%s.%d", uid, number) }

// task reads a task.
func (r *runner) task(ctx context.Context, t uint32) (*etcdkv.PlanTask, error) {
	first, _ := r.l.chunk(t)
	tasks, ok := r.tasks.get(first)
	if !ok {
		name := r.keys.Chunk(first)
		resp, err := r.k.txn(ctx, nil, clientv3.OpGet(name))
		if err != nil {
			return nil, err
		}
		kvs := resp.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 {
			return nil, errFenced // the plan is gone
		}
		if tasks, err = etcdkv.DecodePlanTasks(name, kvs[0].Value); err != nil {
			return nil, err
		}
		r.tasks.set(first, tasks)
	}
	return &tasks[int(t)-first], nil
}

// queue returns the queue of a type; nil: there is none. It says why it takes nothing now.
func (r *runner) queue(ctx context.Context, ns, typ string) (q *opened, why string, err error) {
	key := job.Key{Namespace: ns, Name: typ}
	name := r.k.cfg.Keys.QueueType(key)
	all, rev := r.k.types.Snapshot()
	e, ok := all[name]
	switch {
	case rev == 0:
		return nil, "the queues are not known yet", nil
	case !ok:
		// The view may be old: what is lost by it does not come back.
		resp, err := r.k.txn(ctx, nil, clientv3.OpGet(name, clientv3.WithCountOnly()))
		if err != nil {
			return nil, "", err
		}
		if resp.Responses[0].GetResponseRange().Count > 0 {
			return nil, "the queue is new", nil
		}
		return nil, "", nil
	}
	if q = r.queues[typ]; q == nil || q.rev != e.ModRevision {
		opening, err := queues.Open(r.k.cfg.Keys, r.k.client, r.log, &e.Value.Queue)
		if err != nil {
			return nil, "", err
		}
		q = &opened{Queue: opening, StoredQueue: e.Value, rev: e.ModRevision}
		r.queues[typ] = q
	}
	counts, err := q.Stats(ctx)
	if err != nil {
		return nil, "", err
	}
	if all, most := counts.Waiting+counts.InFlight+counts.Dead, int64(q.Spec.EffectiveMaxItems()); all >= most {
		return q, fmt.Sprintf("the queue is full: it has %d items, and takes %d (maxItems)", all, most), nil
	}
	return q, "", nil
}
