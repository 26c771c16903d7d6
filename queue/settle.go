package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Done ends a claim and takes the item out of the queue, or returns ErrLost.
func (q *Queue) Done(ctx context.Context, r Receipt) error {
	return q.Settle(ctx, r, Outcome{Result: Succeeded})
}

// Fail ends a claim without success, or returns ErrLost. The item waits and is
// tried again, or becomes a dead letter when that was its last attempt.
func (q *Queue) Fail(ctx context.Context, r Receipt, reason string) error {
	return q.Settle(ctx, r, Outcome{Result: Failed, Reason: reason})
}

// Result says how a claim ends.
type Result uint8

// The results.
const (
	// Succeeded, and Dropped, take the item out of the queue.
	Succeeded Result = iota
	Dropped
	// Failed has it tried again after a pause, unless that was its last attempt.
	Failed
	// Hopeless makes it a dead letter, whatever attempts are left.
	Hopeless
	// Lost has it be the first in line again, as when a worker's lease ends.
	Lost
	// Snoozed has it wait for Outcome.After, and be tried again. It is no attempt.
	Snoozed
)

// resultNames are the results as the metrics call them.
var resultNames = [...]string{Succeeded: "done", Dropped: "dropped", Failed: "failed", Hopeless: "dead", Lost: "given-back", Snoozed: "snoozed"}

// Outcome is how a claim ends, and why.
type Outcome struct {
	Result Result
	Reason string
	// After is how long an item that is snoozed waits.
	After time.Duration
	// Checkpoint is what the worker has left for the next one. Empty: what it has left
	// before (Queue.Checkpoint) counts.
	Checkpoint string
	// Tried, unless nil, is kept with an item that is tried again (Claimed.Tried).
	Tried *job.Attempt
	// Report, unless nil, is the worker's last: what asked for the item is told of it
	// when the item ends (Q12).
	Report *job.Report
}

// maxTried bounds the attempts that are kept with an item.
const maxTried = 20

// keep adds an attempt to those that are kept with an item.
func keep(item *etcdkv.QueueItem, tried *job.Attempt) {
	if tried == nil {
		return
	}
	item.Tried = append(item.Tried, *tried)
	if over := len(item.Tried) - maxTried; over > 0 {
		item.Tried, item.TriedLeftOut = item.Tried[over:], item.TriedLeftOut+over
	}
}

// Settle ends a claim, or returns ErrLost. What else has to hold, such as the fence of
// a dispatcher that settles for its workers, is in also.
func (q *Queue) Settle(ctx context.Context, r Receipt, o Outcome, also ...clientv3.Cmp) error {
	marker := q.keys.Marker(r.Priority, r.ID)
	cmps := append([]clientv3.Cmp{created(marker, r.Marker), unchanged(q.keys.Item(r.Priority, r.ID), r.Item)}, also...)
	ops := []clientv3.Op{clientv3.OpDelete(marker), clientv3.OpDelete(q.keys.Cancel(r.Priority, r.ID))}
	result := o.Result
	switch result {
	case Succeeded, Dropped:
		state := job.StateSucceeded
		if result == Dropped {
			state = job.StateCancelled
		}
		told, err := q.told(r.ID, r.Origin, state, o.Reason, o.Report)
		if err != nil {
			return err
		}
		ops = append(append(ops, clientv3.OpDelete(q.keys.Item(r.Priority, r.ID))), told...)
	case Lost:
		ops = ops[:1] // an order to end the item holds on
		if o.Tried != nil {
			more, err := q.gaveBack(ctx, r, o)
			if err != nil {
				return err
			}
			ops = append(ops, more)
		}
	case Failed, Hopeless, Snoozed:
		more, dead, err := q.failed(ctx, r, o)
		if err != nil {
			return err
		}
		if ops = append(ops, more...); dead {
			result = Hopeless
		}
	}
	resp, err := q.txn(ctx, cmps, ops)
	if err != nil {
		return fmt.Errorf("settle item %s: %w", r.ID, err)
	}
	return q.settled(resp, r, resultNames[result])
}

