package queues

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	dispatch "github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Deps is what a Clerk stands on. All must be set.
type Deps struct {
	Store   *store.Store
	Audit   *audit.Log
	History history.Store
	// Bounds returns what bounds each of some items of a queue by who ctx is of, or refuses
	// them.
	Bounds func(ctx context.Context, q *job.Queue, items []queue.Item) ([]job.Bounds, error)
	// Takers returns who may do the items of a queue; nil: nobody knows.
	Takers func(ctx context.Context, q *job.Queue) (minions.Takers, error)
	Logger *zap.Logger
}

// Clerk does what people ask of queues. Use New. It may be used by many goroutines at once.
type Clerk struct {
	db      *store.Store
	audit   *audit.Log
	history history.Store
	bounds  func(ctx context.Context, q *job.Queue, items []queue.Item) ([]job.Bounds, error)
	inputs  inputs
	log     *zap.Logger

	mu sync.Mutex
	// mu guards open: the queues by their UIDs, as of their generation.
	open map[job.UID]opened
}

type opened struct {
	*queue.Queue
	generation int64
}

// New returns a Clerk.
func New(deps Deps) *Clerk {
	return &Clerk{db: deps.Store, audit: deps.Audit, history: deps.History, bounds: deps.Bounds, inputs: inputs{find: deps.Takers}, log: deps.Logger, open: map[job.UID]opened{}}
}

// stored reads the description of a queue.
func (c *Clerk) stored(ctx context.Context, key job.Key) (etcdkv.StoredQueue, *mvccpb.KeyValue, error) {
	kv, err := c.db.Get(ctx, "read queue "+key.String(), c.db.Keys.QueueType(key))
	if err != nil {
		return etcdkv.StoredQueue{}, nil, err
	}
	if kv == nil {
		return etcdkv.StoredQueue{}, nil, fmt.Errorf("queue %s: %w", key, job.ErrNotFound)
	}
	s, err := store.Decode[etcdkv.StoredQueue](kv)
	return s, kv, err
}

// maxOpen bounds the queues that are kept open.
const maxOpen = 1000

// queue returns a queue as it is described.
func (c *Clerk) queue(s *etcdkv.StoredQueue) (*queue.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.open[s.UID]; ok && o.generation == s.Generation {
		return o.Queue, nil
	}
	q, err := dispatch.Open(c.db.Keys, c.db.Client, c.log, &s.Queue)
	if err != nil {
		return nil, err
	}
	if len(c.open) >= maxOpen {
		clear(c.open)
	}
	c.open[s.UID] = opened{q, s.Generation}
	return q, nil
}

// find reads a queue's description and opens it.
func (c *Clerk) find(ctx context.Context, key job.Key) (etcdkv.StoredQueue, *mvccpb.KeyValue, *queue.Queue, error) {
	s, kv, err := c.stored(ctx, key)
	if err != nil {
		return s, nil, nil, err
	}
	q, err := c.queue(&s)
	return s, kv, q, err
}

// Queues lists the queues of a namespace, or of all when it is empty, ordered by name,
// without their workers.
func (c *Clerk) Queues(ctx context.Context, namespace string) ([]api.Queue, error) {
	prefix := c.db.Keys.QueueTypes()
	if namespace != "" {
		prefix += namespace + "/"
	}
	all, err := store.ListAll[etcdkv.StoredQueue](ctx, c.db, "list queues", prefix)
	if err != nil {
		return nil, err
	}
	out := make([]api.Queue, len(all))
	for i := range all {
		if out[i], err = c.view(ctx, &all[i]); err != nil {
			return nil, err
		}
		out[i].Workers = nil
	}
	slices.SortFunc(out, func(a, b api.Queue) int { return a.Key().Compare(b.Key()) })
	return out, nil
}

// Queue shows a queue.
func (c *Clerk) Queue(ctx context.Context, key job.Key) (api.Queue, error) {
	s, _, err := c.stored(ctx, key)
	if err != nil {
		return api.Queue{}, err
	}
	return c.view(ctx, &s)
}

func (c *Clerk) view(ctx context.Context, s *etcdkv.StoredQueue) (api.Queue, error) {
	v := api.Queue{Queue: s.Queue}
	if h := s.Hold; h != nil {
		v.Hold = &api.QueueHold{Draining: h.Draining, By: h.By, Reason: h.Reason, Since: h.Since}
	}
	q, err := c.queue(s)
	if err != nil {
		return v, err
	}
	counts, err := q.Stats(ctx)
	if err != nil {
		return v, err
	}
	v.Waiting, v.InHand, v.Dead = counts.Waiting, counts.InFlight, counts.Dead
	kv, err := c.db.Get(ctx, "read queue "+s.Key().String(), c.db.Keys.QueueStatus(s.Key()))
	if err != nil || kv == nil {
		return v, err
	}
	told, err := store.Decode[etcdkv.QueueStatus](kv)
	if err != nil {
		return v, err
	}
	v.ToldAt, v.Dispatcher, v.Delayed = told.At, job.NodeID(told.Node), told.Delayed
	v.DonePerSecond, v.FailedPerSecond, v.WorkersLeftOut = told.DoneRate, told.FailedRate, told.LeftOut
	if v.Waiting > 0 {
		v.OldestPutAt = told.OldestPutAt
	}
	for i := range told.Workers {
		w := &told.Workers[i]
		one := api.QueueWorker{Minion: job.MinionID(w.Minion), Places: w.Places, AwaySince: w.Away, Trouble: w.Trouble, LeftOut: w.LeftOut}
		for _, b := range w.Items {
			one.Items = append(one.Items, api.QueueBusy{ID: b.ID, Attempt: b.Attempt, RunID: job.RunID(b.RunID), Since: b.Since, StartedAt: b.StartedAt, HeardAt: b.HeardAt, Progress: b.Progress})
		}
		v.Workers = append(v.Workers, one)
	}
	return v, nil
}

