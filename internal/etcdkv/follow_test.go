package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// follow follows prefix until the test ends, and returns the batches. A batch
// is given to the test before the next one is looked at.
func follow(t *testing.T, c *clientv3.Client, prefix string) <-chan Batch {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background()) // t.Context ends before the clean-up
	batches, ended := make(chan Batch), make(chan error, 1)
	over := errors.New("test is over")
	go func() {
		ended <- Follow(ctx, c, prefix, func(b Batch) error {
			select {
			case batches <- b:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	t.Cleanup(func() {
		cancel(over)
		if err := <-ended; !errors.Is(err, over) {
			t.Errorf("follow ended with %v, want the context's cause", err)
		}
	})
	return batches
}

// next returns the next batch that holds anything.
func next(t *testing.T, batches <-chan Batch) Batch {
	t.Helper()
	for {
		if b := await.From(t, "a batch", batches); b.Relist || len(b.Events) > 0 {
			return b
		}
	}
}

func mustPut(t testing.TB, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	r, err := c.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func mustDelete(t testing.TB, c *clientv3.Client, key string) int64 {
	t.Helper()
	r, err := c.Delete(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func TestFollowListsThenWatches(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	const n = 2*pageKeys + 1 // three pages
	ops := make([]clientv3.Op, 0, n)
	for i := range n {
		ops = append(ops, clientv3.OpPut(p+fmt.Sprintf("%05d", i), ""))
	}
	for len(ops) > 0 {
		part := ops[:min(len(ops), 500)]
		ops = ops[len(part):]
		if _, err := c.Txn(t.Context()).Then(part...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	batches := follow(t, c, p)
	b := next(t, batches)
	if !b.Relist || len(b.Events) != n || b.Events[0].Key != p+"00000" || b.Events[n-1].Key != p+fmt.Sprintf("%05d", n-1) {
		t.Fatalf("first batch: relist %v, %d keys, want a listing of %d in order", b.Relist, len(b.Events), n)
	}
	if b.Events[7].Value == nil {
		t.Error("an empty value is nil, which means deleted")
	}

	lease, err := c.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Txn(t.Context()).Then(
		clientv3.OpPut(p+"a", "1", clientv3.WithLease(lease.ID)), clientv3.OpPut(p+"b", ""), clientv3.OpDelete(p+"00003"),
		clientv3.OpPut(etcdtest.Prefix(t), "elsewhere"),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
	rev := r.Header.Revision
	want := Batch{Rev: rev, Events: []Event{
		{Key: p + "a", Value: []byte("1"), CreateRevision: rev, ModRevision: rev, Lease: int64(lease.ID)},
		{Key: p + "b", Value: []byte{}, CreateRevision: rev, ModRevision: rev},
		{Key: p + "00003", ModRevision: rev},
	}}
	if d := cmp.Diff(want, next(t, batches)); d != "" {
		t.Errorf("batch of a transaction (-want +got):\n%s", d)
	}
}

func TestFollowMovesOnWithoutEvents(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	batches := follow(t, c, p)
	next(t, batches)
	rev := mustPut(t, c, etcdtest.Prefix(t), "elsewhere")
	for b := (Batch{}); b.Rev < rev; {
		b = await.From(t, fmt.Sprint("revision ", rev), batches)
	}
}

func TestFollowReturnsTheConsumersError(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	want := errors.New("enough")
	if err := Follow(t.Context(), c, etcdtest.Prefix(t), func(Batch) error { return want }); !errors.Is(err, want) {
		t.Errorf("follow: %v, want %v", err, want)
	}
	if err := Follow(t.Context(), c, "", nil); err == nil {
		t.Error("follow of an empty prefix: no error")
	}
}

func TestFollowEndsWithItsClient(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	err := Follow(t.Context(), c, etcdtest.Prefix(t), func(Batch) error { return c.Close() })
	if err == nil || !errors.Is(err, context.Canceled) {
		t.Errorf("follow with a closed client: %v, want an error that says so", err)
	}
}

func TestFollowResumesAfterServerRestart(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	c := server.Client(t)
	mustPut(t, c, "p/a", "1")
	batches := follow(t, c, "p/")
	first := next(t, batches)
	server.Restart(t)
	rev := mustPut(t, server.Client(t), "p/b", "2")
	b := next(t, batches)
	if b.Relist || len(b.Events) != 1 || b.Events[0].Key != "p/b" || b.Rev != rev || b.Rev <= first.Rev {
		t.Errorf("batch after a restart: %+v, want p/b alone at revision %d", b, rev)
	}
}

func TestFollowResumesWhereItStopped(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	c := server.Client(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	mustPut(t, c, "p/a", "1")
	batches := follow(t, etcdtest.Dial(t, proxy.Endpoint()), "p/")
	next(t, batches)
	proxy.Refuse()
	mustPut(t, c, "p/a", "2")
	mustDelete(t, c, "p/a")
	proxy.Heal()
	var values []string
	for len(values) < 2 {
		b := next(t, batches)
		if b.Relist {
			t.Fatal("listed again, want the watch to go on")
		}
		for _, e := range b.Events {
			values = append(values, string(e.Value))
		}
	}
	if d := cmp.Diff([]string{"2", ""}, values); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
}

func TestFollowListsAgainAfterCompaction(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	c := server.Client(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	mustPut(t, c, "p/a", "1")
	mustPut(t, c, "p/b", "1")
	m := NewMap(func(_ string, v []byte) (string, error) { return string(v), nil }, nil)
	away := etcdtest.Dial(t, proxy.Endpoint())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, away, "p/") }()
	defer func() { cancel(); <-done }()
	<-m.Synced()

	proxy.Refuse()
	mustDelete(t, c, "p/a")
	mustPut(t, c, "p/b", "2")
	rev := mustPut(t, c, "p/c", "1")
	server.Compact(t, rev)
	proxy.Heal()
	entries := waitRev(t, m, rev)
	if d := cmp.Diff(map[string]string{"p/b": "2", "p/c": "1"}, values(entries)); d != "" {
		t.Errorf("entries after a compaction (-want +got):\n%s", d)
	}
}

func waitRev[T any](t testing.TB, m *Map[T], rev int64) map[string]Entry[T] {
	t.Helper()
	var entries map[string]Entry[T]
	await.Missing(t, func() string {
		var at int64
		if entries, at = m.Snapshot(); at < rev {
			return fmt.Sprintf("map is at revision %d, want %d", at, rev)
		}
		return ""
	})
	return entries
}

func values[T any](entries map[string]Entry[T]) map[string]T {
	vs := map[string]T{}
	for k, e := range entries {
		vs[k] = e.Value
	}
	return vs
}

func TestMapLeavesOutWhatItCannotRead(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	mustPut(t, c, p+"bad", "x")
	mustPut(t, c, p+"good", "1")
	changes := make(chan struct{}, 1)
	m := NewMap(func(_ string, v []byte) (int, error) { return strconv.Atoi(string(v)) }, func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	})
	if entries, rev := m.Snapshot(); entries != nil || rev != 0 {
		t.Errorf("snapshot before the first listing: %v at %d, want none", entries, rev)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, c, p) }()
	defer func() { cancel(); <-done }()
	<-m.Synced()
	<-changes
	first, _ := m.Snapshot()
	if d := cmp.Diff(map[string]int{p + "good": 1}, values(first)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	mustPut(t, c, p+"bad", "2")
	rev := mustPut(t, c, p+"good", "y")
	entries := waitRev(t, m, rev)
	<-changes
	if d := cmp.Diff(map[string]int{p + "bad": 2}, values(entries)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int{p + "good": 1}, values(first)); d != "" {
		t.Errorf("an old snapshot has changed (-want +got):\n%s", d)
	}
}

// At every revision that it reports, the view is what etcd held at it: through
// transactions, deletions, cut connections and compactions.
func TestViewIsRangeAtItsRevision(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	c := server.Client(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	cut := etcdtest.Dial(t, proxy.Endpoint())
	rapid.Check(t, func(rt *rapid.T) {
		p := etcdtest.Prefix(t)
		truth := map[int64]map[string]int64{} // revision -> key -> mod revision
		state := map[string]int64{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		views, done := make(chan Batch, 1<<10), make(chan error, 1) // more than there are operations
		go func() {
			done <- Follow(ctx, cut, p, func(b Batch) error { views <- b; return nil })
		}()
		var last int64
		for range rapid.IntRange(1, 25).Draw(rt, "operations") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "write", "drop", "compact"}).Draw(rt, "operation") {
			case "write":
				last = change(ctx, rt, c, p, state)
				truth[last] = maps.Clone(state)
			case "drop":
				proxy.Drop()
			case "compact":
				if last > 0 {
					if _, err := c.Compact(ctx, last); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
						rt.Fatal(err)
					}
				}
			}
		}
		check(rt, views, truth, last)
		cancel()
		<-done
	})
}

// change makes a random transaction, notes it in state, and returns its revision.
func change(ctx context.Context, rt *rapid.T, c *clientv3.Client, prefix string, state map[string]int64) int64 {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 1, 4, rapid.ID).Draw(rt, "keys")
	var ops []clientv3.Op
	puts := map[string]bool{}
	for i, k := range keys {
		puts[prefix+k] = i == 0 || rapid.Bool().Draw(rt, "put") // at least one, so that there is a revision
		if puts[prefix+k] {
			ops = append(ops, clientv3.OpPut(prefix+k, "v"))
		} else {
			ops = append(ops, clientv3.OpDelete(prefix+k))
		}
	}
	r, err := c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		rt.Fatal(err)
	}
	for k, put := range puts {
		if put {
			state[k] = r.Header.Revision
		} else {
			delete(state, k)
		}
	}
	return r.Header.Revision
}

// check applies the batches up to revision last, each time comparing with the truth.
func check(rt *rapid.T, batches <-chan Batch, truth map[int64]map[string]int64, last int64) {
	revs := slices.Sorted(maps.Keys(truth))
	view := map[string]int64{}
	var rev int64
	for rev < last || rev == 0 {
		b := await.From(rt, fmt.Sprintf("revision %d after %d", last, rev), batches)
		if b.Rev < rev || b.Rev == rev && len(b.Events) > 0 && !b.Relist {
			rt.Fatalf("batch of %d events at revision %d came after revision %d", len(b.Events), b.Rev, rev)
		}
		rev = b.Rev
		if b.Relist {
			clear(view)
		}
		for _, e := range b.Events {
			delete(view, e.Key)
			if e.Value != nil {
				view[e.Key] = e.ModRevision
			}
		}
		want := map[string]int64{}
		if n := sort.Search(len(revs), func(i int) bool { return revs[i] > rev }); n > 0 {
			want = truth[revs[n-1]]
		}
		if d := cmp.Diff(want, view); d != "" {
			rt.Fatalf("view at revision %d (-etcd +view):\n%s", rev, d)
		}
	}
}

// muffled is a watcher whose first watches, one stream of gRPC, say nothing more
// from one moment on.
type muffled struct {
	clientv3.Watcher

	mu    sync.Mutex
	quiet bool
	keys  map[string]bool // of what the watches' streams are told apart by
}

func (m *muffled) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	md, _ := metadata.FromOutgoingContext(ctx)
	stream := fmt.Sprint(md)
	m.mu.Lock()
	m.keys[stream] = true
	first := len(m.keys) == 1
	m.mu.Unlock()
	in, out := m.Watcher.Watch(ctx, key, opts...), make(chan clientv3.WatchResponse)
	go func() {
		defer close(out)
		for r := range in {
			m.mu.Lock()
			quiet := m.quiet && first
			m.mu.Unlock()
			if quiet {
				continue
			}
			select {
			case out <- r:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// TestRereadGoesRoundAWatchThatHangs: a view that is asked for anew lists what is
// there, also what its watch has not told, and watches on another stream.
func TestRereadGoesRoundAWatchThatHangs(t *testing.T) {
	t.Parallel()
	srv := shared.Server(t)
	c, prefix := srv.Client(t), etcdtest.Prefix(t)
	mustPut(t, c, prefix+"a", "1")
	dumb := srv.Client(t)
	watches := &muffled{Watcher: dumb.Watcher, keys: map[string]bool{}}
	dumb.Watcher = watches
	m := NewMap(func(_ string, b []byte) (string, error) { return string(b), nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(ctx, dumb, prefix)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	shows := func(key, want string) func() bool {
		return func() bool {
			entries, _ := m.Snapshot()
			return entries[prefix+key].Value == want
		}
	}
	await.Until(t, "the listing", shows("a", "1"))
	mustPut(t, c, prefix+"a", "2")
	await.Until(t, "the watch's word", shows("a", "2"))
	watches.mu.Lock()
	watches.quiet = true
	watches.mu.Unlock()
	rev := mustPut(t, c, prefix+"b", "1")
	m.Reread()
	await.Until(t, "what the watch did not tell", shows("b", "1"))
	if _, at := m.Snapshot(); at < rev {
		t.Errorf("the view is of revision %d, and shows %d", at, rev)
	}
	mustDelete(t, c, prefix+"a")
	await.Until(t, "what the new watch tells", shows("a", ""))
	m.Reread()
	m.Reread() // asked while it is asked
	mustPut(t, c, prefix+"c", "1")
	await.Until(t, "what comes after a second time", shows("c", "1"))
}
