package plans

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

// MaxStored bounds the tasks that are stored of a plan, with those that amendments have replaced.
const MaxStored = 2 * plan.MaxTasks

const (
	// replacedWhy is why a task has ended that an amendment has changed.
	replacedWhy = "an amendment of the plan has changed it"
	leftOutWhy  = "an amendment of the plan has left it out"
	// keptMost is how many tasks are named that an amendment could not change.
	keptMost = 20
)

// errAmended is what a runner ends with that has taken an amendment over: the plan is read anew.
var errAmended = errors.New("the plan was amended")

// amending is an amendment that is being taken over.
type amending struct {
	*runner
	e etcdkv.Entry[etcdkv.StoredPlan]
	// in has for each task whether the new version has one of its id.
	in []bool
	// next is the number of the next task that is added.
	next int
	// begun counts the tasks that would be changed and have begun; kept names some.
	begun int
	kept  []string
}

// amend takes a new version of the plan over (P9), and returns errAmended. All that it does can
// be done again: tasks that are added are added under their ids, and those that they replace
// have their ends before.
func (r *runner) amend(ctx context.Context, e etcdkv.Entry[etcdkv.StoredPlan]) error {
	a := &amending{runner: r, e: e, in: make([]bool, len(r.l.state)), next: len(r.l.state)}
	version := r.k.cfg.Keys.PlanData(e.Value.Amendment.UID)
	if err := list(ctx, r.k.client, r.k.cfg.Timeout, version.Chunks(), func(key string, value []byte) error {
		tasks, err := etcdkv.DecodePlanTasks(key, value)
		if err != nil {
			return err
		}
		return a.chunk(ctx, tasks)
	}); err != nil {
		return fmt.Errorf("amend the plan: %w", err)
	}
	for t := range a.in {
		if a.in[t] {
			continue
		}
		if err := r.cancelTask(ctx, e.Value.Namespace, uint32(t), leftOutWhy); err != nil { //nolint:gosec // at most MaxStored
			return fmt.Errorf("amend the plan: %w", err)
		}
	}
	if err := r.flush(ctx, 1); err != nil {
		return err
	}
	return a.done(ctx)
}

// chunk adds what is new in a chunk of the new version.
func (a *amending) chunk(ctx context.Context, tasks []etcdkv.PlanTask) error {
	fresh := tasks[:0:0]
	for i := range tasks {
		t := &tasks[i]
		if n, ok := a.l.graph.Find(t.ID); ok {
			a.in[n] = true
			stays, err := a.stays(ctx, uint32(n), t) //nolint:gosec // at most MaxStored
			if err != nil {
				return err
			}
			if stays {
				continue
			}
		}
		t.Amends = &etcdkv.PlanSender{Subject: a.e.Value.Amendment.Subject}
		fresh = append(fresh, *t)
	}
	if err := a.flush(ctx, 1); err != nil || len(fresh) == 0 {
		return err
	}
	value, err := etcdkv.EncodePlanTasks(fresh)
	if err != nil {
		return err
	}
	resp, err := a.k.txn(ctx, []clientv3.Cmp{a.fence.Fence()}, clientv3.OpPut(a.keys.Chunk(a.next), value))
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return errFenced
	}
	a.next += len(fresh)
	return nil
}

// stays reports whether a task stays as it is: it is the same in the new version, or has
// begun. Else it has its end.
func (a *amending) stays(ctx context.Context, n uint32, t *etcdkv.PlanTask) (bool, error) {
	state := a.l.stateOf(n)
	if state == plan.Replaced {
		return false, nil // by this amendment, which was not done with
	}
	was, err := a.task(ctx, n)
	if err != nil {
		return false, err
	}
	if same, err := equal(&was.Task, &t.Task); err != nil || same {
		return same, err
	}
	switch state {
	case plan.Pending:
		a.change(n, etcdkv.PlanState{State: string(plan.Replaced), Reason: replacedWhy}, false)
		return false, a.flush(ctx, changesAtOnce)
	case plan.Queued:
		if gone, err := a.unqueue(ctx, was.Type, n); err != nil || gone {
			return false, err
		}
	default:
	}
	a.begun++
	if len(a.kept) < keptMost {
		a.kept = append(a.kept, t.ID)
	}
	return true, nil
}

func equal(a, b *plan.Task) (bool, error) {
	one, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	other, err := json.Marshal(b)
	return string(one) == string(other), err
}

// unqueue takes the item of a task out of its queue, if no worker has had it; the item tells
// of its end.
func (a *amending) unqueue(ctx context.Context, typ string, n uint32) (bool, error) {
	q, _, err := a.queue(ctx, a.e.Value.Namespace, typ)
	if err != nil || q == nil {
		return false, err
	}
	for range cancelTries {
		v, err := q.Find(ctx, ItemID(a.uid, int(n)))
		switch {
		case errors.Is(err, job.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case v.State != queue.StateWaiting && v.State != queue.StateDelayed || v.Attempt > 0:
			return false, nil
		}
		gone, err := q.Cancel(ctx, &v, replacedWhy)
		if !errors.Is(err, job.ErrConflict) {
			return gone, err
		}
	}
	return false, errors.New("an item keeps changing while it is to be replaced")
}

// done writes down that the new version is the plan.
func (a *amending) done(ctx context.Context) error {
	p, version := a.e.Value, a.e.Value.Amendment
	types := map[string]int{}
	for typ := range p.Types {
		types[typ] = 0
	}
	maps.Copy(types, version.Types)
	done := etcdkv.PlanAmended{Count: 1, At: version.At, By: version.By, Entries: a.next, Begun: a.begun, Kept: a.kept}
	if p.Amended != nil {
		done.Count += p.Amended.Count
	}
	p.Digest, p.Tasks, p.Types, p.Amended, p.Amendment = version.Digest, version.Tasks, types, &done, nil
	value, err := etcdkv.Encode(p)
	if err != nil {
		return err
	}
	gone, err := etcdkv.Encode(etcdkv.PlanStaging{Schema: etcdkv.Schema, At: a.k.now().UTC(), Gone: true})
	if err != nil {
		return err
	}
	resp, err := a.k.txn(ctx, []clientv3.Cmp{a.fence.Fence(), clientv3.Compare(clientv3.ModRevision(a.key), "=", a.e.ModRevision)},
		clientv3.OpPut(a.key, value), clientv3.OpPut(a.k.cfg.Keys.PlanStaging(version.UID), gone))
	if err != nil {
		return err
	}
	rev := resp.Header.Revision
	if !resp.Succeeded { // something was ordered meanwhile, or this is not the owner: it is done again
		rev = a.e.ModRevision + 1
	} else {
		a.log.Info("plan amended", zap.Int("tasks", version.Tasks), zap.Int("added", a.next-len(a.in)), zap.Int("begun", a.begun))
	}
	for { // until that is seen, and not done again
		changed := a.k.change()
		if e, ok := a.k.plan(a.key); !ok || e.ModRevision >= rev || !a.fence.Held() {
			return errAmended
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(lookEvery):
		}
	}
}
