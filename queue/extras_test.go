package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// places are n places of workers without a lease.
func places(n int) []queue.Worker {
	out := make([]queue.Worker, n)
	for i := range out {
		out[i].ID = job.MinionID(fmt.Sprintf("w%d", i))
	}
	return out
}

func (b *bench) mustPut(t *testing.T, items ...queue.Item) {
	t.Helper()
	if _, err := b.Put(t.Context(), items...); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
}

// take claims as many as there are places, and returns the ids.
func (b *bench) take(t *testing.T, n int) ([]string, []queue.Claimed) {
	t.Helper()
	got, err := b.ClaimEach(t.Context(), places(n))
	if err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	var ids []string
	for i := range got {
		ids = append(ids, got[i].ID)
	}
	return ids, got
}

func opened(t *testing.T, cfg queue.Config) *bench {
	t.Helper()
	b := newBench(t, shared.Server(t).Client(t), cfg)
	t.Cleanup(func() { _ = b.stop() })
	return b
}

func TestQ9_OneOfAKeyAtATime(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "a", Key: "k"}, queue.Item{ID: "b", Key: "k"}, queue.Item{ID: "c", Key: "k", Priority: 1}, queue.Item{ID: "d"})
	got, claimed := b.take(t, 4)
	if want := []string{"c", "d"}; !slices.Equal(got, want) {
		t.Fatalf("claimed %v, want %v", got, want)
	}
	if again, _ := b.take(t, 4); len(again) > 0 {
		t.Errorf("claimed %v while one of the key is in hand", again)
	}
	// Another dispatcher knows it from the markers.
	b.cancel()
	<-b.ended
	b.start(t)
	if again, _ := b.take(t, 4); len(again) > 0 {
		t.Errorf("claimed %v after a restart while one of the key is in hand", again)
	}
	for want := range slices.Values([]string{"a", "b"}) {
		if err := b.Done(t.Context(), claimed[0].Receipt); err != nil {
			t.Fatal(err)
		}
		b.sync(t)
		if got, claimed = b.take(t, 4); !slices.Equal(got, []string{want}) {
			t.Fatalf("claimed %v, want %s alone", got, want)
		}
	}
}

// What waits for a key goes on when the one before it is taken out while nobody has it.
func TestQ9_KeyGoesOnWithoutTheFirst(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "a", Key: "k"}, queue.Item{ID: "b", Key: "k"}, queue.Item{ID: "c", Key: "k"})
	_, claimed := b.take(t, 3)
	if err := b.Done(t.Context(), claimed[0].Receipt); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	v, err := b.Find(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := b.Cancel(t.Context(), &v, ""); !gone || err != nil {
		t.Fatalf("cancel: %v, %v", gone, err)
	}
	b.sync(t)
	if got, _ := b.take(t, 3); !slices.Equal(got, []string{"c"}) {
		t.Errorf("claimed %v, want c", got)
	}
}

func TestQ5_Aging(t *testing.T) {
	t.Parallel()
	for aging, want := range map[time.Duration]string{0: "high", time.Hour: "high", time.Millisecond: "low"} {
		b := opened(t, queue.Config{Aging: aging})
		b.mustPut(t, queue.Item{ID: "low", Priority: 2})
		<-time.After(5 * time.Millisecond) // more than the aging that is to tell
		b.mustPut(t, queue.Item{ID: "high", Priority: 4})
		if got, _ := b.take(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("aging %v: claimed %v first, want %s", aging, got, want)
		}
	}
}

