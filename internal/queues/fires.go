package queues

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

const (
	// lanes is how many goroutines put, cancel and ask: all that is done of one task is
	// done by the same, in its order.
	lanes = 8
	// tries bounds the tries of a transaction: its owner asks again.
	tries = 20
	// tellAgainEvery is how often the ends are told again that no owner has recorded.
	tellAgainEvery = 15 * time.Second
	// rememberFor is how long an end is remembered that is in history: the fire may be
	// in its slot still (scheduler, shrinkAfter), and a put may be on its way to etcd.
	rememberFor = time.Minute
	// forgetEvery is how often those are removed whose time is over, forgetMost how many
	// at once.
	forgetEvery = 2 * time.Second
	forgetMost  = 100
	// countEvery is how old a count of a queue's items may be.
	countEvery = time.Second
)

// Fires puts the occurrences of jobs into queues, and tells what becomes of them. To the
// scheduler a queue stands in the place of a minion, and Fires is the way to it. Use
// NewFires. All methods may be called by many goroutines; none blocks.
type Fires struct {
	cfg    Config
	client *clientv3.Client
	log    *zap.Logger
	now    func() time.Time
	report func([]job.Report)
	lanes  [lanes]lane

	// mu guards what follows.
	mu sync.Mutex
	// known are the keys of occurrences, at the revision rev.
	known map[string]etcdkv.QueueFire
	rev   int64
	// recorded are those whose run is in history, by when that was.
	recorded map[string]time.Time
	open     map[job.UID]opened
}

// opened is a queue of a generation, and how many items it had.
type opened struct {
	*queue.Queue
	generation int64
	counted    time.Time
	items      int64
}

// lane is what one goroutine has to do.
type lane struct {
	mu    sync.Mutex
	mail  []func(context.Context)
	knock chan struct{}
}

// NewFires returns a Fires that tells what it knows by report, which must not block. Of
// deps only Client, Logger and Now are needed.
func NewFires(cfg Config, deps Deps, report func([]job.Report)) (*Fires, error) {
	if cfg.Keys == (etcdkv.Keys{}) || deps.Client == nil || deps.Logger == nil || report == nil {
		return nil, errors.New("queues: Keys, Client, Logger and report must be set")
	}
	f := &Fires{
		cfg: cfg, client: deps.Client, log: deps.Logger.Named("fires"), now: deps.Now, report: report,
		known: map[string]etcdkv.QueueFire{}, recorded: map[string]time.Time{}, open: map[job.UID]opened{},
	}
	if f.now == nil {
		f.now = time.Now
	}
	for i := range f.lanes {
		f.lanes[i].knock = make(chan struct{}, 1)
	}
	return f, nil
}

// Run works until ctx ends.
func (f *Fires) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range f.lanes {
		wg.Go(func() { f.lanes[i].run(ctx) })
	}
	wg.Go(func() { f.tidy(ctx) })
	return etcdkv.Follow(ctx, f.client, f.cfg.Keys.QueueFires(), f.apply)
}

func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.knock:
		}
		l.mu.Lock()
		mail := l.mail
		l.mail = nil
		l.mu.Unlock()
		for _, fn := range mail {
			if ctx.Err() != nil {
				return
			}
			fn(ctx)
		}
	}
}

// do has fn called after all that is to be done of the same fire before.
func (f *Fires) do(id job.FireID, fn func(context.Context)) {
	h := fnv.New32a()
	_, _ = h.Write(id.Job[:]) // a hash never fails
	l := &f.lanes[(uint64(h.Sum32())+uint64(id.At)/1_000_000)%lanes]
	l.mu.Lock()
	l.mail = append(l.mail, fn)
	l.mu.Unlock()
	signal(l.knock)
}