// DeleteQueue removes a queue in which nothing is, and which no job names. Otherwise the
// error wraps job.ErrConflict.
func (c *Clerk) DeleteQueue(ctx context.Context, key job.Key) error {
	s, kv, err := c.stored(ctx, key)
	if err != nil {
		return err
	}
	jobs, err := c.dispatched(ctx, key)
	if err != nil {
		return err
	}
	if len(jobs) > 0 {
		return &definitions.UsedError{Thing: "queue " + key.String(), By: jobs}
	}
	keys := c.db.Keys.QueueOf(key.Namespace, key.Name)
	var d store.Txn
	d.SameAs(string(kv.Key), kv.ModRevision)
	d.Empty(keys.Live())
	d.Empty(keys.Dead())
	d.Remove(string(kv.Key))
	d.Remove(c.db.Keys.QueueStatus(key))
	d.Clear(keys.Root())
	if err := c.audit.AddDelete(ctx, &d, "queue", key.String(), kv); err != nil {
		return err
	}
	ok, err := c.db.Commit(ctx, "delete queue "+key.String(), &d)
	if err != nil {
		return err
	}
	if ok {
		c.log.Info("queue deleted", zap.Stringer("queue", key))
		return nil
	}
	v, err := c.view(ctx, &s)
	if err != nil {
		return err
	}
	if v.Waiting+v.InHand+v.Dead > 0 {
		return fmt.Errorf("queue %s is not empty: %d items wait, workers have %d, %d are dead letters; cancel or purge them first: %w", key, v.Waiting, v.InHand, v.Dead, job.ErrConflict)
	}
	return fmt.Errorf("queue %s was changed meanwhile; try again: %w", key, job.ErrConflict)
}

// dispatched returns the jobs whose occurrences are items of a queue.
func (c *Clerk) dispatched(ctx context.Context, key job.Key) ([]job.Key, error) {
	var jobs []job.Key
	err := c.db.List(ctx, "find the jobs of queue "+key.String(), c.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err == nil && stored.Namespace == key.Namespace && stored.Spec.Dispatch != nil && stored.Spec.Dispatch.Queue == key.Name {
			jobs = append(jobs, stored.Key())
		}
		return nil // one that cannot be read keeps nothing
	})
	slices.SortFunc(jobs, job.Key.Compare)
	return jobs, err
}

// HoldQueue pauses a queue, has it take no new items, or, with neither, resumes it.
func (c *Clerk) HoldQueue(ctx context.Context, key job.Key, how api.QueueOrder, o api.Order) error {
	s, kv, err := c.stored(ctx, key)
	if err != nil {
		return err
	}
	var hold *etcdkv.QueueHold
	if how != api.QueueResume {
		hold = &etcdkv.QueueHold{
			Draining: how == api.QueueDrain, By: caller.Of(ctx, o.By), Reason: o.Reason, Since: c.db.Now().UTC(),
		}
	}
	if s.Hold == nil && hold == nil || s.Hold != nil && hold != nil && s.Hold.Draining == hold.Draining {
		return nil // it is so
	}
	s.Hold = hold
	value, err := etcdkv.MergeUnknown(kv.Value, s)
	if err != nil {
		return err
	}
	name := string(kv.Key)
	return c.audit.Write(ctx, "queue."+string(how), "queue "+key.String(), o, name, kv, clientv3.OpPut(name, value))
}

// runOf names the run of an item that was claimed first at an instant; 0: never.
func runOf(uid job.UID, at int64) job.RunID {
	if at == 0 {
		return ""
	}
	return job.FireID{Job: uid, At: at, Trigger: job.TriggerManual}.RunID()
}

func itemView(uid job.UID, v *queue.View) api.QueueItem {
	states := map[queue.State]api.ItemState{
		queue.StateWaiting: api.ItemWaiting, queue.StateDelayed: api.ItemDelayed, queue.StateClaimed: api.ItemInHand, queue.StateDead: api.ItemDead,
	}
	out := api.QueueItem{
		ID: v.ID, State: states[v.State], Priority: v.Priority, Payload: string(v.Payload), Key: v.Key, PutAt: v.PutAt, NotBefore: v.NotBefore,
		ExpiresAt: v.ExpiresAt, Attempt: v.Attempt, LastError: v.LastError, Minion: v.Worker, Since: v.Since, EndedAt: v.EndedAt, RunID: runOf(uid, v.At),
	}
	switch o := v.Origin; {
	case o == nil:
	case o.Plan != nil:
		out.Plan, out.Task = o.Plan.Name, o.Plan.Task
	default:
		out.Job, out.FireID, out.JobRunID = o.Job.String(), o.Fire.String(), o.Fire.RunID()
	}
	if v.Cancel != nil {
		out.Cancelling = "cancelled"
		if *v.Cancel != "" {
			out.Cancelling = *v.Cancel
		}
	}
	return out
}

// expiry is until when an item has to be begun that says nothing of it.
func expiry(spec *job.QueueSpec, notBefore, now time.Time) time.Time {
	if spec.ExpireAfter == 0 {
		return time.Time{}
	}
	if notBefore.After(now) {
		now = notBefore
	}
	return now.Add(time.Duration(spec.ExpireAfter)).UTC()
}