func TestQ10_Dedup(t *testing.T) {
	t.Parallel()
	const window = 200 * time.Millisecond
	b := opened(t, queue.Config{DedupWindow: window})
	begun := time.Now()
	add := func(id string) queue.Added {
		t.Helper()
		got, err := b.Add(t.Context(), []queue.Item{{ID: id, Dedup: "k/1"}}, queue.Along{})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	if got := add("a"); got != (queue.Added{ID: "a"}) {
		t.Errorf("first: %+v", got)
	}
	if got := add("b"); got != (queue.Added{ID: "a", Duplicate: true}) && time.Since(begun) < window {
		t.Errorf("within the window: %+v", got)
	}
	await.Until(t, "another item with the key", func() bool { return !add("c").Duplicate || time.Since(begun) < window })
	if _, err := opened(t, queue.Config{}).Put(t.Context(), queue.Item{Dedup: "k"}); err == nil {
		t.Error("a de-duplication key was taken without a window")
	}
}

// An item is known by its ID also where it has a de-duplication key of its own.
func TestQ8_DedupAtAnotherPriority(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{DedupWindow: time.Hour})
	for p := range queue.MaxPriority + 1 {
		got, err := b.Add(t.Context(), []queue.Item{{ID: "a", Priority: p, Dedup: fmt.Sprint("key-", p)}}, queue.Along{})
		if err != nil || got[0] != (queue.Added{ID: "a", Duplicate: p > 0}) {
			t.Errorf("at priority %d: %+v, %v", p, got, err)
		}
	}
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{Waiting: 1}) {
		t.Errorf("stats %+v, %v; want one item", s, err)
	}
}

func TestQ11_Expiry(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{Visibility: 100 * time.Millisecond})
	b.mustPut(t, queue.Item{ID: "late", ExpiresAt: time.Now().Add(50 * time.Millisecond)}, queue.Item{ID: "begun", Priority: 1, ExpiresAt: time.Now().Add(time.Hour)})
	var dead queue.View
	await.Until(t, "the dead letter", func() bool {
		v, err := b.Find(t.Context(), "late")
		dead = v
		return err == nil && v.State == queue.StateDead
	})
	if dead.Attempt != 0 || !strings.Contains(dead.LastError, "expired") {
		t.Errorf("dead letter: %+v", dead)
	}
	if err := b.Redrive(t.Context(), 0, "late"); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	if got, _ := b.take(t, 2); !slices.Equal(got, []string{"begun", "late"}) {
		t.Errorf("claimed %v: what is put back does not expire at once", got)
	}
}

func TestCancelInHand(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "x"})
	_, claimed := b.take(t, 1)
	v, err := b.Find(t.Context(), "x")
	if err != nil || v.State != queue.StateClaimed || v.Worker != "w0" {
		t.Fatalf("find: %+v, %v", v, err)
	}
	if gone, err := b.Cancel(t.Context(), &v, "why"); gone || err != nil {
		t.Fatalf("cancel: %v, %v", gone, err)
	}
	b.sync(t)
	all, ok := b.Claims()
	if !ok || len(all) != 1 || all[0].Cancel == nil || *all[0].Cancel != "why" || all[0].Receipt != claimed[0].Receipt || all[0].At != claimed[0].At {
		t.Fatalf("claims: %+v, %v", all, ok)
	}
	if err := b.Settle(t.Context(), all[0].Receipt, queue.Outcome{Result: queue.Dropped}); err != nil {
		t.Fatal(err)
	}
	if resp, err := b.client.Get(t.Context(), b.keys.Live(), clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 1 { // sync's own
		t.Errorf("%d keys are left: %v", len(resp.Kvs)-1, err)
	}
}

// A worker that is lost leaves an order to end its item: it is not handed out again.
func TestCancelOutlivesTheWorker(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "x"})
	_, claimed := b.take(t, 1)
	v, err := b.Find(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cancel(t.Context(), &v, "why"); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	if err := b.Settle(t.Context(), claimed[0].Receipt, queue.Outcome{Result: queue.Lost}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the item to go", func() bool {
		_, err := b.Find(t.Context(), "x")
		return errors.Is(err, job.ErrNotFound)
	})
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{}) {
		t.Errorf("stats %+v, %v", s, err)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "a"}, queue.Item{ID: "b"}, queue.Item{ID: "c"})
	_, claimed := b.take(t, 3)
	wrong := clientv3.Compare(clientv3.CreateRevision("/nobody"), "!=", 0)
	if err := b.Settle(t.Context(), claimed[0].Receipt, queue.Outcome{}, wrong); !errors.Is(err, queue.ErrLost) {
		t.Errorf("settled without the fence: %v", err)
	}
	for i, o := range []queue.Outcome{{Result: queue.Lost}, {Result: queue.Hopeless, Reason: "no use"}, {Result: queue.Dropped}} {
		if err := b.Settle(t.Context(), claimed[i].Receipt, o, b.fence.Fence()); err != nil {
			t.Fatal(err)
		}
	}
	b.sync(t)
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{Waiting: 1, Dead: 1}) {
		t.Errorf("stats %+v, %v", s, err)
	}
	_, again := b.take(t, 1)
	if len(again) != 1 || again[0].ID != "a" || again[0].Attempt != 2 || again[0].At != claimed[0].At || !claimed[0].Token.Less(again[0].Token) {
		t.Errorf("claimed again: %+v", again)
	}
	// What is put back is new work: nothing that was remembered of it counts.
	if err := b.Redrive(t.Context(), 0, "b"); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	_, redriven := b.take(t, 1)
	if len(redriven) != 1 || redriven[0].Attempt != 1 || redriven[0].At <= claimed[1].At {
		t.Errorf("redriven: %+v", redriven)
	}
}

