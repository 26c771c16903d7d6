package queue

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// An item may be the occurrence of a job, or the task of a plan. What becomes of it is told under a key of its
// own, which outlives the item: the transaction that ends the item writes how (Q12).

// told returns the operation by which an item tells how it has ended; none: nobody asked
// for it. report is of its last attempt, and may be nil; reason goes before its own.
func (q *Queue) told(id string, origin *job.ItemOrigin, state job.State, reason string, report *job.Report) ([]clientv3.Op, error) {
	if origin == nil {
		return nil, nil
	}
	fire := etcdkv.QueueFire{Schema: etcdkv.Schema, ItemOrigin: *origin, End: &etcdkv.QueueEnd{State: state, Reason: reason, EndedAt: time.Now().UTC()}}
	if r := report; r != nil {
		end := fire.End
		end.State, end.StartedAt, end.Exit, end.Stdout, end.Stderr = r.State, r.StartedAt, r.Exit, r.Stdout, r.Stderr
		if !r.EndedAt.IsZero() {
			end.EndedAt = r.EndedAt
		}
		if end.Reason == "" {
			end.Reason = r.Reason
		}
		fire.StartedAt = r.StartedAt
		if it := r.Item; it != nil {
			fire.Minion, fire.Tries, fire.RunID = it.Minion, it.Attempt, it.RunID
		}
	}
	value, err := etcdkv.Encode(fire)
	return []clientv3.Op{clientv3.OpPut(q.toldAt(id, origin), value)}, err
}

// toldAt is the key at which an item tells how it has ended: that of an occurrence, or of a
// plan's task.
func (q *Queue) toldAt(id string, origin *job.ItemOrigin) string {
	if p := origin.Plan; p != nil {
		return q.cfg.Keys.PlanData(p.UID).Item(p.Number)
	}
	return q.keys.Fire(id)
}

// toldBy is told for an item by its value.
func (q *Queue) toldBy(id string, value []byte, state job.State, reason string) ([]clientv3.Op, error) {
	item, err := etcdkv.Decode[etcdkv.QueueItem](id, value)
	if err != nil {
		return nil, err
	}
	return q.told(id, item.Origin, state, reason, nil)
}

// Begin tells whoever asked for a claimed item that its worker has begun with it, as what
// run, if the claim holds. Nobody has asked for an item without an origin.
func (q *Queue) Begin(ctx context.Context, r Receipt, as job.TaskItem, at time.Time) error {
	if r.Origin == nil {
		return nil
	}
	value, err := etcdkv.Encode(etcdkv.QueueFire{
		Schema: etcdkv.Schema, ItemOrigin: *r.Origin, Minion: as.Minion, Tries: as.Attempt, RunID: as.RunID, StartedAt: at,
	})
	if err != nil {
		return err
	}
	resp, err := q.txn(ctx, []clientv3.Cmp{created(q.keys.Marker(r.Priority, r.ID), r.Marker)}, []clientv3.Op{clientv3.OpPut(q.toldAt(r.ID, r.Origin), value)})
	if err != nil {
		return fmt.Errorf("tell that item %s has begun: %w", r.ID, err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("item %s: %w", r.ID, ErrLost)
	}
	return nil
}
