package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
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
func (p *prompt) Send(orders []job.Order) {
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

func (b queueTasks) round(ctx context.Context, e *env, c *clientv3.Client, keys etcdkv.Keys) (float64, error) {
	uid, err := job.NewQueueUID()
	if err != nil {
		return 0, err
	}
	described := job.Queue{Metadata: job.Metadata{Namespace: "bench", Name: "noop"}, Spec: job.QueueSpec{Command: []string{command}, MaxItems: b.count}, UID: uid, Generation: 1}
	value, err := etcdkv.Encode(etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: described})
	if err != nil {
		return 0, err
	}
	if _, err := c.Put(ctx, keys.QueueType(described.Key()), value); err != nil {
		return 0, err
	}
	log := zap.NewNop()
	records, err := historyetcd.New(historyetcd.Config{Keys: keys, Keep: 100, Leader: func(int) bool { return true }}, historyetcd.Deps{Client: c, Logger: log})
	if err != nil {
		return 0, err
	}
	sink, err := history.NewSink(history.SinkConfig{}, history.SinkDeps{Store: records, Logger: log})
	if err != nil {
		return 0, err
	}
	workers := &prompt{offer: job.QueueOffers{described.Key(): b.places}.String()}
	m, err := queues.New(queues.Config{Node: "n1", Keys: keys, Shards: 1}, queues.Deps{Client: c, Minions: workers, History: sink, Logger: log})
	if err != nil {
		return 0, err
	}
	workers.out = m.Reports
	q, err := queues.Open(keys, c, log, &described)
	if err != nil {
		return 0, err
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer workers.wg.Wait()
	defer wg.Wait()
	defer stop()
	for _, run := range []func(context.Context) error{m.Run, sink.Run, records.Run, func(ctx context.Context) error { m.Hold(ctx, 0, neverLost{keys.Root() + "fence"}); return nil }} {
		wg.Go(func() { _ = run(running) }) // until the round ends
	}
	begun := time.Now()
	var putting errgroup.Group
	const putters = 4
	for p := range putters {
		putting.Go(func() error {
			for n := p * queue.MaxClaim; n < b.count; n += putters * queue.MaxClaim {
				items := make([]queue.Item, min(queue.MaxClaim, b.count-n))
				for i := range items {
					items[i].Payload = []byte("no-op")
				}
				if _, err := q.Put(ctx, items...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := putting.Wait(); err != nil {
		return 0, err
	}
	if _, err := e.waitFor(ctx, workers, b.count); err != nil {
		return 0, err
	}
	return float64(b.count) / time.Since(begun).Seconds(), nil
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
