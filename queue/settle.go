package queue

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Done ends a claim and takes the item out of the queue, or returns ErrLost.
func (q *Queue) Done(ctx context.Context, r Receipt) error {
	item, marker := q.keys.Item(r.Priority, r.ID), q.keys.Marker(r.Priority, r.ID)
	resp, err := q.txn(ctx,
		[]clientv3.Cmp{created(marker, r.Marker), unchanged(item, r.Item)},
		[]clientv3.Op{clientv3.OpDelete(item), clientv3.OpDelete(marker)})
	if err != nil {
		return fmt.Errorf("done with item %s: %w", r.ID, err)
	}
	return q.settled(resp, r, "done")
}

// Fail ends a claim without success, or returns ErrLost. The item waits and is
// tried again, or becomes a dead letter when that was its last attempt.
func (q *Queue) Fail(ctx context.Context, r Receipt, reason string) error {
	item, marker := q.keys.Item(r.Priority, r.ID), q.keys.Marker(r.Priority, r.ID)
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	got, err := q.client.Get(ctx, item)
	if err != nil {
		return fmt.Errorf("fail item %s: %w", r.ID, etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 || got.Kvs[0].ModRevision != r.Item {
		return fmt.Errorf("fail item %s: %w", r.ID, ErrLost)
	}
	raw := got.Kvs[0].Value
	was, err := etcdkv.Decode[etcdkv.QueueItem](item, raw)
	if err != nil {
		return err
	}
	was.LastError = reason
	was.NotBefore = time.Now().Add(q.cfg.Retry.Delay(was.Attempt + 1)).UTC()
	value, err := etcdkv.MergeUnknown(raw, was)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpDelete(marker)}
	result := "failed"
	if was.Attempt < q.cfg.Retry.Attempts {
		ops = append(ops, clientv3.OpPut(item, value))
	} else {
		dead, err := q.bury(r.Priority, r.ID, []byte(value), reason)
		if err != nil {
			return err
		}
		ops, result = append(ops, dead...), "dead"
	}
	resp, err := q.txn(ctx, []clientv3.Cmp{created(marker, r.Marker), unchanged(item, r.Item)}, ops)
	if err != nil {
		return fmt.Errorf("fail item %s: %w", r.ID, err)
	}
	return q.settled(resp, r, result)
}

// Extend gives a claim the full visibility again, from now, or returns ErrLost.
func (q *Queue) Extend(ctx context.Context, r Receipt) error {
	marker := q.keys.Marker(r.Priority, r.ID)
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	got, err := q.client.Get(ctx, marker)
	if err != nil {
		return fmt.Errorf("extend claim of item %s: %w", r.ID, etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 || got.Kvs[0].CreateRevision != r.Marker {
		return fmt.Errorf("extend claim of item %s: %w", r.ID, ErrLost)
	}
	// The dispatcher counts the deadline from the write, so the same value will do.
	resp, err := q.txn(ctx, []clientv3.Cmp{created(marker, r.Marker)},
		[]clientv3.Op{clientv3.OpPut(marker, string(got.Kvs[0].Value), clientv3.WithIgnoreLease())})
	if err != nil {
		return fmt.Errorf("extend claim of item %s: %w", r.ID, err)
	}
	return q.settled(resp, r, "extended")
}

func (q *Queue) settled(resp *clientv3.TxnResponse, r Receipt, result string) error {
	if !resp.Succeeded {
		q.metrics.claims.WithLabelValues("lost").Inc()
		return fmt.Errorf("item %s: %w", r.ID, ErrLost)
	}
	q.metrics.claims.WithLabelValues(result).Inc()
	return nil
}

// bury returns the operations that make an item a dead letter. item is its value.
func (q *Queue) bury(priority int, id string, item []byte, reason string) ([]clientv3.Op, error) {
	value, err := etcdkv.Encode(etcdkv.QueueDead{Schema: etcdkv.Schema, Item: item, Reason: reason, At: time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	return []clientv3.Op{
		clientv3.OpDelete(q.keys.Item(priority, id)),
		clientv3.OpPut(q.keys.DeadItem(priority, id), value),
	}, nil
}