func TestGuardedAdd(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	guard := clientv3.Compare(clientv3.CreateRevision("/nobody"), "!=", 0)
	for _, items := range [][]queue.Item{{{ID: "a"}}, {{ID: "a"}, {ID: "b"}}} {
		if _, err := b.Add(t.Context(), items, queue.Along{Guards: []clientv3.Cmp{guard}}); !errors.Is(err, queue.ErrChanged) {
			t.Errorf("%d items: %v, want %v", len(items), err, queue.ErrChanged)
		}
	}
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{}) {
		t.Errorf("stats %+v, %v", s, err)
	}
}

// What goes along with a put is done where something is added, however many items before
// that are there already.
func TestAlongGoesWithWhatIsAdded(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	var items []queue.Item
	for i := range queue.MaxClaim + 10 {
		items = append(items, queue.Item{ID: fmt.Sprint("known-", i)})
	}
	b.mustPut(t, items...)
	along := "/along/" + b.name
	for _, again := range [][]queue.Item{items, append(slices.Clone(items), queue.Item{ID: "new"})} {
		if _, err := b.Add(t.Context(), again, queue.Along{Ops: []clientv3.Op{clientv3.OpPut(along, "")}}); err != nil {
			t.Fatal(err)
		}
		got, err := b.client.Get(t.Context(), along)
		if want := int64(len(again) - len(items)); err != nil || got.Count != want {
			t.Errorf("put %d items of which %d are known: done along %d times, %v; want %d", len(again), len(items), got.Count, err, want)
		}
	}
}

// Items that go together are all added, with what goes along, or none is.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{DedupWindow: time.Hour})
	b.mustPut(t, queue.Item{ID: "known"})
	along := "/along/" + b.name
	large := strings.Repeat("x", queue.MaxPayload)
	for _, items := range [][]queue.Item{
		{{ID: "new"}, {ID: "known", Priority: 4}},
		{{ID: "new"}, {ID: "other", Dedup: "k"}},
		slices.Repeat([]queue.Item{{Payload: []byte(large)}}, 10),
	} {
		if _, err := b.Add(t.Context(), items, queue.Along{Together: true, Ops: []clientv3.Op{clientv3.OpPut(along, "")}}); !errors.Is(err, queue.ErrApart) {
			t.Errorf("%d items: %v, want %v", len(items), err, queue.ErrApart)
		}
	}
	if s, err := b.Stats(t.Context()); err != nil || s.Waiting != 1 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if got, err := b.client.Get(t.Context(), along); err != nil || got.Count != 0 {
		t.Errorf("done along %d times, %v", got.Count, err)
	}
	added, err := b.Add(t.Context(), []queue.Item{{ID: "known"}}, queue.Along{Together: true})
	if err != nil || len(added) != 1 || !added[0].Duplicate {
		t.Errorf("one item that is there: %+v, %v", added, err)
	}
}

