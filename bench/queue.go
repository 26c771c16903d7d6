package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/history"
	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// queueTasks measures how many items a second go all the way through a queue: put,
// claimed, ordered of one of four workers, which answer at once, in history, and out of
// the queue. One node's dispatcher, one etcd that syncs each write to its disk; what a
// minion costs is told by commands_per_s.
type queueTasks struct {
	count  int // per round
	places int // of each worker
}

const queueWorkers = 4

func (b queueTasks) measure(ctx context.Context, e *env) error {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	defer store.close()
	var rates []float64
	for round := range e.rounds {
		rate, err := b.round(ctx, e, store.Client, etcdkv.NewKeys(fmt.Sprintf("/bench-%d", round)))
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	return e.report("queue_tasks_per_s", "items/s", rates, fmt.Sprintf(
		"from the first put of %d items to the last that is settled and in history, no-op, %d workers of %d places, batches of %d put by 4", b.count, queueWorkers, b.places, queue.MaxClaim))
}

// prompt are workers that answer each order at once.
type prompt struct {
	offer string
	// out gives reports to the dispatcher.
	out func([]job.Report) []job.Report
	wg  sync.WaitGroup
	// told, unless nil, is called with each order.
	told atomic.Pointer[func(*job.Order)]
	// acked counts items of which the worker was told that they are settled.
	acked atomic.Int64
}

func (p *prompt) Reach(job.Target) ([]job.MinionID, []job.Uncontrollable) {
	var ids []job.MinionID
	for i := range queueWorkers {
		ids = append(ids, job.MinionID(fmt.Sprintf("w%d", i)))
	}
	return ids, nil
}
func (p *prompt) Value(job.MinionID, string) string        { return p.offer }
func (p *prompt) Absence(job.MinionID) (job.Absence, bool) { return job.Absence{}, false }
func (p *prompt) Revoked(job.MinionID) bool                { return false }
func (p *prompt) Ask([]job.Ref)                            {}
func (p *prompt) Cancel([]job.Ref, string)                 {}
func (p *prompt) Ack(tasks []job.TaskID)                   { p.acked.Add(int64(len(tasks))) }

// onOrder has fn called with each order from now on.
func (p *prompt) onOrder(fn func(*job.Order)) { p.told.Store(&fn) }

func (p *prompt) Send(orders []job.Order) {
	if fn := p.told.Load(); fn != nil {
		for i := range orders {
			(*fn)(&orders[i])
		}
	}
	p.wg.Go(func() {
		now := time.Now().UTC()
		reports := make([]job.Report, len(orders))
		for i := range orders {
			o := &orders[i]
			reports[i] = job.Report{Task: o.Task, Shard: o.Shard, Known: true, Spooled: true, State: job.StateSucceeded, StartedAt: now, EndedAt: now}
		}
		p.out(reports)
	})
}

// always is a lock of a shard that is never lost.
type neverLost struct{ key string }

func (f neverLost) Fence() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(f.key), "=", 0)
}
func (f neverLost) Token() job.Token { return job.Token{Epoch: 1, Revision: 1} }
func (f neverLost) Held() bool       { return true }

// queueRig is a queue with its dispatcher, its history and workers that answer at once.
type queueRig struct {
	q       *queue.Queue
	workers *prompt
	stop    func()
}

// rigQueue sets up a queue that takes so many items, for workers of so many places.
func rigQueue(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, items, places int) (*queueRig, error) {
	uid, err := job.NewQueueUID()
	if err != nil {
		return nil, err
	}
	described := job.Queue{Metadata: job.Metadata{Namespace: "bench", Name: "noop"}, Spec: job.QueueSpec{Command: []string{command}, MaxItems: items}, UID: uid, Generation: 1}
	value, err := etcdkv.Encode(etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: described})
	if err != nil {
		return nil, err
	}
	if _, err := c.Put(ctx, keys.QueueType(described.Key()), value); err != nil {
		return nil, err
	}
	log := zap.NewNop()
	records, err := historyetcd.New(historyetcd.Config{Keys: keys, Keep: 100, Leader: func(int) bool { return true }}, historyetcd.Deps{Client: c, Logger: log})
	if err != nil {
		return nil, err
	}
	sink, err := history.NewSink(history.SinkConfig{}, history.SinkDeps{Store: records, Logger: log})
	if err != nil {
		return nil, err
	}
	workers := &prompt{offer: job.QueueOffers{described.Key(): places}.String()}
	m, err := queues.New(queues.Config{Node: "n1", Keys: keys, Shards: 1}, queues.Deps{Client: c, Minions: workers, History: sink, Logger: log})
	if err != nil {
		return nil, err
	}
	workers.out = m.Reports
	q, err := queues.Open(keys, c, log, &described)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{m.Run, sink.Run, records.Run, func(ctx context.Context) error { m.Hold(ctx, 0, neverLost{keys.Root() + "fence"}); return nil }} {
		wg.Go(func() { _ = run(running) }) // until the rig is stopped
	}
	return &queueRig{q: q, workers: workers, stop: func() { stop(); wg.Wait(); workers.wg.Wait() }}, nil
}

