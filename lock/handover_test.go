package lock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

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
				h, err := m.Lock(timeout(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Unlock(timeout(t)); err != nil {
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
	ctx, cancel := context.WithCancel(timeout(t))
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
		h, err := m.Lock(timeout(t))
		if err != nil {
			t.Errorf("lock: %v", err)
			return
		}
		got <- h
	}()
	eventually(t, "waits", func() bool { return len(inspect(t, c, string(m.lock)).Waiters) == n+1 })
	return got
}

// At every revision, one of the two has the lock: the unlocker hands it over.
func TestI7_UnlockHandsOverInOneTransaction(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	const waiters = maxHints + 4 // more than are known by name
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	var next []<-chan *Hold
	for range waiters {
		next = append(next, lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{})))
	}
	rev := etcdtest.Revision(t, c)
	for _, w := range next {
		if err := h.Unlock(timeout(t)); err != nil {
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
	if err := h.Unlock(timeout(t)); err != nil || keys(t, c, p) != 0 {
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
	h, err := m.Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	value, err := (&record{Place: Place{Schema: placeSchema, Holder: "run"}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(timeout(t), l.place(class(0), exclusive, "run-1"), value); err != nil {
		t.Fatal(err)
	}
	next := lockLater(t, c, m)
	if err := h.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	s := inspect(t, c, p)
	if len(s.Holders) != 1 || s.Holders[0].ID != "run-1" || s.Holders[0].Lease != 0 || len(s.Waiters) != 1 {
		t.Fatalf("status is %+v, want the run to hold and one to wait", s)
	}
	if _, err := c.Delete(timeout(t), s.Holders[0].Key); err != nil { // the run is done
		t.Fatal(err)
	}
	if h = <-next; h == nil {
		t.Fatal("the waiter has failed")
	}
	if err := h.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

func TestI8_LostWaiterIsPassedOver(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(timeout(t))
	defer cancel()
	var sessions []*Session
	for range 3 {
		s := openSession(t, c, nil)
		sessions = append(sessions, s)
		go func() { _, _ = newMutex(t, s, p, MutexOptions{}).Lock(ctx) }()
		eventually(t, "waits", func() bool { return len(inspect(t, c, p).Waiters) == len(sessions) })
	}
	last := lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{}))
	for i, s := range sessions { // their places are known by name
		if i == 1 {
			cancel()
		}
		if _, err := c.Revoke(timeout(t), s.Lease()); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if h = <-last; h == nil {
		t.Fatal("the last waiter has failed")
	}
	if err := h.Unlock(timeout(t)); err != nil {
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
				if other, err = newMutex(t, openSession(t, s.direct, nil), s.prefix, MutexOptions{}).Lock(timeout(t)); err != nil {
					t.Fatal(err)
				}
				want, m.busy = 2, atomic.Bool{}
			}
			m.busy.Store(contended)
			s.proxy.DropReplies()
			healed := s.healWhen(t, "entered", func() bool { return keys(t, s.direct, s.prefix) == want })
			got := make(chan *Hold, 1)
			go func() {
				h, err := m.Lock(timeout(t))
				if err != nil {
					t.Errorf("lock: %v", err)
				}
				got <- h
			}()
			<-healed
			if other != nil {
				if err := other.Unlock(timeout(t)); err != nil {
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
			if err := h.Unlock(timeout(t)); err != nil {
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
				if _, err := s.client.Get(timeout(t), s.prefix); err != nil { // connected
					t.Fatal(err)
				}
				fault(s.proxy)
				if h, err := m.Lock(soon(t)); err == nil {
					t.Fatalf("locked %s, want an error", h.Key())
				}
				s.proxy.Heal()
				// A late request may still land, and be undone: wait for quiet.
				eventually(t, "nothing is left", func() bool {
					for range 20 {
						if keys(t, s.client, s.prefix) != 0 {
							return false
						}
					}
					return true
				})
				opts.ID = ""
				h, err := newMutex(t, s.Session, s.prefix, opts).Lock(timeout(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Unlock(timeout(t)); err != nil {
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
	if err := late.leave(timeout(t), mark); err != nil { // gives it up
		t.Fatal(err)
	}
	for _, how := range []otherwise{orElse, orTell, orQueue} {
		if got, err := (&entry{c: late, how: how}).commit(timeout(t), mark); err != nil || got.hold != nil || got.place != nil || keys(t, c, p) != 0 {
			t.Errorf("entry %d that was given up: %+v, %v, and %d keys", how, got, err, keys(t, c, p))
		}
	}

	w := m.contender()
	h, err := m.Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&entry{c: w, how: orQueue}).commit(timeout(t), s.mark())
	if err != nil || got.place == nil {
		t.Fatalf("entry: %+v, %v", got, err)
	}
	if err := w.leave(timeout(t), ""); err != nil {
		t.Fatal(err)
	}
	if err := h.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	v, err := (&waiter{contender: w, mod: got.place.ModRevision, since: got.place.CreateRevision}).take(timeout(t))
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
			h, err := newMutex(t, s.Session, s.prefix, MutexOptions{}).Lock(timeout(t))
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
			if err := h.Unlock(timeout(t)); err != nil {
				t.Errorf("unlock again: %v, want nil", err)
			}
			if st := inspect(t, s.direct, s.prefix); len(st.Holders) != 1 || st.Holders[0].Token != h2.Token() {
				t.Errorf("status is %+v, want the next to hold", st)
			}
			if err := h2.Unlock(timeout(t)); err != nil {
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
		h, err := m.Lock(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Unlock(timeout(t)); err != nil {
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
	eventually(t, "nothing is left", func() bool { return keys(t, s.direct, s.prefix) == 0 })
	if after := key(); after == first {
		t.Errorf("key %s is used again after an answer was lost", after)
	}
}

// putHold puts a hold whose holder does not answer.
func putHold(t *testing.T, c *clientv3.Client, p string, place Place) *mvccpb.KeyValue {
	t.Helper()
	place.Schema, place.Holder = placeSchema, "silent"
	value, err := (&record{Place: place, Held: time.Now()}).encode()
	if err != nil {
		t.Fatal(err)
	}
	key := layout(p[:len(p)-1]).hold(kindOf(place.Shared, place.Limit), "silent")
	r, err := c.Put(timeout(t), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return &mvccpb.KeyValue{Key: []byte(key), ModRevision: r.Header.Revision}
}

func TestI12_SilentHoldIsBroken(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	for name, tc := range map[string]struct {
		held Place
		opts MutexOptions
	}{
		"I12 preempted":           {Place{}, MutexOptions{Priority: 1, Preempt: true}},
		"I12 preempted by reader": {Place{}, MutexOptions{Priority: 1, Preempt: true, Shared: true}},
		"I14 held for too long":   {Place{MaxHold: 10 * time.Millisecond}, MutexOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := etcdtest.Prefix(t)
			putHold(t, c, p, tc.held)
			h, err := newMutex(t, openSession(t, c, nil), p, tc.opts).Lock(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Unlock(timeout(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestI15_BreakWritesItsAuditOrNothing(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p, audit := etcdtest.Prefix(t), etcdtest.Prefix(t)
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{Limit: 2, LockDelay: time.Hour}).Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	rev := h.Token().Revision
	if err := Break(timeout(t), c, p, rev-1, clientv3.OpPut(audit+"1", "x")); !errors.Is(err, ErrFenced) || keys(t, c, audit) != 0 {
		t.Errorf("break of another grant: %v, and %d audit records, want ErrFenced and none", err, keys(t, c, audit))
	}
	if err := Break(timeout(t), c, p, rev, clientv3.OpPut(audit+"2", "x")); err != nil || keys(t, c, audit) != 1 {
		t.Errorf("break: %v, and %d audit records, want one", err, keys(t, c, audit))
	}
	if s := inspect(t, c, p); len(s.Holders) != 0 || len(s.Delayed) != 1 || s.Delayed[0].Limit != 2 {
		t.Errorf("status is %+v, want the broken hold's lock delay", s)
	}
	if err := Break(timeout(t), c, "\n", 1); err == nil {
		t.Error("break of a lock with an odd name: no error")
	}
}

func TestListShowsEveryLock(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s := openSession(t, c, nil)
	for _, name := range []string{"b", "a", "a/h", "c/exclusive"} {
		h, err := newMutex(t, s, p+name, MutexOptions{Purpose: name}).Lock(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Unlock(context.Background()) })
	}
	if _, err := c.Put(timeout(t), p+"other/key", "x"); err != nil {
		t.Fatal(err)
	}
	all, err := List(timeout(t), c, p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		if len(s.Holders) != 1 || s.Prefix != p+s.Holders[0].Purpose {
			t.Errorf("status is %+v, want one holder, of %s", s, s.Prefix)
		}
		got = append(got, s.Prefix[len(p):])
	}
	if fmt.Sprint(got) != "[a a/h b c/exclusive]" {
		t.Errorf("locks are %q, want all, sorted", got)
	}
	if empty := inspect(t, c, p+"none"); len(empty.Holders)+len(empty.Waiters) != 0 || empty.Prefix != p+"none" || empty.Revision == 0 {
		t.Errorf("status of a free lock is %+v", empty)
	}
}

// putPlace puts a place of somebody who does not run.
func putPlace(t *testing.T, c *clientv3.Client, p, id string, k kind, priority int) string {
	t.Helper()
	value, err := (&record{Place: Place{Schema: placeSchema, Holder: id, Priority: priority}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	key := layout(p[:len(p)-1]).place(class(priority), k, id)
	if _, err := c.Put(timeout(t), key, value); err != nil {
		t.Fatal(err)
	}
	return key
}

// Nobody takes a lock that is free while somebody is ahead.
func TestI10_WhoIsAheadIsCompared(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	for name, tc := range map[string]struct {
		opts     MutexOptions
		ahead    kind
		priority int
		passes   bool
	}{
		"lock after lock":               {MutexOptions{}, exclusive, 0, false},
		"lock after reader":             {MutexOptions{}, sharing, 0, false},
		"lock after higher priority":    {MutexOptions{}, exclusive, 1, false},
		"lock before lower priority":    {MutexOptions{}, exclusive, -1, true},
		"reader after writer":           {MutexOptions{Shared: true}, exclusive, 0, false},
		"reader with reader":            {MutexOptions{Shared: true}, sharing, 0, true},
		"reader after higher priority":  {MutexOptions{Shared: true}, exclusive, 1, false},
		"permit after permit":           {MutexOptions{Limit: 2}, kindOf(false, 2), 0, false},
		"permit before lower priority":  {MutexOptions{Limit: 2}, kindOf(false, 2), -1, true},
		"permit after higher priority ": {MutexOptions{Limit: 2}, kindOf(false, 2), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := etcdtest.Prefix(t)
			ahead := putPlace(t, c, p, "ahead", tc.ahead, tc.priority)
			m := newMutex(t, openSession(t, c, nil), p, tc.opts)
			h, err := m.TryLock(timeout(t))
			switch {
			case tc.passes && err != nil:
				t.Fatal(err)
			case tc.passes:
				if err := h.Unlock(timeout(t)); err != nil {
					t.Fatal(err)
				}
				return
			case !errors.Is(err, ErrHeld):
				t.Fatalf("try to lock: %v, want ErrHeld", err)
			}
			w := m.contender()
			got, err := w.enter(timeout(t), orQueue)
			if err != nil || got.place == nil {
				t.Fatalf("entry: %+v, %v, want a place", got, err)
			}
			take := func() *view {
				v, err := (&waiter{contender: w, mod: got.place.ModRevision, since: got.place.CreateRevision}).take(timeout(t))
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			if v := take(); v.hold != nil || v.ahead == nil || string(v.ahead.Key) != ahead {
				t.Errorf("turn while somebody is ahead: %+v, want to be told of %s", v, ahead)
			}
			if _, err := c.Delete(timeout(t), ahead); err != nil {
				t.Fatal(err)
			}
			putPlace(t, c, p, "behind", tc.ahead, tc.opts.Priority)
			if v := take(); v.hold == nil {
				t.Errorf("turn when nobody is ahead: %+v, want the lock", v)
			}
		})
	}
}

// Whoever is known by name is passed over if somebody of a higher priority came since.
func TestI8_HigherPriorityComesBeforeKnownNames(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	later := func(priority int) <-chan *Hold {
		return lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{Priority: priority}))
	}
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	a, b := later(0), later(0)
	if err := h.Unlock(timeout(t)); err != nil { // to a, who is told of b
		t.Fatal(err)
	}
	holdA := <-a
	urgent := later(1)
	if err := holdA.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	hold := <-urgent
	if n := len(inspect(t, c, p).Waiters); n != 1 {
		t.Errorf("%d wait, want b alone", n)
	}
	if err := hold.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := (<-b).Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

// Who lost the lock and knows who was next does not hand over what it has not.
func TestI6_LostHoldIsNotHandedOver(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	later := func(priority int) <-chan *Hold {
		return lockLater(t, c, newMutex(t, openSession(t, c, nil), p, MutexOptions{Priority: priority}))
	}
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	a, b := later(0), later(0)
	if err := h.Unlock(timeout(t)); err != nil { // to a, who is told of b
		t.Fatal(err)
	}
	holdA := <-a
	urgent := later(1)
	if err := Break(timeout(t), c, p, holdA.Token().Revision); err != nil {
		t.Fatal(err)
	}
	hold := <-urgent
	if err := holdA.Unlock(timeout(t)); !errors.Is(err, ErrFenced) {
		t.Errorf("unlock of a broken hold: %v, want ErrFenced", err)
	}
	if s := inspect(t, c, p); len(s.Holders) != 1 || s.Holders[0].Token != hold.Token() {
		t.Errorf("holders are %+v, want one", s.Holders)
	}
	if err := hold.Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := (<-b).Unlock(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

// A name is used again: who waits for a place must not take a later one, which
// is behind its own, for that.
func TestI8_PlaceOfTheSameNameIsAnother(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	was := putPlace(t, c, p, "ahead", exclusive, 0)
	r, err := c.Get(timeout(t), was)
	if err != nil {
		t.Fatal(err)
	}
	w := &waiter{contender: newMutex(t, openSession(t, c, nil), p, MutexOptions{}).contender(), look: time.NewTimer(time.Hour)}
	w.ahead = grantID{was, r.Kvs[0].CreateRevision}
	if err := w.catchUp(timeout(t), r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.look.C:
		t.Error("looks although the place that it waits for is there")
	case <-time.After(2 * lookAfter):
	}
	if _, err := c.Delete(timeout(t), was); err != nil {
		t.Fatal(err)
	}
	putPlace(t, c, p, "ahead", exclusive, 0)
	if err := w.catchUp(timeout(t), r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.look.C:
	case <-time.After(patience):
		t.Error("does not look although the place that it waits for is another's now")
	}
}

func TestI15_BreakIsFenced(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	old := putHold(t, c, p, Place{})
	putHold(t, c, p, Place{}) // another grant, since Break has looked
	done, err := breakHold(timeout(t), c, string(old.Key), old.ModRevision, []clientv3.Op{clientv3.OpPut(p+"audit", "x")})
	if err != nil || done || keys(t, c, p) != 1 {
		t.Errorf("break of a grant that is over: done %v, error %v, and %d keys, want the newer grant alone", done, err, keys(t, c, p))
	}
}
