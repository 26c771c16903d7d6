package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Dead is an item that was given up.
type Dead struct {
	Item
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Dead returns dead letters by falling priority, then by ID: at most limit, and
// those after the given one, if it is not nil.
func (q *Queue) Dead(ctx context.Context, after *Dead, limit int) ([]Dead, error) {
	if limit <= 0 {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "limit", Message: strconv.Itoa(limit) + " is not positive"}}}
	}
	from, end := q.keys.Dead(), clientv3.GetPrefixRangeEnd(q.keys.Dead())
	if after != nil {
		from = q.keys.DeadItem(after.Priority, after.ID) + "\x00"
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	resp, err := q.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", etcdkv.Unavailable(err))
	}
	list := make([]Dead, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		priority, id, ok := q.keys.Parse(q.keys.Dead(), string(kv.Key))
		if !ok {
			continue
		}
		v, err := etcdkv.Decode[etcdkv.QueueDead](string(kv.Key), kv.Value)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		item, err := etcdkv.Decode[etcdkv.QueueItem](string(kv.Key), v.Item)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		list = append(list, Dead{
			Item:     Item{ID: id, Priority: priority, Payload: item.Payload, Key: item.Key, Bounds: item.Bounds, Subject: item.Subject, JobAuthor: item.JobAuthor},
			Attempts: item.Attempt, Reason: v.Reason, At: v.At,
		})
	}
	return list, nil
}

// Redrive puts a dead letter back into the queue, at the end of the line and
// with all attempts before it. The error wraps job.ErrNotFound when there is no
// such dead letter, and job.ErrConflict when somebody else was faster.
func (q *Queue) Redrive(ctx context.Context, priority int, id string) error {
	return q.RedriveAnd(ctx, priority, id, nil)
}

// RedriveAnd is Redrive, has the item be within further bounds from now on, and does also in
// the same transaction.
func (q *Queue) RedriveAnd(ctx context.Context, priority int, id string, within job.Bounds, also ...clientv3.Op) error {
	dead, item := q.keys.DeadItem(priority, id), q.keys.Item(priority, id)
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	got, err := q.client.Get(ctx, dead)
	if err != nil {
		return fmt.Errorf("redrive item %s: %w", id, etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 {
		return fmt.Errorf("redrive item %s: dead letter %w", id, job.ErrNotFound)
	}
	v, err := etcdkv.Decode[etcdkv.QueueDead](dead, got.Kvs[0].Value)
	if err != nil {
		return fmt.Errorf("redrive item %s: %w", id, err)
	}
	again, err := etcdkv.Decode[etcdkv.QueueItem](dead, v.Item)
	if err != nil {
		return fmt.Errorf("redrive item %s: %w", id, err)
	}
	// It is a new piece of work to its workers: what they remember of the old one does
	// not count.
	again.Attempt, again.At, again.NotBefore, again.ExpiresAt = 0, 0, time.Time{}, time.Time{}
	again.Tried, again.TriedLeftOut, again.Uncounted = nil, 0, 0
	again.Bounds = again.Bounds.With(within)
	again.Origin = nil // the run of that occurrence has ended
	value, err := etcdkv.MergeUnknown(v.Item, again)
	if err != nil {
		return fmt.Errorf("redrive item %s: %w", id, err)
	}
	resp, err := q.txn(ctx,
		[]clientv3.Cmp{unchanged(dead, got.Kvs[0].ModRevision), absent(item)},
		append([]clientv3.Op{clientv3.OpDelete(dead), clientv3.OpPut(item, value)}, also...))
	if err != nil {
		return fmt.Errorf("redrive item %s: %w", id, err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("redrive item %s: it was changed meanwhile; try again: %w", id, job.ErrConflict)
	}
	return nil
}