func (b queueTasks) round(ctx context.Context, e *env, c *clientv3.Client, keys etcdkv.Keys) (float64, error) {
	rig, err := rigQueue(ctx, c, keys, b.count, b.places)
	if err != nil {
		return 0, err
	}
	defer rig.stop()
	begun := time.Now()
	var putting errgroup.Group
	for p := range queuePutters {
		putting.Go(func() error {
			for n := p * queue.MaxClaim; n < b.count; n += queuePutters * queue.MaxClaim {
				items := make([]queue.Item, min(queue.MaxClaim, b.count-n))
				for i := range items {
					items[i].Payload = []byte("no-op")
				}
				if _, err := rig.q.Put(ctx, items...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := putting.Wait(); err != nil {
		return 0, err
	}
	if _, err := e.waitFor(ctx, rig.workers, b.count); err != nil {
		return 0, err
	}
	return float64(b.count) / time.Since(begun).Seconds(), nil
}

const queuePutters = 4

// queueLatency measures how long an item takes from the beginning of its put to the order
// that its worker gets, at a steady rate of single puts.
type queueLatency struct {
	rate   int // items a second
	window time.Duration
	places int // of each worker
}

func (b queueLatency) measure(ctx context.Context, e *env) error {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	defer store.close()
	var p50, p99 []float64
	for round := range e.rounds {
		late, err := b.round(ctx, e, store.Client, etcdkv.NewKeys(fmt.Sprintf("/bench-%d", round)))
		if err != nil {
			return err
		}
		p50, p99 = append(p50, quantile(late, .5)), append(p99, quantile(late, .99))
	}
	what := fmt.Sprintf("from the put of an item to its order at a worker, %d single puts a second for %v, %d workers of %d places", b.rate, b.window, queueWorkers, b.places)
	if err := e.report("queue_latency_ms_p50", "ms", p50, what); err != nil {
		return err
	}
	return e.report("queue_latency_ms_p99", "ms", p99, what)
}

func (b queueLatency) round(ctx context.Context, e *env, c *clientv3.Client, keys etcdkv.Keys) ([]float64, error) {
	count := max(int(b.window.Seconds()*float64(b.rate)), 1)
	rig, err := rigQueue(ctx, c, keys, 2*count, b.places)
	if err != nil {
		return nil, err
	}
	defer rig.stop()
	// The first item comes when the dispatcher knows its workers.
	if _, err := rig.q.Put(ctx, queue.Item{ID: "first"}); err != nil {
		return nil, err
	}
	if _, err := e.waitFor(ctx, rig.workers, 1); err != nil {
		return nil, err
	}
	put := make([]time.Time, count)
	got := make(map[string]time.Time, count)
	var mu sync.Mutex // guards got
	rig.workers.onOrder(func(o *job.Order) {
		mu.Lock()
		defer mu.Unlock()
		got[o.Env[job.EnvItem]] = time.Now()
	})
	var putting errgroup.Group
	begun := time.Now()
	for n := range count {
		if err := pause(ctx, time.Until(begun.Add(time.Duration(n)*time.Second/time.Duration(b.rate)))); err != nil {
			return nil, err
		}
		putting.Go(func() error {
			put[n] = time.Now()
			_, err := rig.q.Put(ctx, queue.Item{ID: fmt.Sprint("item-", n), Payload: []byte("no-op")})
			return err
		})
	}
	if err := putting.Wait(); err != nil {
		return nil, err
	}
	if _, err := e.waitFor(ctx, rig.workers, count+1); err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	late := make([]float64, count)
	for n := range late {
		late[n] = float64(got[fmt.Sprint("item-", n)].Sub(put[n])) / float64(time.Millisecond)
	}
	slices.Sort(late)
	return late, nil
}

// queueRecipe measures how many items a second go through a queue here, and through the
// recipe of etcd's client, in turns, each against an etcd of its own. The recipe's items
// are gone when they are handed out: they have no claim, retry, priority or record.
type queueRecipe struct {
	ours, theirs int // items per round
	places       int // of each worker here
}

func (b queueRecipe) measure(ctx context.Context, e *env) error {
	var ours, theirs []float64
	side := func(rates *[]float64, round func(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (float64, error)) func(context.Context) error {
		return func(ctx context.Context) error {
			store, err := startEtcd(ctx, e)
			if err != nil {
				return err
			}
			defer store.close()
			rate, err := round(ctx, store.Client, etcdkv.NewKeys("/bench"))
			*rates = append(*rates, rate)
			return err
		}
	}
	err := e.inTurns(ctx,
		side(&ours, func(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (float64, error) {
			return queueTasks{count: b.ours, places: b.places}.round(ctx, e, c, keys)
		}),
		side(&theirs, func(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (float64, error) {
			return b.recipe(c, keys)
		}),
	)
	if err != nil {
		return err
	}
	if err := e.report("queue_etcd_recipe_per_s", "items/s", theirs, fmt.Sprintf(
		"etcd's client/v3/experimental/recipes, %d items, %d that put and %d that take them", b.theirs, queuePutters, queueWorkers)); err != nil {
		return err
	}
	return e.ratio("queue_vs_etcd_recipe", ours, theirs, fmt.Sprintf("of the recipe's rate; ours as queue_tasks_per_s, with %d items", b.ours))
}

// recipe is a round of the recipe.
func (b queueRecipe) recipe(c *clientv3.Client, keys etcdkv.Keys) (float64, error) {
	q := recipe.NewQueue(c, keys.Root()+"recipe")
	begun := time.Now()
	var all errgroup.Group
	share := func(part, of int) int { return b.theirs*(part+1)/of - b.theirs*part/of }
	for p := range queuePutters {
		all.Go(func() error {
			for range share(p, queuePutters) {
				if err := q.Enqueue("no-op"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for w := range queueWorkers {
		all.Go(func() error {
			for range share(w, queueWorkers) {
				if _, err := q.Dequeue(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return 0, err
	}
	return float64(b.theirs) / time.Since(begun).Seconds(), nil
}

// waitFor waits until so many items are settled.
func (e *env) waitFor(ctx context.Context, w *prompt, count int) (int, error) {
	n := 0
	err := e.reach(ctx, "items settled", count, func() (int, error) {
		n = int(w.acked.Load())
		return n, nil
	})
	return n, err
}
