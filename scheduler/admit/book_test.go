package admit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// shelf is what several shards keep their permits in.
type shelf struct {
	t      *testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	return &shelf{t: t, client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t))}
}

// book is that of a shard that is owned from now on.
func (b *shelf) book(id job.ShardID) (*etcdBook, *lock.Ownership) {
	b.t.Helper()
	sess, err := lock.Open(b.t.Context(), lock.SessionConfig{Holder: "n", TTL: time.Minute, Epoch: 1, Marks: b.keys.Marks()}, lock.Deps{Client: b.client, Logger: zap.NewNop()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sess.Close(context.Background()) })
	own, err := sess.Claim(b.t.Context(), lock.Grant{Key: b.keys.Owner(id), Value: fmt.Sprint(rand.Int64())})
	if err != nil {
		b.t.Fatal(err)
	}
	return &etcdBook{shard: id, token: own, d: &Deps{Client: b.client, Keys: b.keys, Logger: zap.NewNop()}}, own
}

func (b *shelf) put(key string, v any) {
	b.t.Helper()
	text, err := etcdkv.Encode(v)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.client.Put(b.t.Context(), key, text); err != nil {
		b.t.Fatal(err)
	}
}

// roundOf makes a round that asks for permits for tasks under the bound 2, and
// gives those of others back.
func (b *etcdBook) roundOf(asks, drops []Holder, keys ...cluster.Cap) *Round {
	r := &Round{Shard: b.shard, Drops: map[Holder][]cluster.Cap{}, Keys: map[cluster.Cap]struct{}{}}
	r.fits(keys)
	for _, id := range asks {
		bounds := map[cluster.Cap]int{}
		for _, k := range keys {
			bounds[k] = 2
		}
		r.Asks = append(r.Asks, &Request{Holder: id, Bounds: bounds})
	}
	for _, id := range drops {
		r.Drops[id] = keys
	}
	return r
}

func aHolder(b *etcdBook, n int) Holder {
	return Holder{Fire: job.FireID{Job: job.UID{byte(b.shard)}, At: int64(n), Trigger: job.TriggerManual}, Minion: "m"}
}

// TestI18_RoundsAtATime: shards that ask for permits and give them back at the
// same time never have more of them together than the bound.
func TestI18_RoundsAtATime(t *testing.T) {
	t.Parallel()
	b := newShelf(t)
	k := cluster.Cap{Label: "rack", Value: "a"}
	var mu sync.Mutex
	var wg sync.WaitGroup
	now := 0
	for i := range 3 {
		s, _ := b.book(job.ShardID(i))
		wg.Go(func() {
			for n := range 20 {
				id := aHolder(s, n)
				r := s.roundOf([]Holder{id}, nil, k)
				if err := s.Do(t.Context(), r); err != nil {
					t.Error(err)
					return
				}
				if _, ok := r.Granted[id]; !ok {
					continue
				}
				mu.Lock()
				if now++; now > 2 {
					t.Errorf("I18: %d have a permit, and 2 may", now)
				}
				mu.Unlock()
				time.Sleep(time.Millisecond) // lets the others try
				mu.Lock()
				now--
				mu.Unlock()
				if err := s.Do(t.Context(), s.roundOf(nil, []Holder{id}, k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	resp, err := b.client.Get(t.Context(), b.keys.Permits(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%d keys are left, %v", resp.Count, err)
	}
}

// TestI18_FormerOwnerGetsNoPermit: once a shard has another owner, the former one
// can neither get permits nor give any back.
func TestI18_FormerOwnerGetsNoPermit(t *testing.T) {
	t.Parallel()
	b := newShelf(t)
	s, own := b.book(1)
	a, c := cluster.Cap{Label: "rack", Value: "a"}, cluster.Cap{Label: "site", Value: "east/1"}
	has := s.roundOf([]Holder{aHolder(s, 1), aHolder(s, 2), aHolder(s, 3)}, nil, a, c)
	if err := s.Do(t.Context(), has); err != nil || len(has.Granted) != 2 {
		t.Fatalf("granted %v, %v; want two of three", has.Granted, err)
	}
	if err := own.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, _ := b.book(1)
	for what, r := range map[string]*Round{
		"asks": s.roundOf([]Holder{aHolder(s, 1)}, nil, a, c), "gives back": s.roundOf(nil, []Holder{aHolder(s, 1)}, a, c),
	} {
		if err := s.try(t.Context(), r); !errors.Is(err, lock.ErrFenced) {
			t.Errorf("a former owner %s: %v, want it to be fenced off", what, err)
		}
	}
	left, err := next.Read(t.Context())
	if err != nil || len(left) != 2 || len(left[aHolder(s, 1)]) != 2 {
		t.Errorf("the next owner reads %v, %v; want both, under two caps", left, err)
	}
}

// TestOpenRunsAreNoLeftovers: who counts stays while the fire is in a slot,
// whoever looks.
func TestOpenRunsAreNoLeftovers(t *testing.T) {
	t.Parallel()
	b := newShelf(t)
	s, _ := b.book(1)
	k := cluster.Cap{Label: "rack", Value: "a"}
	open := job.FireID{Job: job.UID{1}, At: 1, Trigger: job.TriggerManual}
	share, over := open, open
	share.Share, over.At = 7, 2
	sl := etcdkv.Slot{Entries: []etcdkv.SlotEntry{{Fire: open, State: etcdkv.EntryOpen}}}
	if _, err := b.client.Put(t.Context(), b.keys.Slot(2, 1), string(etcdkv.EncodeSlot(&sl))); err != nil {
		t.Fatal(err)
	}
	v := etcdkv.Permits{Schema: 1, Label: k.Label, Value: k.Value}
	own := job.FireID{Job: job.UID{3}, At: 3, Trigger: job.TriggerManual}
	v.Add(open, 2, "m1")
	v.Add(share, 2, "m1")
	v.Add(over, 2, "m1")
	v.Add(own, 1, "m1")
	b.put(b.keys.Permit(k.Label, k.Value), v)
	if err := s.Collect(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Get(t.Context(), b.keys.Permit(k.Label, k.Value))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatal(resp, err)
	}
	got, err := etcdkv.Decode[etcdkv.Permits]("", resp.Kvs[0].Value)
	if err != nil || got.Count() != 3 || got.Holds(over, "m1") {
		t.Errorf("%+v count, %v; want all but %v", got.Holders, err, over)
	}
}
