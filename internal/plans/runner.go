package plans

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

// errFenced is what a runner ends with that is not the owner any more.
var errFenced = errors.New("the plan has another owner, or is gone")

// runner is the owner of one plan. Its methods are called by the goroutine of run.
type runner struct {
	k     *Keeper
	uid   job.UID
	key   string
	keys  etcdkv.PlanKeys
	fence queue.Fence
	log   *zap.Logger

	l *ledger
	// told are what items have told, as it comes in.
	told chan etcdkv.Batch
	// changes are states to be written down; skips are tasks to be skipped.
	changes []change
	skips   []uint32
	// states and tasks are chunks that were read or written lately.
	states *recent[*etcdkv.PlanStates]
	tasks  *recent[[]etcdkv.PlanTask]
	queues map[string]*opened
	// trouble is why tasks of a type wait, and told so it was written down.
	trouble   map[string]string
	untold    bool
	notBefore map[string]time.Time // of a type: put none before
	// tells: there is a callback, and seq is the number of the last change that it was told.
	tells bool
	seq   int64
}

// change is a task's new state.
type change struct {
	task uint32
	etcdkv.PlanState
	// item: the key of its item goes with it.
	item bool
}

func newRunner(k *Keeper, uid job.UID, key string, fence queue.Fence) *runner {
	return &runner{
		k: k, uid: uid, key: key, keys: k.cfg.Keys.PlanData(uid), fence: fence, log: k.log.With(zap.String("plan", key)),
		l: newLedger(), told: make(chan etcdkv.Batch), states: newRecent[*etcdkv.PlanStates](), tasks: newRecent[[]etcdkv.PlanTask](),
		queues: map[string]*opened{}, trouble: map[string]string{}, notBefore: map[string]time.Time{}, untold: true,
	}
}

// lookEvery is how often is looked for what is due.
const lookEvery = 200 * time.Millisecond

// run runs the plan until it has ended, then it returns nil, or until it cannot go on.
func (r *runner) run(ctx context.Context) error {
	if err := r.read(ctx); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cancel(etcdkv.Follow(ctx, r.k.client, r.keys.Items(), func(b etcdkv.Batch) error {
			select {
			case r.told <- b:
			case <-ctx.Done():
			}
			return nil
		}))
	}()
	defer func() {
		cancel(nil)
		<-ended
	}()
	// What was put before is known before anything is put.
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case b := <-r.told:
		r.fold(b)
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		changed := r.k.change()
		more, err := r.step(ctx)
		if err != nil || r.l.open() == 0 && !more {
			if err == nil {
				err = r.end(ctx)
			}
			return err
		}
		if more {
			select {
			case b := <-r.told:
				r.fold(b)
			default:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b := <-r.told:
			r.fold(b)
		case <-tick.C:
		case <-changed:
		}
	}
}

// step writes down what has changed, and puts what may be put. It reports whether there is more
// to do at once.
func (r *runner) step(ctx context.Context) (bool, error) {
	if !r.fence.Held() {
		return false, errFenced
	}
	now := r.k.now()
	for _, t := range r.l.due(now, changesAtOnce) {
		r.change(t, etcdkv.PlanState{State: string(plan.Expired), Reason: "its deadline has passed before it was put into its queue"}, false)
	}
	e, ok := r.k.plan(r.key)
	if !ok || e.Value.UID != r.uid {
		return false, errFenced
	}
	if e.Value.Amendment != nil { // what was ordered, was ordered after it
		return false, r.amend(ctx, e)
	}
	if err := r.obey(ctx, e); err != nil {
		return false, err
	}
	more, err := r.write(ctx)
	if err != nil || more || len(e.Value.Orders) > 0 {
		return more, err
	}
	return r.put(ctx, e)
}

// read reads the tasks and their states.
func (r *runner) read(ctx context.Context) error {
	err := list(ctx, r.k.client, r.k.cfg.Timeout, r.keys.Chunks(), func(key string, value []byte) error {
		first, ok := r.keys.ParseChunk(key)
		tasks, err := etcdkv.DecodePlanTasks(key, value)
		if err != nil {
			return err
		}
		if !ok || first != r.l.graph.Len() {
			return fmt.Errorf("%s: a chunk is missing before it", key)
		}
		r.l.add(first, tasks)
		return nil
	})
	if err != nil {
		return err
	}
	err = list(ctx, r.k.client, r.k.cfg.Timeout, r.keys.AllStates(), func(key string, value []byte) error {
		first, ok := r.keys.ParseStates(key)
		s, err := etcdkv.Decode[etcdkv.PlanStates](key, value)
		if err != nil {
			return err
		}
		if !ok || first+len(s.Tasks) > len(r.l.state) {
			return fmt.Errorf("%s: there are no such tasks", key)
		}
		for i := range s.Tasks {
			if is := plan.State(s.Tasks[i].State); is != "" && is != plan.Pending {
				r.l.set(uint32(first+i), is) //nolint:gosec // at most plan.MaxTasks
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.skips = r.l.begin(r.k.now())
	return r.readSeq(ctx)
}

// readSeq reads which changes are told by now.
func (r *runner) readSeq(ctx context.Context) error {
	e, ok := r.k.plan(r.key)
	if !ok || e.Value.UID != r.uid {
		return errFenced
	}
	r.tells = e.Value.Callback != ""
	resp, err := r.k.txn(ctx, nil, clientv3.OpGet(r.keys.Status()))
	if err != nil {
		return err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil
	}
	s, err := etcdkv.Decode[etcdkv.PlanStatus](r.keys.Status(), kvs[0].Value)
	r.seq = s.Seq
	return err
}

// end writes down that the plan has ended.
func (r *runner) end(ctx context.Context) error {
	e, ok := r.k.plan(r.key)
	if !ok || e.Value.UID != r.uid {
		return errFenced
	}
	p := e.Value
	if !p.EndedAt.IsZero() {
		return nil
	}
	if p.Amendment != nil {
		return errAmended // it has come since
	}
	p.EndedAt, p.Orders = r.k.now().UTC(), nil
	value, err := etcdkv.Encode(p)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpPut(r.key, value)}
	if r.tells {
		told, err := etcdkv.Encode(etcdkv.PlanEvents{Schema: etcdkv.Schema, At: p.EndedAt, First: r.seq + 1, Ended: true, Counts: r.counts()})
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(r.keys.Event(r.seq+1), told))
	}
	resp, err := r.k.txn(ctx, []clientv3.Cmp{r.fence.Fence(), clientv3.Compare(clientv3.ModRevision(r.key), "=", e.ModRevision)}, ops...)
	if err == nil && !resp.Succeeded {
		err = errors.New("the plan has changed meanwhile")
	}
	if err == nil {
		r.log.Info("plan ended", zap.Int("tasks", len(r.l.state)), zap.Int("succeeded", r.l.counts[plan.Succeeded]))
	}
	return err
}

// recentMost is how many chunks are kept in memory.
const recentMost = 32

// recent are values by the number of a chunk's first task, as many as were used last.
type recent[T any] struct {
	values map[int]T
	order  []int
}

func newRecent[T any]() *recent[T] { return &recent[T]{values: map[int]T{}} }

func (c *recent[T]) get(first int) (T, bool) {
	v, ok := c.values[first]
	return v, ok
}

func (c *recent[T]) set(first int, v T) {
	if _, ok := c.values[first]; !ok {
		if len(c.order) == recentMost {
			delete(c.values, c.order[0])
			c.order = c.order[1:]
		}
		c.order = append(c.order, first)
	}
	c.values[first] = v
}