// apply takes what is known of occurrences, and tells what is new.
func (f *Fires) apply(b etcdkv.Batch) error {
	var reports []job.Report
	f.mu.Lock()
	if b.Relist {
		clear(f.known)
	}
	for i := range b.Events {
		ev := &b.Events[i]
		if ev.Value == nil {
			delete(f.known, ev.Key)
			delete(f.recorded, ev.Key)
			continue
		}
		v, err := etcdkv.Decode[etcdkv.QueueFire](ev.Key, ev.Value)
		if err != nil {
			f.log.Error("what became of an occurrence cannot be read", zap.Error(err))
			continue
		}
		f.known[ev.Key] = v
		if r, ok := f.reportOf(ev.Key, &v); ok && (v.End != nil || !b.Relist && !v.StartedAt.IsZero()) {
			reports = append(reports, r)
		}
	}
	f.rev = b.Rev
	f.mu.Unlock()
	if len(reports) > 0 {
		f.report(reports)
	}
	return nil
}

// reportOf says what a minion would say in the queue's place.
func (f *Fires) reportOf(name string, v *etcdkv.QueueFire) (job.Report, bool) {
	key, id, ok := f.cfg.Keys.ParseQueueFire(name)
	r := job.Report{
		Task: job.TaskID{Fire: v.Fire, Minion: key.AsMinion(), Attempt: v.Attempt}, Shard: v.Shard, Known: true, State: job.StateRunning, StartedAt: v.StartedAt,
		Item: &job.TaskItem{Queue: key.Name, ID: id, Minion: v.Minion, Attempt: v.Tries, RunID: v.RunID},
	}
	if end := v.End; end != nil {
		r.State, r.Reason, r.StartedAt, r.EndedAt, r.Exit, r.Stdout, r.Stderr = end.State, end.Reason, end.StartedAt, end.EndedAt, end.Exit, end.Stdout, end.Stderr
		r.Spooled = true
	}
	return r, ok
}

// tidy tells ends again until they are in history, and removes them after a while.
func (f *Fires) tidy(ctx context.Context) {
	again, forget := time.NewTicker(tellAgainEvery), time.NewTicker(forgetEvery)
	defer again.Stop()
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			var reports []job.Report
			f.mu.Lock()
			for name := range f.known {
				v := f.known[name]
				if _, done := f.recorded[name]; done || v.End == nil {
					continue
				}
				if r, ok := f.reportOf(name, &v); ok {
					reports = append(reports, r)
				}
			}
			f.mu.Unlock()
			if len(reports) > 0 {
				f.report(reports)
			}
		case <-forget.C:
			f.forget(ctx)
		}
	}
}

// forget removes what is in history for long enough.
func (f *Fires) forget(ctx context.Context) {
	for ctx.Err() == nil {
		var names []string
		var ops []clientv3.Op
		now := time.Now()
		f.mu.Lock()
		for name, at := range f.recorded {
			if now.Sub(at) > rememberFor && len(ops) < forgetMost {
				names = append(names, name)
				ops = append(ops, clientv3.OpDelete(name))
			}
		}
		f.mu.Unlock()
		if len(ops) == 0 {
			return
		}
		_, err := f.txn(ctx, nil, ops)
		f.mu.Lock()
		for _, name := range names {
			if err == nil {
				delete(f.recorded, name)
			} else { // slots could not be written meanwhile, perhaps
				f.recorded[name] = now
			}
		}
		f.mu.Unlock()
		if err != nil {
			f.log.Debug("recorded occurrences not forgotten, will be tried again", zap.Error(err))
			return
		}
	}
}

func (f *Fires) txn(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := f.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	return resp, etcdkv.Unavailable(err)
}

// Send puts the items of orders into their queues.
func (f *Fires) Send(orders []job.Order) {
	for i := range orders {
		o := orders[i]
		f.do(o.Task.Fire, func(ctx context.Context) { f.put(ctx, &o) })
	}
}

// Ask tells what became of tasks.
func (f *Fires) Ask(refs []job.Ref) {
	for _, ref := range refs {
		f.do(ref.Task.Fire, func(ctx context.Context) { f.ask(ctx, ref) })
	}
}

// Cancel ends items, and tells what came of it.
func (f *Fires) Cancel(refs []job.Ref, reason string) {
	for _, ref := range refs {
		f.do(ref.Task.Fire, func(ctx context.Context) { f.cancel(ctx, ref, reason) })
	}
}

// Ack takes that reports are in history.
func (f *Fires) Ack(tasks []job.TaskID) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tasks {
		name := f.name(t)
		if v, ok := f.known[name]; ok && v.End != nil {
			f.recorded[name] = now
		}
	}
}

