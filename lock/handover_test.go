package lock

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

// counted is a client that counts its transactions and reads.
func counted(t *testing.T, server *etcdtest.Server) (c *clientv3.Client, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: server.Endpoints, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				switch req.(type) {
				case *etcdserverpb.TxnRequest, *etcdserverpb.RangeRequest, *etcdserverpb.PutRequest, *etcdserverpb.DeleteRangeRequest:
					requests.Add(1)
				}
				return next(ctx, method, req, reply, cc, opts...)
			})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, requests
}

func TestUncontendedIsTwoTransactions(t *testing.T) {
	t.Parallel()
	server := shared.Server(t)
	for name, opts := range map[string]MutexOptions{
		"lock": {}, "shared": {Shared: true}, "semaphore": {Limit: 3}, "lock delay": {LockDelay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, requests := counted(t, server)
			s := openSession(t, c, nil)
			m := newMutex(t, s, etcdtest.Prefix(t), opts)
			const turns = 5
			for range turns {
				h, err := m.Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Unlock(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := requests.Load(); n != 2*turns {
				t.Errorf("%d requests for %d turns, want two each", n, turns)
			}
		})
	}
}

// history returns what happened to the keys under prefix after rev, by revision.
func history(t *testing.T, c *clientv3.Client, prefix string, rev int64) map[int64][]*clientv3.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := etcdtest.Revision(t, c)
	events := make(map[int64][]*clientv3.Event)
	for r := range c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithProgressNotify()) {
		for _, e := range r.Events {
			events[e.Kv.ModRevision] = append(events[e.Kv.ModRevision], e)
		}
		if r.Header.Revision >= end {
			return events
		}
	}
	t.Fatal("watch ended early")
	return nil
}

// lockLater starts a Lock and waits until it waits.
func lockLater(t *testing.T, c *clientv3.Client, m *Mutex) <-chan *Hold {
	t.Helper()
	got := make(chan *Hold, 1)
	n := len(inspect(t, c, string(m.lock)).Waiters)
	go func() {
		defer close(got)
		h, err := m.Lock(t.Context())
		if err != nil {
			t.Errorf("lock: %v", err)
			return
		}
		got <- h
	}()
	await.Until(t, "waits", func() bool { return len(inspect(t, c, string(m.lock)).Waiters) == n+1 })
	return got
}

// At every revision, one of the two has the lock: the unlocker hands it over.
func TestI7_UnlockHandsOverInOneTransaction(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	const waiters = maxHints + 4 // more than are known by name
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var next []<-chan *Hold
	for range waiters {
		next = append(next, lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{})))
	}
	rev := etcdtest.Revision(t, c)
	for _, w := range next {
		if err := h.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h = <-w; h == nil {
			t.Fatal("a waiter has failed")
		}
	}
	events := history(t, c, layout(p[:len(p)-1]).holds(), rev)
	if len(events) != waiters {
		t.Errorf("holds changed at %d revisions, want %d, one for each hand-over", len(events), waiters)
	}
	for rev, changes := range events {
		if len(changes) != 2 || changes[0].Type == changes[1].Type {
			t.Errorf("at revision %d: %v, want one hold to end and one to begin", rev, changes)
		}
	}
	if err := h.Unlock(t.Context()); err != nil || keys(t, c, p) != 0 {
		t.Errorf("last unlock: %v, and %d keys, want none", err, keys(t, c, p))
	}
}

