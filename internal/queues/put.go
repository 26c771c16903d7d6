package queues

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/payload"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// nobodyKnown is the author of a job that has none: one that no list names.
const nobodyKnown = "(not proven)"

// maxOpen bounds the queues that are kept open.
const maxOpen = 1000

// stored is a queue's description at a revision.
type stored struct {
	etcdkv.StoredQueue
	rev int64
}

// put puts the item of an order into its queue, once. An occurrence that has an item, or
// had one, gets none again: that is in the transaction, as is the token of its shard's owner.
func (f *Fires) put(ctx context.Context, o *job.Order) {
	ref := job.Ref{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term}
	var err error
	for range tries {
		var done bool
		if done, err = f.tryPut(ctx, o, ref); done {
			return
		}
		if err != nil && !errors.Is(err, queue.ErrChanged) {
			break
		}
	}
	f.log.Warn("item of an occurrence not put; its owner asks, and orders it again", zap.Stringer("task", o.Task), zap.Error(err))
}

func (f *Fires) tryPut(ctx context.Context, o *job.Order, ref job.Ref) (bool, error) {
	key, _ := o.Task.Minion.Queue()
	v, err := f.found(ctx, o.Task)
	if err != nil {
		return false, err
	}
	if v != nil {
		f.tell(ref, v)
		return true, nil
	}
	refuse := func(format string, args ...any) (bool, error) {
		f.answer(ref, job.Report{Known: true, State: job.StateRejected, Reason: fmt.Sprintf("queue "+key.String()+" "+format, args...)})
		return true, nil
	}
	s, q, err := f.queue(ctx, key)
	now := f.now()
	switch {
	case err != nil:
		return false, err
	case now.After(o.NotAfter):
		f.answer(ref, job.Report{Known: true, State: job.StateExpired, Reason: "the order came too late to the queue"})
		return true, nil
	case s == nil:
		return refuse("does not exist")
	case o.Item == nil:
		return refuse("was given an order without an item")
	case s.Hold != nil && s.Hold.Draining:
		return refuse("is draining, and takes no items")
	}
	if wrong := Unfit(&s.Spec, o.Item.Payload); wrong != "" {
		return refuse("does not take the payload: %s", wrong)
	}
	items, err := f.count(ctx, s, q)
	if err != nil {
		return false, err
	}
	if most := int64(s.Spec.EffectiveMaxItems()); items > most {
		return refuse("is full: it has %d items, and takes %d (maxItems)", items-1, most)
	}
	origin := &job.ItemOrigin{Job: o.Key, Fire: o.Task.Fire, Attempt: o.Task.Attempt, Shard: o.Shard}
	name := f.name(o.Task)
	value, err := etcdkv.Encode(etcdkv.QueueFire{Schema: etcdkv.Schema, ItemOrigin: *origin})
	if err != nil {
		return refuse("cannot be told of the item: %v", err)
	}
	item := queue.Item{ID: o.Task.ItemID(), Priority: o.Item.Priority, Key: o.Item.Key, Payload: []byte(o.Item.Payload), Bounds: o.Item.Bounds, Origin: origin, Subject: o.Subject, JobAuthor: cmp.Or(o.Author, nobodyKnown)}
	if s.Spec.ExpireAfter != 0 {
		item.ExpiresAt = now.Add(time.Duration(s.Spec.ExpireAfter)).UTC()
	}
	added, err := q.Add(ctx, []queue.Item{item}, queue.Along{
		Guards: []clientv3.Cmp{
			clientv3.Compare(clientv3.ModRevision(f.cfg.Keys.Owner(o.Shard)), "=", o.Token.Revision),
			clientv3.Compare(clientv3.ModRevision(f.cfg.Keys.QueueType(key)), "=", s.rev),
			clientv3.Compare(clientv3.CreateRevision(name), "=", 0),
		},
		Ops: []clientv3.Op{clientv3.OpPut(name, value)},
	})
	var invalid *job.InvalidError
	switch {
	case errors.As(err, &invalid):
		return refuse("does not take the item: %v", err)
	case errors.Is(err, queue.ErrChanged):
		return f.isForeign(ctx, o)
	case err != nil:
		return false, err
	case added[0].Duplicate:
		return refuse("has another item %s, which somebody put", item.ID)
	}
	f.tell(ref, &etcdkv.QueueFire{ItemOrigin: *origin})
	return true, nil
}

// isForeign reports whether an order is of an owner that has lost its shard: it is dropped,
// and the shard's next owner asks.
func (f *Fires) isForeign(ctx context.Context, o *job.Order) (bool, error) {
	resp, err := f.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(f.cfg.Keys.Owner(o.Shard)), "=", o.Token.Revision)}, nil)
	switch {
	case err != nil:
		return false, err
	case !resp.Succeeded:
		return true, nil
	}
	return false, queue.ErrChanged
}

// count returns how many items a queue has with one more, as of a second ago at most, but
// for what others put.
func (f *Fires) count(ctx context.Context, s *stored, q *queue.Queue) (int64, error) {
	f.mu.Lock()
	o := f.open[s.UID]
	f.mu.Unlock()
	if time.Since(o.counted) > countEvery {
		counts, err := q.Stats(ctx)
		if err != nil {
			return 0, err
		}
		o.items, o.counted = counts.Waiting+counts.InFlight+counts.Dead, time.Now()
	}
	o.items++
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[s.UID].Queue == q {
		o.Queue, o.generation = q, s.Generation
		f.open[s.UID] = o
	}
	return o.items, nil
}

// Unfit tells why a queue does not take a payload; empty: it does.
func Unfit(spec *job.QueueSpec, text string) string {
	if wrong := AllUnfit(spec, text); len(wrong) > 0 {
		return wrong[0]
	}
	return ""
}

// AllUnfit is Unfit with all that is wrong.
func AllUnfit(spec *job.QueueSpec, text string) []string {
	if len(text) > job.MaxItemPayload {
		return []string{fmt.Sprintf("it has %d bytes; at most %d are allowed", len(text), job.MaxItemPayload)}
	}
	if spec.PayloadSchema == "" {
		return nil
	}
	schema, err := payload.Parse(spec.PayloadSchema)
	if err != nil {
		return []string{"its payloadSchema " + err.Error()}
	}
	return schema.Check([]byte(text))
}