// Ended is a claim that was done, and the worker's report, as in Outcome.
type Ended struct {
	Receipt
	Report *job.Report
}

// maxEndOps bounds the operations of a transaction that ends claims, of three or four keys
// each: etcd takes 128.
const maxEndOps = 120

// ops is how many operations end the claim.
func (e *Ended) ops() int {
	if e.Origin != nil {
		return 4
	}
	return 3
}

// DoneAll is Settle with Succeeded for several claims, each given once, in few
// transactions. It returns what Settle would for each, in their order.
func (q *Queue) DoneAll(ctx context.Context, ended []Ended, also ...clientv3.Cmp) []error {
	errs := make([]error, len(ended))
	for from := 0; from < len(ended); {
		to, ops := from, 0
		for to < len(ended) && ops+ended[to].ops() <= maxEndOps {
			ops += ended[to].ops()
			to++
		}
		q.doneAll(ctx, ended[from:to], errs[from:to], also)
		from = to
	}
	return errs
}

// doneAll ends claims together, or, where one of them does not hold, by halves.
func (q *Queue) doneAll(ctx context.Context, ended []Ended, errs []error, also []clientv3.Cmp) {
	if len(ended) == 1 {
		errs[0] = q.Settle(ctx, ended[0].Receipt, Outcome{Result: Succeeded, Report: ended[0].Report}, also...)
		return
	}
	cmps := slices.Clone(also)
	var ops []clientv3.Op
	for i := range ended {
		r := &ended[i].Receipt
		item, marker := q.keys.Item(r.Priority, r.ID), q.keys.Marker(r.Priority, r.ID)
		cmps = append(cmps, created(marker, r.Marker), unchanged(item, r.Item))
		ops = append(ops, clientv3.OpDelete(marker), clientv3.OpDelete(q.keys.Cancel(r.Priority, r.ID)), clientv3.OpDelete(item))
		told, err := q.told(r.ID, r.Origin, job.StateSucceeded, "", ended[i].Report)
		if err != nil {
			for i := range errs {
				errs[i] = err
			}
			return
		}
		ops = append(ops, told...)
	}
	resp, err := q.txn(ctx, cmps, ops)
	switch {
	case err != nil:
		for i := range errs {
			errs[i] = fmt.Errorf("settle item %s: %w", ended[i].ID, err)
		}
	case resp.Succeeded:
		q.metrics.claims.WithLabelValues(resultNames[Succeeded]).Add(float64(len(ended)))
	default:
		half := len(ended) / 2
		q.doneAll(ctx, ended[:half], errs[:half], also)
		q.doneAll(ctx, ended[half:], errs[half:], also)
	}
}

// claimed reads the item of a claim, with the checkpoint that its worker has left.
func (q *Queue) claimed(ctx context.Context, r Receipt, left string) (was etcdkv.QueueItem, raw []byte, err error) {
	item, marker := q.keys.Item(r.Priority, r.ID), q.keys.Marker(r.Priority, r.ID)
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	got, err := q.client.Txn(ctx).Then(clientv3.OpGet(item), clientv3.OpGet(marker)).Commit()
	if err != nil {
		return was, nil, fmt.Errorf("settle item %s: %w", r.ID, etcdkv.Unavailable(err))
	}
	items, markers := got.Responses[0].GetResponseRange().GetKvs(), got.Responses[1].GetResponseRange().GetKvs()
	if len(items) == 0 || items[0].ModRevision != r.Item || len(markers) == 0 || markers[0].CreateRevision != r.Marker {
		return was, nil, fmt.Errorf("settle item %s: %w", r.ID, ErrLost)
	}
	raw = items[0].Value
	if was, err = etcdkv.Decode[etcdkv.QueueItem](item, raw); err != nil {
		return was, nil, err
	}
	m, err := etcdkv.Decode[etcdkv.QueueMarker](marker, markers[0].Value)
	was.Checkpoint = cmp.Or(left, m.Checkpoint, was.Checkpoint)
	return was, raw, err
}