// name is the key of an occurrence.
func (f *Fires) name(t job.TaskID) string {
	key, _ := t.Minion.Queue()
	return f.cfg.Keys.QueueOf(key.Namespace, key.Name).Fire(t.ItemID())
}

// answer says something of a task in answer to a question, order or cancel.
func (f *Fires) answer(ref job.Ref, r job.Report) {
	r.Task, r.Shard, r.Token, r.Term = ref.Task, ref.Shard, ref.Token, ref.Term
	f.report([]job.Report{r})
}

// tell answers with what is known of an occurrence.
func (f *Fires) tell(ref job.Ref, v *etcdkv.QueueFire) {
	if r, ok := f.reportOf(f.name(ref.Task), v); ok {
		f.answer(ref, r)
	}
}

// found reads what etcd knows of an occurrence; nil: nothing.
func (f *Fires) found(ctx context.Context, t job.TaskID) (*etcdkv.QueueFire, error) {
	name := f.name(t)
	resp, err := f.txn(ctx, nil, []clientv3.Op{clientv3.OpGet(name)})
	if err != nil {
		return nil, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, nil
	}
	v, err := etcdkv.Decode[etcdkv.QueueFire](name, kvs[0].Value)
	return &v, err
}

func (f *Fires) ask(ctx context.Context, ref job.Ref) {
	f.mu.Lock()
	v, ok := f.known[f.name(ref.Task)]
	f.mu.Unlock()
	if ok { // that it is there is so whenever that was seen
		f.tell(ref, &v)
		return
	}
	now, err := f.found(ctx, ref.Task)
	switch {
	case err != nil:
		f.log.Debug("what became of an occurrence is not known now", zap.Stringer("task", ref.Task), zap.Error(err))
	case now == nil:
		f.answer(ref, job.Report{})
	default:
		f.tell(ref, now)
	}
}

func (f *Fires) cancel(ctx context.Context, ref job.Ref, reason string) {
	key, _ := ref.Task.Minion.Queue()
	for range tries {
		v, err := f.found(ctx, ref.Task)
		switch {
		case err != nil:
			f.log.Debug("item not cancelled, will be tried again", zap.Stringer("task", ref.Task), zap.Error(err))
			return
		case v == nil:
			f.answer(ref, job.Report{})
			return
		case v.End != nil:
			f.tell(ref, v)
			return
		}
		s, q, err := f.queue(ctx, key)
		if err == nil && s == nil {
			err = fmt.Errorf("queue %s: %w", key, job.ErrNotFound)
		}
		if err == nil {
			var item queue.View
			if item, err = q.Find(ctx, ref.Task.ItemID()); err == nil {
				_, err = q.Cancel(ctx, &item, reason)
			}
		}
		switch {
		case err == nil:
			if v, err = f.found(ctx, ref.Task); err == nil && v != nil {
				f.tell(ref, v)
			}
			return
		case !errors.Is(err, job.ErrConflict) && !errors.Is(err, job.ErrNotFound): // else it has changed, or just ended
			f.log.Debug("item not cancelled, will be tried again", zap.Stringer("task", ref.Task), zap.Error(err))
			return
		}
	}
}

// queue reads a queue's description, and opens it; nil: there is none.
func (f *Fires) queue(ctx context.Context, key job.Key) (*stored, *queue.Queue, error) {
	name := f.cfg.Keys.QueueType(key)
	resp, err := f.txn(ctx, nil, []clientv3.Op{clientv3.OpGet(name)})
	if err != nil {
		return nil, nil, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, nil, nil
	}
	s := &stored{rev: kvs[0].ModRevision}
	if s.StoredQueue, err = etcdkv.Decode[etcdkv.StoredQueue](name, kvs[0].Value); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o, ok := f.open[s.UID]; ok && o.generation == s.Generation {
		return s, o.Queue, nil
	}
	q, err := Open(f.cfg.Keys, f.client, f.log, &s.Queue)
	if err != nil {
		return nil, nil, err
	}
	if len(f.open) > maxOpen {
		clear(f.open)
	}
	f.open[s.UID] = opened{Queue: q, generation: s.Generation}
	return s, q, nil
}
