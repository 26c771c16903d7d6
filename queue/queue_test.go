package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
	"github.com/carillon-cron/carillon/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	fence  *fence
	ended  chan error
	cancel context.CancelFunc
	n      atomic.Int64
}

// newBench opens a queue and starts its dispatcher. The caller calls stop.
func newBench(t testing.TB, c *clientv3.Client, name string, cfg queue.Config) *bench {
	t.Helper()
	cfg.Namespace, cfg.Type = "default", name
	if cfg.Retry.Attempts == 0 {
		cfg.Retry = job.Retry{Attempts: queuetest.Attempts, Backoff: job.Duration(queuetest.Backoff)}
	}
	q, err := queue.New(cfg, queue.Deps{Client: c, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatalf("new queue: %v", err)
	}
	b := &bench{Queue: q, client: c, keys: etcdkv.NewKeys("").QueueOf("default", name)}
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
	for deadline := time.Now().Add(3 * time.Minute); b.SeenRev() < resp.Header.Revision; {
		if time.Now().After(deadline) {
			t.Fatalf("the dispatcher does not follow")
		}
		<-time.After(100 * time.Microsecond)
	}
}

func (b *bench) worker(t queuetest.T) queue.Worker {
	t.Helper()
	resp, err := b.client.Grant(context.Background(), 60)
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
	client := etcdtest.Start(t).Client(t)
	var n atomic.Int64
	queuetest.TestQueue(t, func(t *testing.T, visibility time.Duration) queuetest.Subject {
		b := newBench(t, client, fmt.Sprintf("type-%d", n.Add(1)), queue.Config{Visibility: visibility})
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
	client := etcdtest.Start(t).Client(t)
	n := 0
	queuetest.TestModel(t, func() (queuetest.Subject, func()) {
		n++
		b := newBench(t, client, fmt.Sprintf("type-%d", n), queue.Config{Retry: job.Retry{
			Attempts: queuetest.Attempts, Backoff: job.Duration(time.Nanosecond), MaxBackoff: job.Duration(time.Nanosecond),
		}})
		return b.subject(), func() { _ = b.stop() }
	})
}

func TestQ4_FencedDispatcherHandsNothingOut(t *testing.T) {
	t.Parallel()
	client := etcdtest.Start(t).Client(t)
	b := newBench(t, client, "some", queue.Config{})
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
	client := etcdtest.Start(t).Client(t)
	b := newBench(t, client, "some", queue.Config{Visibility: 5 * time.Second})
	w := b.worker(t)
	if _, err := b.Put(t.Context(), queue.Item{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Claim(t.Context(), w, 1)
	if err != nil {
		t.Fatal(err)
	}
	newFence(t, client, b.fence.key)
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
	b := newBench(t, etcdtest.Start(t).Client(t), "some", queue.Config{})
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
	client := etcdtest.Start(t).Client(t)
	old := newBench(t, client, "some", queue.Config{})
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
	var wg sync.WaitGroup
	drain := func(b *bench) {
		w := b.worker(t)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			got, err := b.Claim(ctx, w, 3)
			cancel()
			if err != nil {
				return
			}
			mu.Lock()
			for _, c := range got {
				times[c.ID]++
			}
			mu.Unlock()
		}
	}
	wg.Go(func() { drain(old) })
	next := newBench(t, client, "some", queue.Config{}) // takes the lock
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
