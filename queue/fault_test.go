package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// faultyKV has something happen around the next transaction that puts something.
type faultyKV struct {
	clientv3.KV

	// mu guards what follows.
	mu     sync.Mutex
	before func()
	after  error
	// checks happen before the next transactions that put nothing.
	checks []func()
	// most is how many compares a transaction has had at most.
	most int
}

func (f *faultyKV) next(before func(), after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *faultyKV) Txn(ctx context.Context) clientv3.Txn {
	return &faultyTxn{Txn: f.KV.Txn(ctx), kv: f}
}

type faultyTxn struct {
	clientv3.Txn
	kv   *faultyKV
	puts bool
}

func (x *faultyTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	x.kv.mu.Lock()
	x.kv.most = max(x.kv.most, len(cmps))
	x.kv.mu.Unlock()
	x.Txn = x.Txn.If(cmps...)
	return x
}

func (x *faultyTxn) Else(ops ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(ops...); return x }
func (x *faultyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	x.puts = slices.ContainsFunc(ops, func(op clientv3.Op) bool { return op.IsPut() })
	x.Txn = x.Txn.Then(ops...)
	return x
}

func (x *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	if !x.puts {
		x.kv.mu.Lock()
		var check func()
		if len(x.kv.checks) > 0 {
			check, x.kv.checks = x.kv.checks[0], x.kv.checks[1:]
		}
		x.kv.mu.Unlock()
		if check != nil {
			check()
		}
		return x.Txn.Commit()
	}
	x.kv.mu.Lock()
	before, after := x.kv.before, x.kv.after
	x.kv.before, x.kv.after = nil, nil
	x.kv.mu.Unlock()
	if before != nil {
		before()
	}
	resp, err := x.Txn.Commit()
	if err == nil && after != nil {
		return nil, after
	}
	return resp, err
}

// setup returns a queue with three items, and a way to break its transactions.
func setup(t *testing.T) (*bench, *clientv3.Client, *faultyKV) {
	t.Helper()
	server := shared.Server(t)
	broken := server.Client(t)
	kv := &faultyKV{KV: broken.KV}
	broken.KV = kv
	b := newBench(t, broken, queue.Config{})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	if _, err := b.Put(t.Context(), queue.Item{ID: "1"}, queue.Item{ID: "2"}, queue.Item{ID: "3"}); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	return b, server.Client(t), kv
}

// claimAll claims until it has n items.
func claimAll(t *testing.T, b *bench, w queue.Worker, n int) []queue.Claimed {
	t.Helper()
	var all []queue.Claimed
	for len(all) < n {
		got, err := b.Claim(t.Context(), w, n-len(all))
		if err != nil {
			t.Fatalf("claim: %v, after %d items", err, len(all))
		}
		all = append(all, got...)
	}
	return all
}

// A claim whose answer is lost is committed, but nobody works on it. It must
// come back long before the visibility deadline.
func TestLostAnswerOfAClaim(t *testing.T) {
	t.Parallel()
	b, _, kv := setup(t)
	w := b.worker(t)
	kv.next(nil, context.DeadlineExceeded)
	if got, err := b.Claim(t.Context(), w, 2); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("claimed %v, %v, want %v", got, err, job.ErrUnavailable)
	}
	for _, c := range claimAll(t, b, w, 3) {
		want := 2
		if c.ID == "3" {
			want = 1
		}
		if c.Attempt != want {
			t.Errorf("item %s is in attempt %d, want %d", c.ID, c.Attempt, want)
		}
		if err := b.Done(t.Context(), c.Receipt); err != nil {
			t.Errorf("done: %v", err)
		}
	}
}

// An item that has changed unseen does not keep the others from being claimed.
func TestClaimOfAChangedItem(t *testing.T) {
	t.Parallel()
	b, client, kv := setup(t)
	w := b.worker(t)
	change := func() {
		got, err := client.Get(context.Background(), b.keys.Item(0, "2"))
		if err != nil {
			t.Fatal(err)
		}
		value := strings.Replace(string(got.Kvs[0].Value), "{", `{"future":[1],`, 1)
		if _, err := client.Put(context.Background(), b.keys.Item(0, "2"), value); err != nil {
			t.Fatal(err)
		}
	}
	kv.next(change, nil)
	var got []string
	for _, c := range claimAll(t, b, w, 3) {
		got = append(got, c.ID)
		if c.Attempt != 1 {
			t.Errorf("item %s is in attempt %d", c.ID, c.Attempt)
		}
	}
	// 2 goes last, unless its change is seen at once.
	if slices.Sort(got); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("claimed %v", got)
	}
}