// Checkpoint keeps what a worker has left with its claim, or returns ErrLost (Q13). What
// else has to hold is in also.
func (q *Queue) Checkpoint(ctx context.Context, r Receipt, text string, also ...clientv3.Cmp) error {
	if len(text) > job.MaxCheckpoint {
		return &job.InvalidError{Problems: []job.Problem{{Path: "checkpoint", Message: fmt.Sprintf("has %d bytes; at most %d are allowed", len(text), job.MaxCheckpoint)}}}
	}
	key := q.keys.Marker(r.Priority, r.ID)
	bounded, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	got, err := q.client.Get(bounded, key)
	if err != nil {
		return fmt.Errorf("checkpoint of item %s: %w", r.ID, etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 || got.Kvs[0].CreateRevision != r.Marker {
		return fmt.Errorf("checkpoint of item %s: %w", r.ID, ErrLost)
	}
	marker, err := etcdkv.Decode[etcdkv.QueueMarker](key, got.Kvs[0].Value)
	if err != nil {
		return err
	}
	marker.Checkpoint = text
	value, err := etcdkv.MergeUnknown(got.Kvs[0].Value, marker)
	if err != nil {
		return err
	}
	resp, err := q.txn(ctx, append([]clientv3.Cmp{created(key, r.Marker)}, also...), []clientv3.Op{clientv3.OpPut(key, value, clientv3.WithIgnoreLease())})
	if err != nil {
		return fmt.Errorf("checkpoint of item %s: %w", r.ID, err)
	}
	return q.settled(resp, r, "checkpoint")
}

// gaveBack returns what is written of an item whose worker was lost.
func (q *Queue) gaveBack(ctx context.Context, r Receipt, o Outcome) (clientv3.Op, error) {
	was, raw, err := q.claimed(ctx, r, o.Checkpoint)
	if err != nil {
		return clientv3.Op{}, err
	}
	keep(&was, o.Tried)
	was.LastError = o.Reason
	value, err := etcdkv.MergeUnknown(raw, was)
	return clientv3.OpPut(q.keys.Item(r.Priority, r.ID), value), err
}

// failed returns what is written of an item that was not done, and whether it is a dead
// letter then.
func (q *Queue) failed(ctx context.Context, r Receipt, o Outcome) ([]clientv3.Op, bool, error) {
	item := q.keys.Item(r.Priority, r.ID)
	was, raw, err := q.claimed(ctx, r, o.Checkpoint)
	if err != nil {
		return nil, false, err
	}
	keep(&was, o.Tried)
	was.LastError = o.Reason
	if o.Result == Snoozed {
		was.Uncounted++
		was.NotBefore = time.Now().Add(o.After).UTC()
	} else {
		was.NotBefore = time.Now().Add(q.cfg.Retry.Delay(was.Counted() + 1)).UTC()
	}
	value, err := etcdkv.MergeUnknown(raw, was)
	if err != nil {
		return nil, false, err
	}
	if o.Result == Snoozed || o.Result == Failed && was.Counted() < q.cfg.Retry.Attempts {
		return []clientv3.Op{clientv3.OpPut(item, value)}, false, nil
	}
	ops, err := q.bury(r.Priority, r.ID, []byte(value), o.Reason)
	if err != nil {
		return nil, true, err
	}
	told, err := q.told(r.ID, was.Origin, job.StateFailed, DeadReason(was.Attempt, o.Reason), o.Report)
	return append(ops, told...), true, err
}

// DeadReason tells that an item was given up.
func DeadReason(attempts int, reason string) string {
	if attempts == 1 {
		return "dead letter after 1 attempt: " + reason
	}
	return fmt.Sprintf("dead letter after %d attempts: %s", attempts, reason)
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