// A place that lies on no lease, of somebody who does not even run, is granted
// the lock like any other, and its hold is respected.
func TestI8_PersistentPlaceIsServed(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	l := layout(p[:len(p)-1])
	m := newMutex(t, openSession(t, c, nil), p, MutexOptions{})
	h, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	value, err := (&record{Place: Place{Schema: placeSchema, Holder: "run"}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), l.place(class(0), exclusive, "run-1"), value); err != nil {
		t.Fatal(err)
	}
	next := lockLater(t, c, m)
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := inspect(t, c, p)
	if len(s.Holders) != 1 || s.Holders[0].ID != "run-1" || s.Holders[0].Lease != 0 || len(s.Waiters) != 1 {
		t.Fatalf("status is %+v, want the run to hold and one to wait", s)
	}
	if _, err := c.Delete(t.Context(), s.Holders[0].Key); err != nil { // the run is done
		t.Fatal(err)
	}
	if h = <-next; h == nil {
		t.Fatal("the waiter has failed")
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestI8_LostWaiterIsPassedOver(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sessions []*Session
	for range 3 {
		s := openSession(t, c, nil)
		sessions = append(sessions, s)
		go func() { _, _ = newMutex(t, s, p, MutexOptions{}).Lock(ctx) }()
		await.Until(t, "waits", func() bool { return len(inspect(t, c, p).Waiters) == len(sessions) })
	}
	last := lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{}))
	for i, s := range sessions { // their places are known by name
		if i == 1 {
			cancel()
		}
		if _, err := c.Revoke(t.Context(), s.Lease()); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h = <-last; h == nil {
		t.Fatal("the last waiter has failed")
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var faults = map[string]func(*netproxy.Proxy){
	"answers lost":    (*netproxy.Proxy).DropReplies,
	"requests held":   (*netproxy.Proxy).Blackhole, // they arrive after they were given up
	"connection lost": (*netproxy.Proxy).Refuse,
}

func TestI5_LockWhoseAnswerIsLostCounts(t *testing.T) {
	t.Parallel()
	for name, contended := range map[string]bool{"free": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShaky(t)
			m := newMutex(t, s.Session, s.prefix, MutexOptions{})
			want := int64(1)
			var other *Hold
			if contended {
				var err error
				if other, err = newMutex(t, openSession(t, s.direct, nil), s.prefix, MutexOptions{}).Lock(t.Context()); err != nil {
					t.Fatal(err)
				}
				want, m.busy = 2, atomic.Bool{}
			}
			m.busy.Store(contended)
			s.proxy.DropReplies()
			healed := s.healWhen(t, "entered", func() bool { return keys(t, s.direct, s.prefix) == want })
			got := make(chan *Hold, 1)
			go func() {
				h, err := m.Lock(t.Context())
				if err != nil {
					t.Errorf("lock: %v", err)
				}
				got <- h
			}()
			<-healed
			if other != nil {
				if err := other.Unlock(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			h := <-got
			if h == nil {
				return
			}
			if st := inspect(t, s.direct, s.prefix); len(st.Holders) != 1 || st.Holders[0].Token != h.Token() || len(st.Waiters) != 0 {
				t.Errorf("status is %+v, want our hold, %v, alone", st, h.Token())
			}
			if err := h.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestI5_LockThatStaysUnknownLeavesNoGhost(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		for _, opts := range []MutexOptions{{}, {Limit: 2}, {ID: "x", LockDelay: time.Hour}} {
			t.Run(fmt.Sprintf("%s, %s", name, kindOf(false, opts.Limit)), func(t *testing.T) {
				t.Parallel()
				s := newShaky(t)
				m := newMutex(t, s.Session, s.prefix, opts)
				if _, err := s.client.Get(t.Context(), s.prefix); err != nil { // connected
					t.Fatal(err)
				}
				fault(s.proxy)
				if h, err := m.Lock(soon(t)); err == nil {
					t.Fatalf("locked %s, want an error", h.Key())
				}
				s.proxy.Heal()
				// A late request may still land, and be undone: wait for quiet.
				await.Until(t, "nothing is left", func() bool {
					for range 20 {
						if keys(t, s.client, s.prefix) != 0 {
							return false
						}
					}
					return true
				})
				opts.ID = ""
				h, err := newMutex(t, s.Session, s.prefix, opts).Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Unlock(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// A request that arrives after its contender left must do nothing, however late.
func TestI5_LateEntryAndGrantDoNothing(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s := openSession(t, c, nil)
	m := newMutex(t, s, p, MutexOptions{})
	late := m.contender()
	mark := s.mark()
	if err := late.leave(t.Context(), mark); err != nil { // gives it up
		t.Fatal(err)
	}
	for _, how := range []otherwise{orElse, orTell, orQueue} {
		if got, err := (&entry{c: late, how: how}).commit(t.Context(), mark); err != nil || got.hold != nil || got.place != nil || keys(t, c, p) != 0 {
			t.Errorf("entry %d that was given up: %+v, %v, and %d keys", how, got, err, keys(t, c, p))
		}
	}

	w := m.contender()
	h, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&entry{c: w, how: orQueue}).commit(t.Context(), s.mark())
	if err != nil || got.place == nil {
		t.Fatalf("entry: %+v, %v", got, err)
	}
	if err := w.leave(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := (&waiter{contender: w, mod: got.place.ModRevision, since: got.place.CreateRevision}).take(t.Context())
	if err != nil || v.hold != nil || keys(t, c, p) != 0 {
		t.Errorf("grant after the place was left: %+v, %v, and %d keys", v, err, keys(t, c, p))
	}
}

// Unlocking is done, and the lock goes on, whatever becomes of the answer.
func TestI6_UnlockWhoseAnswerIsLostFreesOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShaky(t)
			h, err := newMutex(t, s.Session, s.prefix, MutexOptions{}).Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			other := openSession(t, s.direct, nil)
			next := lockLater(t, s.direct, newMutex(t, other, s.prefix, MutexOptions{}))
			fault(s.proxy)
			if err := h.Unlock(soon(t)); err == nil {
				t.Error("unlock without an answer: no error, want one that says so")
			}
			if h.Held() {
				t.Error("held while it is being unlocked")
			}
			s.proxy.Heal()
			h2 := <-next
			if h2 == nil {
				t.Fatal("the next has failed")
			}
			if err := h.Unlock(t.Context()); err != nil {
				t.Errorf("unlock again: %v, want nil", err)
			}
			if st := inspect(t, s.direct, s.prefix); len(st.Holders) != 1 || st.Holders[0].Token != h2.Token() {
				t.Errorf("status is %+v, want the next to hold", st)
			}
			if err := h2.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A name whose requests may still be on their way is not used again.
func TestI5_NameInDoubtIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	m := newMutex(t, s.Session, s.prefix, MutexOptions{})
	key := func() string {
		h, err := m.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		return h.Key()
	}
	first := key()
	if again := key(); again != first {
		t.Errorf("keys %s, then %s, want the name used again", first, again)
	}
	s.proxy.DropReplies()
	if _, err := m.Lock(soon(t)); err == nil {
		t.Fatal("lock without an answer: no error")
	}
	s.proxy.Heal()
	await.Until(t, "nothing is left", func() bool { return keys(t, s.direct, s.prefix) == 0 })
	if after := key(); after == first {
		t.Errorf("key %s is used again after an answer was lost", after)
	}
}