// An item whose claim fails on a marker that is gone by the time when the failure
// is looked into is not forgotten: nothing else will be heard of it.
func TestClaimOfAMarkerThatGoes(t *testing.T) {
	t.Parallel()
	b, client, kv := setup(t)
	w := b.worker(t)
	item, marker := b.keys.Item(0, "1"), b.keys.Marker(0, "1")
	kv.next(func() { // the first claim, of all three, does not know of this
		got, err := client.Get(context.Background(), item)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Txn(context.Background()).Then(
			clientv3.OpPut(item, string(got.Kvs[0].Value)), clientv3.OpPut(marker, `{"schema":1,"worker":"other","visibility":3600000000000}`),
		).Commit(); err != nil {
			t.Fatal(err)
		}
		b.sync(t)
	}, nil)
	kv.mu.Lock()
	kv.checks = []func(){func() {}, func() { // the second, of the first one, has failed on the marker
		if _, err := client.Delete(context.Background(), marker); err != nil {
			t.Fatal(err)
		}
		b.sync(t)
	}}
	kv.mu.Unlock()
	var got []string
	for _, c := range claimAll(t, b, w, 3) {
		got = append(got, c.ID)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("claimed %v", got)
	}
}

// Whatever the dispatcher believes, a marker is never written over.
func TestQ2_UnseenMarkerIsRespected(t *testing.T) {
	t.Parallel()
	b, client, kv := setup(t)
	marker := b.keys.Marker(0, "1")
	kv.next(func() {
		if _, err := client.Put(context.Background(), marker, `{"worker":"other"}`); err != nil {
			t.Error(err)
		}
	}, nil)
	for _, c := range claimAll(t, b, b.worker(t), 2) {
		if c.ID == "1" {
			t.Error("an item that another worker has was claimed")
		}
	}
	if got, err := client.Get(t.Context(), marker); err != nil || string(got.Kvs[0].Value) != `{"worker":"other"}` {
		t.Errorf("the marker is now %v, %v", got, err)
	}
}

// A claim that fails halfway gives back all that it has not handed out.
func TestFailedClaimGivesItemsBack(t *testing.T) {
	t.Parallel()
	b, client, kv := setup(t)
	w := b.worker(t)
	kv.next(func() {
		if _, err := client.Put(context.Background(), b.keys.Marker(0, "3"), `{"worker":"other"}`); err != nil {
			t.Error(err)
		}
		b.lose(t, w)
	}, nil)
	if got, err := b.Claim(t.Context(), w, 3); !errors.Is(err, queue.ErrWorkerLost) {
		t.Errorf("claimed %v, %v, want %v", got, err, queue.ErrWorkerLost)
	}
	claimAll(t, b, b.worker(t), 2)
}

// A field that this release does not know survives a whole life.
func TestUnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	b, client, kv := setup(t)
	w := b.worker(t)
	key := b.keys.Item(0, "1")
	got, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Replace(string(got.Kvs[0].Value), "{", `{"future":[1],`, 1)
	kv.next(func() {
		if _, err := client.Put(context.Background(), key, value); err != nil {
			t.Error(err)
		}
	}, nil)
	for attempt := 1; attempt <= 3; {
		for _, c := range claimAll(t, b, w, 1) {
			if c.ID == "1" {
				attempt++
			}
			if c.ID != "1" {
				err = b.Done(t.Context(), c.Receipt)
			} else {
				err = b.Fail(t.Context(), c.Receipt, "no")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Redrive(t.Context(), 0, "1"); err != nil {
		t.Fatal(err)
	}
	if got, err = client.Get(t.Context(), key); err != nil || !strings.Contains(string(got.Kvs[0].Value), `"future":[1]`) {
		t.Errorf("the item is now %v, %v", got, err)
	}
}

// BenchmarkQueue puts, claims in batches of 50, and settles items one by one,
// with 16 workers.
func BenchmarkQueue(b *testing.B) {
	client := etcdtest.Start(b).Client(b)
	q, err := queue.New(queue.Config{Namespace: "default", Type: "bench"}, queue.Deps{Client: client, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running, workers sync.WaitGroup
	f := newFence(b, client, "/fence")
	running.Go(func() { _ = q.Run(ctx, f) })
	items := make([]queue.Item, b.N)
	for i := range items {
		items[i] = queue.Item{ID: fmt.Sprint(i), Payload: []byte("what to do")}
	}
	if _, err := q.Put(ctx, items...); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	left := make(chan struct{}, b.N)
	done, stop := context.WithCancel(ctx)
	for range 16 {
		lease, err := client.Grant(ctx, 3600)
		if err != nil {
			b.Fatal(err)
		}
		workers.Go(func() {
			for {
				got, err := q.Claim(done, queue.Worker{ID: "w", Lease: lease.ID}, queue.MaxClaim)
				if errors.Is(err, queue.ErrNotDispatcher) && done.Err() == nil {
					continue // it is about to start
				}
				if err != nil {
					return
				}
				for _, c := range got {
					if err := q.Done(ctx, c.Receipt); err != nil {
						b.Errorf("done: %v", err)
					}
					if left <- struct{}{}; len(left) == b.N {
						stop()
					}
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
	stop()
	cancel()
	running.Wait()
}
