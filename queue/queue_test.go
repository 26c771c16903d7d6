package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
	"github.com/carillon-cron/carillon/queue/queuetest"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// benches numbers the queues: each has a type of its own.
var benches atomic.Int64

// fence is an ownership in the form of one key.
type fence struct {
	key  string
	rev  int64
	held atomic.Bool
}

func newFence(t queuetest.T, c *clientv3.Client, key string) *fence {
	t.Helper()
	resp, err := c.Put(context.Background(), key, "mine")
	if err != nil {
		t.Fatalf("fence: %v", err)
	}
	f := &fence{key: key, rev: resp.Header.Revision}
	f.held.Store(true)
	return f
}

func (f *fence) Fence() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(f.key), "=", f.rev)
}
func (f *fence) Token() job.Token { return job.Token{Epoch: 1, Revision: f.rev} }
func (f *fence) Held() bool       { return f.held.Load() }

// bench is a queue with a dispatcher that can be replaced.
type bench struct {
	*queue.Queue
	client *clientv3.Client
	keys   etcdkv.QueueKeys
	name   string
	fence  *fence
	ended  chan error
	cancel context.CancelFunc
	n      atomic.Int64
}

// newBench opens a queue and starts its dispatcher. The caller calls stop.
func newBench(t testing.TB, c *clientv3.Client, cfg queue.Config) *bench {
	t.Helper()
	return openBench(t, c, fmt.Sprintf("type-%d", benches.Add(1)), cfg)
}