// A put of many items with guards stays within what etcd takes in a transaction, and one that
// is stopped in the middle tells which items are in.
func TestManyItemsWithGuards(t *testing.T) {
	t.Parallel()
	b, _, kv := setup(t)
	gone := "/gone/" + b.name
	guards := make([]clientv3.Cmp, queue.MaxGuards)
	for i := range guards {
		guards[i] = clientv3.Compare(clientv3.CreateRevision(fmt.Sprint("/nobody/", i)), "=", 0)
	}
	var items []queue.Item
	for i := range 60 {
		items = append(items, queue.Item{ID: fmt.Sprint("item-", i)})
	}
	if _, err := b.Add(t.Context(), items, queue.Along{Guards: guards}); err != nil {
		t.Fatal(err)
	}
	if kv.mu.Lock(); kv.most > 128 { // etcd's own bound, unless it is told another
		t.Errorf("a transaction had %d compares", kv.most)
	}
	kv.mu.Unlock()
	if _, err := b.Add(t.Context(), items, queue.Along{Guards: append(guards, guards...)}); err == nil {
		t.Error("more guards than there may be were taken")
	}
	// What goes along with the first items is what the guard of the others is about.
	for i := range items {
		items[i].ID = fmt.Sprint("other-", i)
	}
	guard := clientv3.Compare(clientv3.CreateRevision(gone), "=", 0)
	added, err := b.Add(t.Context(), items, queue.Along{Guards: []clientv3.Cmp{guard}, Ops: []clientv3.Op{clientv3.OpPut(gone, "")}})
	if !errors.Is(err, queue.ErrChanged) || len(added) != len(items) {
		t.Fatalf("%d, %v; want %v", len(added), err, queue.ErrChanged)
	}
	in := 0
	for i := range added {
		_, err := b.Find(t.Context(), added[i].ID)
		if there := err == nil; there == added[i].Open {
			t.Errorf("%s: there %v, open %v", added[i].ID, there, added[i].Open)
		} else if there {
			in++
		}
	}
	if in == 0 || in == len(items) {
		t.Errorf("%d of %d items are in; the guard changed between them", in, len(items))
	}
}

func TestListAndRemove(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	b.mustPut(t, queue.Item{ID: "a"}, queue.Item{ID: "b", Priority: 3, Payload: []byte("p")}, queue.Item{ID: "c", NotBefore: time.Now().Add(time.Hour)})
	b.take(t, 1)
	var got []string
	var all []queue.View
	for cursor, more := "", true; more; more = cursor != "" {
		views, next, err := b.List(t.Context(), cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range views {
			got = append(got, views[i].ID+" "+string(views[i].State))
		}
		all, cursor = append(all, views...), next
	}
	if want := []string{"b claimed", "a waiting", "c delayed"}; !slices.Equal(got, want) {
		t.Fatalf("listed %v, want %v", got, want)
	}
	// One that is claimed meanwhile stays, and the others go all the same.
	b.take(t, 1)
	if n, err := b.Remove(t.Context(), all[1:], "purged"); n != 1 || err != nil {
		t.Errorf("removed %d, %v; want c alone", n, err)
	}
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{InFlight: 2}) {
		t.Errorf("stats %+v, %v", s, err)
	}
}

// Those that hold are settled, whatever is wrong with others beside them.
func TestDoneAll(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{})
	const n = 45
	var items []queue.Item
	for i := range n {
		items = append(items, queue.Item{ID: fmt.Sprintf("item-%02d", i)})
	}
	b.mustPut(t, items...)
	_, claimed := b.take(t, n)
	var receipts []queue.Receipt
	var ended []queue.Ended
	for i := range claimed {
		receipts = append(receipts, claimed[i].Receipt)
		ended = append(ended, queue.Ended{Receipt: claimed[i].Receipt})
	}
	for _, lost := range []int{3, 44} {
		if err := b.Settle(t.Context(), receipts[lost], queue.Outcome{Result: queue.Lost}); err != nil {
			t.Fatal(err)
		}
	}
	wrong := clientv3.Compare(clientv3.CreateRevision("/nobody"), "!=", 0)
	for i, err := range b.DoneAll(t.Context(), ended[:2], wrong) {
		if !errors.Is(err, queue.ErrLost) {
			t.Errorf("%s without the fence: %v", receipts[i].ID, err)
		}
	}
	for i, err := range b.DoneAll(t.Context(), ended, b.fence.Fence()) {
		if lost := i == 3 || i == 44; errors.Is(err, queue.ErrLost) != lost || err != nil && !lost {
			t.Errorf("%s: %v", receipts[i].ID, err)
		}
	}
	if s, err := b.Stats(t.Context()); err != nil || s != (queue.Stats{Waiting: 2}) {
		t.Errorf("stats %+v, %v", s, err)
	}
}