// openBench opens the queue of a type, another one maybe of the same.
func openBench(t testing.TB, c *clientv3.Client, name string, cfg queue.Config) *bench {
	t.Helper()
	cfg.Namespace, cfg.Type = "default", name
	cfg.Timeout = time.Hour // etcd is slow on a busy machine
	if cfg.Retry.Attempts == 0 {
		cfg.Retry = job.Retry{Attempts: queuetest.Attempts, Backoff: job.Duration(queuetest.Backoff)}
	}
	q, err := queue.New(cfg, queue.Deps{Client: c, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatalf("new queue: %v", err)
	}
	b := &bench{Queue: q, name: name, client: c, keys: etcdkv.NewKeys("").QueueOf("default", name)}
	b.start(t)
	return b
}

func (b *bench) start(t queuetest.T) {
	t.Helper()
	b.fence = newFence(t, b.client, "/fence/"+b.keys.Live())
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.ended = cancel, make(chan error, 1)
	go func() { b.ended <- b.Run(ctx, b.fence) }()
	for b.SeenRev() == 0 {
		<-time.After(time.Millisecond)
	}
}

func (b *bench) stop() error {
	b.cancel()
	return <-b.ended
}

// sync waits until the dispatcher has seen a write that is made now.
func (b *bench) sync(t queuetest.T) {
	t.Helper()
	resp, err := b.client.Put(context.Background(), b.keys.Live()+"sync", "")
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	for b.SeenRev() < resp.Header.Revision {
		<-time.After(100 * time.Microsecond)
	}
}

func (b *bench) worker(t queuetest.T) queue.Worker {
	t.Helper()
	resp, err := b.client.Grant(context.Background(), 3600)
	if err != nil {
		t.Fatalf("grant: %v", err)
	}
	return queue.Worker{ID: job.MinionID(fmt.Sprintf("worker-%d", b.n.Add(1))), Lease: resp.ID}
}

func (b *bench) lose(t queuetest.T, w queue.Worker) {
	t.Helper()
	if _, err := b.client.Revoke(context.Background(), w.Lease); err != nil {
		t.Fatalf("revoke: %v", err)
	}
}

func (b *bench) subject() queuetest.Subject {
	return queuetest.Subject{Queue: b.Queue, Worker: b.worker, Lose: b.lose, Sync: b.sync, Restart: func(t queuetest.T) {
		t.Helper()
		if err := b.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		b.start(t)
	}}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	queuetest.TestQueue(t, func(t *testing.T, visibility time.Duration) queuetest.Subject {
		b := newBench(t, client, queue.Config{Visibility: visibility})
		t.Cleanup(func() {
			if err := b.stop(); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		return b.subject()
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	queuetest.TestModel(t, func() (queuetest.Subject, func()) {
		b := newBench(t, client, queue.Config{Retry: job.Retry{
			Attempts: queuetest.Attempts, Backoff: job.Duration(time.Nanosecond), MaxBackoff: job.Duration(time.Nanosecond),
		}})
		return b.subject(), func() { _ = b.stop() }
	})
}

func TestQ4_FencedDispatcherHandsNothingOut(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	b := newBench(t, client, queue.Config{})
	w := b.worker(t)
	if _, err := b.Put(t.Context(), queue.Item{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	b.fence.held.Store(false)
	if _, err := b.Claim(t.Context(), w, 1); !errors.Is(err, queue.ErrNotDispatcher) {
		t.Errorf("claim while the lock is in doubt: %v, want %v", err, queue.ErrNotDispatcher)
	}
	b.fence.held.Store(true) // as it believes
	newFence(t, client, b.fence.key)
	if got, err := b.Claim(t.Context(), w, 1); !errors.Is(err, queue.ErrFenced) {
		t.Errorf("claimed %v, %v, want %v", got, err, queue.ErrFenced)
	}
	if err := <-b.ended; !errors.Is(err, queue.ErrFenced) {
		t.Errorf("run: %v, want %v", err, queue.ErrFenced)
	}
	b.cancel()
	if _, err := b.Claim(t.Context(), w, 1); !errors.Is(err, queue.ErrNotDispatcher) {
		t.Errorf("claim after run: %v, want %v", err, queue.ErrNotDispatcher)
	}
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{Waiting: 1}) {
		t.Errorf("stats %+v, %v", s, err)
	}
}

// A dispatcher that is fenced must not take markers away, however late they are.
func TestQ4_FencedDispatcherEndsNoClaims(t *testing.T) {
	t.Parallel()
	const visibility = time.Second
	client := shared.Server(t).Client(t)
	var b *bench
	var got []queue.Claimed
	for late := true; late; {
		b = newBench(t, client, queue.Config{Visibility: visibility})
		w := b.worker(t)
		if _, err := b.Put(t.Context(), queue.Item{ID: "x"}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var err error
		if got, err = b.Claim(t.Context(), w, 1); err != nil {
			t.Fatal(err)
		}
		newFence(t, client, b.fence.key)
		// On a busy machine the claim may have ended before.
		if late = time.Since(begun) >= visibility; late {
			b.cancel()
			<-b.ended
		}
	}
	if err := <-b.ended; !errors.Is(err, queue.ErrFenced) {
		t.Errorf("run: %v, want %v", err, queue.ErrFenced)
	}
	b.cancel()
	if err := b.Done(t.Context(), got[0].Receipt); err != nil {
		t.Errorf("done: %v", err)
	}
}

// Waiting claims end when the dispatcher does.
func TestClaimEndsWithTheDispatcher(t *testing.T) {
	t.Parallel()
	b := newBench(t, shared.Server(t).Client(t), queue.Config{})
	w := b.worker(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := b.Claim(t.Context(), w, 1); !errors.Is(err, queue.ErrNotDispatcher) {
				t.Errorf("claim: %v, want %v", err, queue.ErrNotDispatcher)
			}
		})
	}
	if err := b.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	wg.Wait()
}

// Two dispatchers that both think they are it: one is fenced, and no item is
// handed out twice.
func TestQ2_TwoDispatchers(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	old := newBench(t, client, queue.Config{})
	var items []queue.Item
	for i := range 200 {
		items = append(items, queue.Item{ID: fmt.Sprint(i)})
	}
	if _, err := old.Put(t.Context(), items...); err != nil {
		t.Fatal(err)
	}
	old.sync(t)
	var mu sync.Mutex
	times := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context()) // ends when all have been handed out
	defer cancel()
	var wg sync.WaitGroup
	drain := func(b *bench) {
		w := b.worker(t)
		for {
			got, err := b.Claim(ctx, w, 3)
			if err != nil {
				return
			}
			mu.Lock()
			for _, c := range got {
				times[c.ID]++
			}
			if len(times) == len(items) {
				cancel()
			}
			mu.Unlock()
		}
	}
	wg.Go(func() { drain(old) })
	next := openBench(t, client, old.name, queue.Config{}) // takes the lock
	wg.Go(func() { drain(next) })
	wg.Wait()
	_ = old.stop()
	_ = next.stop()
	if len(times) != len(items) {
		t.Errorf("%d items were handed out, want %d", len(times), len(items))
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("item %s was handed out %d times", id, n)
		}
	}
}
