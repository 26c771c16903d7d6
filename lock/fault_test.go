package lock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

// shaky is a session whose requests, renewals excepted, go through a proxy.
type shaky struct {
	*Session

	proxy  *netproxy.Proxy
	direct *clientv3.Client
	prefix string
}

func newShaky(t *testing.T) *shaky {
	t.Helper()
	server := shared.Server(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	direct := server.Client(t)
	client := etcdtest.Dial(t, proxy.Endpoint())
	s, err := Open(t.Context(), SessionConfig{Holder: t.Name(), TTL: 10 * time.Second, Epoch: 1, Marks: etcdtest.Prefix(t)},
		Deps{Client: client, Renewers: []*clientv3.Client{direct}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Heal()
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &shaky{Session: s, proxy: proxy, direct: direct, prefix: etcdtest.Prefix(t)}
}

// soon is a context that ends while a fault still lasts.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// healWhen ends the fault once ok, so that exactly one answer is lost.
func (s *shaky) healWhen(t *testing.T, what string, ok func() bool) (done <-chan struct{}) {
	t.Helper()
	d := make(chan struct{})
	go func() {
		defer close(d)
		defer s.proxy.Heal()
		await.Until(t, what, ok)
	}()
	return d
}

func TestI5_ClaimWhoseAnswerIsLostCounts(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	key := s.prefix + "k"
	s.proxy.DropReplies()
	healed := s.healWhen(t, "claimed", func() bool { return keys(t, s.direct, key) == 1 })
	own, err := s.Claim(t.Context(), Grant{Key: key, Value: "v1"})
	<-healed
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.direct.Get(t.Context(), key)
	if err != nil || len(r.Kvs) != 1 || r.Kvs[0].ModRevision != own.Token().Revision || r.Kvs[0].Lease != int64(s.Lease()) {
		t.Errorf("key is %v, %v, want it at revision %d on our lease", r.Kvs, err, own.Token().Revision)
	}
	if !own.Held() {
		t.Error("the ownership is not held")
	}
}

func TestI5_ClaimThatStaysUnknownLeavesNoGhost(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*netproxy.Proxy){
		"answers lost":    (*netproxy.Proxy).DropReplies,
		"requests held":   (*netproxy.Proxy).Blackhole, // they arrive after the claim was given up
		"connection lost": (*netproxy.Proxy).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShaky(t)
			key := s.prefix + "k"
			if _, err := s.client.Get(t.Context(), key); err != nil { // connected
				t.Fatal(err)
			}
			fault(s.proxy)
			if own, err := s.Claim(soon(t), Grant{Key: key, Value: "v1"}); err == nil {
				t.Fatalf("claimed %s, want an error", own.Key())
			}
			s.proxy.Heal()
			// Clean-up has ended when it has either marked the write or undone it.
			await.Until(t, "key is free", func() bool { return keys(t, s.direct, key) == 0 })
			own, err := s.Claim(t.Context(), Grant{Key: key, Value: "v2"})
			var held *HeldError
			for errors.As(err, &held) && held.Value == "v1" { // the late request, before its clean-up
				own, err = s.Claim(t.Context(), Grant{Key: key, Value: "v2"})
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := own.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A late request may still land, and be undone: wait for quiet.
			await.Until(t, "key stays free", func() bool {
				for range 20 {
					if keys(t, s.client, key) != 0 {
						return false
					}
				}
				return true
			})
		})
	}
}

// A request that arrives after it was given up must do nothing, however late.
func TestI5_GivenUpWriteCannotHappen(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	key := s.prefix + "k"
	for i, giveUp := range []func(*write, string) error{
		func(w *write, mark string) error { return s.giveUp(t.Context(), w, mark) },
		func(w *write, mark string) error { _, err := s.resolve(t.Context(), w, mark); return err },
	} {
		w, mark := &write{
			key: key, value: fmt.Sprint(i), lease: s.lease, undo: true,
			cmps: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
		}, s.mark()
		if err := giveUp(w, mark); err != nil {
			t.Fatal(err)
		}
		out, err := s.try(t.Context(), w, mark)
		if err != nil || out.done || keys(t, s.direct, key) != 0 {
			t.Errorf("case %d: late write: done %v, error %v, want it to do nothing", i, out.done, err)
		}
	}
	// And one that has happened is undone.
	w, mark := &write{key: key, value: "x", lease: s.lease, undo: true}, s.mark()
	if _, err := s.try(t.Context(), w, mark); err != nil {
		t.Fatal(err)
	}
	if err := s.giveUp(t.Context(), w, mark); err != nil || keys(t, s.direct, key) != 0 {
		t.Errorf("giving a write up that has happened: error %v, %d keys, want it undone", err, keys(t, s.direct, key))
	}
}

func TestI6_ReleaseWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*netproxy.Proxy){
		"answers lost":    (*netproxy.Proxy).DropReplies,
		"requests held":   (*netproxy.Proxy).Blackhole,
		"connection lost": (*netproxy.Proxy).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShaky(t)
			key := s.prefix + "k"
			own, err := s.Claim(t.Context(), Grant{Key: key, Value: "v1"})
			if err != nil {
				t.Fatal(err)
			}
			fault(s.proxy)
			if err := own.Release(soon(t)); err == nil {
				t.Error("release without an answer: no error, want one that says so")
			}
			if own.Held() {
				t.Error("held while it is being released")
			}
			s.proxy.Heal()
			await.Until(t, "released", func() bool { return keys(t, s.direct, key) == 0 })
			if err := own.Release(t.Context()); err != nil {
				t.Errorf("release again: %v, want nil", err)
			}
			if !s.Held() {
				t.Errorf("session ended: %v", s.Err())
			}
		})
	}
}

// deletions counts the deletions of key from now on.
func deletions(t *testing.T, c *clientv3.Client, key string) func() int {
	t.Helper()
	rev := etcdtest.Revision(t, c)
	return func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		end := etcdtest.Revision(t, c)
		if end == rev {
			return 0
		}
		n := 0
		for r := range c.Watch(ctx, key, clientv3.WithRev(rev+1), clientv3.WithProgressNotify()) {
			for _, e := range r.Events {
				if e.Type == clientv3.EventTypeDelete {
					n++
				}
			}
			if r.Header.Revision >= end {
				return n
			}
		}
		t.Error("watch ended early")
		return n
	}
}

func TestI7_HandoverLeavesNoGap(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	key := p + "k"
	sessions := []*Session{openSession(t, c, nil), openSession(t, c, nil)}
	own, err := sessions[0].Claim(t.Context(), Grant{Key: key, Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
	deleted := deletions(t, c, key)
	for i := 1; i <= 6; i++ {
		next := sessions[i%2]
		was := own
		rev, err := own.Handover(t.Context(), next.Lease(), fmt.Sprint(i), clientv3.OpPut(p+"state", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sessions[(i+1)%2].Adopt(t.Context(), key, rev); !errors.Is(err, ErrFenced) {
			t.Fatalf("adopt by who gave it away: %v, want ErrFenced", err)
		}
		if _, err := next.Adopt(t.Context(), key, rev-1); !errors.Is(err, ErrFenced) {
			t.Fatalf("adopt at another revision: %v, want ErrFenced", err)
		}
		if own, err = next.Adopt(t.Context(), key, rev); err != nil {
			t.Fatal(err)
		}
		if was.Held() || !own.Held() || !was.Token().Less(own.Token()) {
			t.Errorf("former: held %v, token %v; successor: held %v, token %v", was.Held(), was.Token(), own.Held(), own.Token())
		}
		r, err := c.Txn(t.Context()).If(was.Fence()).Then(clientv3.OpPut(p+"late", "")).Commit()
		if err != nil || r.Succeeded {
			t.Errorf("a write of the former owner: done %v, error %v, want it refused", r.Succeeded, err)
		}
		if _, err := was.Handover(t.Context(), next.Lease(), "x"); !errors.Is(err, ErrFenced) {
			t.Errorf("second hand-over: %v, want ErrFenced", err)
		}
		if err := was.Release(t.Context()); !errors.Is(err, ErrFenced) {
			t.Errorf("release after a hand-over: %v, want ErrFenced", err)
		}
	}
	if n := deleted(); n != 0 {
		t.Errorf("the key was deleted %d times, want never", n)
	}
	if n := keys(t, c, p); n != 2 {
		t.Errorf("%d keys, want the owner and the state", n)
	}
}

func TestI7_HandoverToNobodyChangesNothing(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s, gone := openSession(t, c, nil), openSession(t, c, nil)
	own, err := s.Claim(t.Context(), Grant{Key: p + "k", Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = own.Handover(t.Context(), gone.Lease(), "1", clientv3.OpPut(p+"also", ""))
	if !errors.Is(err, ErrNoSuccessor) || !own.Held() {
		t.Errorf("hand-over to nobody: %v, held %v, want ErrNoSuccessor and still the owner", err, own.Held())
	}
	r, err := c.Txn(t.Context()).If(own.Fence()).Then(clientv3.OpPut(p+"write", "")).Commit()
	if err != nil || !r.Succeeded || keys(t, c, p) != 2 {
		t.Errorf("the owner's write: %v, %v, and %d keys, want it done and nothing else changed", r, err, keys(t, c, p))
	}
}

func TestI6_StaleHandoverSparesNewerGrant(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	a, b := openSession(t, c, nil), openSession(t, c, nil)
	old, err := a.Claim(t.Context(), Grant{Key: p + "k", Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(t.Context(), p+"k"); err != nil {
		t.Fatal(err)
	}
	newer, err := b.Claim(t.Context(), Grant{Key: p + "k", Value: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Handover(t.Context(), a.Lease(), "2"); !errors.Is(err, ErrFenced) || old.Held() {
		t.Errorf("hand-over of an old grant: %v, held %v, want ErrFenced", err, old.Held())
	}
	if _, err := b.Adopt(t.Context(), p+"k", newer.Token().Revision); err != nil {
		t.Errorf("the newer grant: %v, want it untouched", err)
	}
}

func TestI7_HandoverWhoseAnswerIsLostCounts(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	next := openSession(t, s.direct, nil)
	key := s.prefix + "k"
	own, err := s.Claim(t.Context(), Grant{Key: key, Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.DropReplies()
	healed := s.healWhen(t, "handed over", func() bool {
		r, err := s.direct.Get(t.Context(), key)
		return err == nil && len(r.Kvs) == 1 && r.Kvs[0].Lease == int64(next.Lease())
	})
	rev, err := own.Handover(t.Context(), next.Lease(), "1")
	<-healed
	if err != nil || own.Held() {
		t.Fatalf("hand-over: %v, still held %v", err, own.Held())
	}
	if _, err := next.Adopt(t.Context(), key, rev); err != nil {
		t.Error(err)
	}
}

func TestI7_HandoverThatStaysUnknownEnds(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	next := openSession(t, s.direct, nil)
	key := s.prefix + "k"
	own, err := s.Claim(t.Context(), Grant{Key: key, Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.Blackhole()
	if _, err := own.Handover(soon(t), next.Lease(), "1"); err == nil {
		t.Fatal("hand-over without an answer: no error")
	}
	if own.Held() {
		t.Error("held although the successor may have it")
	}
	s.proxy.Heal()
	// Either the successor has it, or Release frees it; never both, nor neither.
	err = own.Release(t.Context())
	r, getErr := s.direct.Get(t.Context(), key)
	if getErr != nil {
		t.Fatal(getErr)
	}
	switch {
	case err == nil && len(r.Kvs) == 0:
	case errors.Is(err, ErrFenced) && len(r.Kvs) == 1 && r.Kvs[0].Lease == int64(next.Lease()):
	default:
		t.Errorf("release: %v, key %v", err, r.Kvs)
	}
}

func TestI5_WaiterThatGivesUpWhileCutOff(t *testing.T) {
	t.Parallel()
	s := newShaky(t)
	other := openSession(t, s.direct, nil)
	h, err := newMutex(t, other, s.prefix, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gaveUp := make(chan error, 1)
	go func() {
		_, err := newMutex(t, s.Session, s.prefix, MutexOptions{}).Lock(ctx)
		gaveUp <- err
	}()
	await.Until(t, "waits", func() bool { return keys(t, s.direct, s.prefix) == 2 })
	s.proxy.Blackhole()
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("lock: %v, want the context's error", err)
	}
	s.proxy.Heal()
	await.Until(t, "place is removed", func() bool { return keys(t, s.direct, s.prefix) == 1 })
	if err := h.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestI9_WaiterReturnsWhenItsSessionEnds(t *testing.T) {
	t.Parallel()
	server := shared.Server(t)
	direct := server.Client(t)
	p := etcdtest.Prefix(t)
	h, err := newMutex(t, openSession(t, direct, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proxy := netproxy.New(t, server.Endpoints[0])
	// It sleeps beyond its deadline, which is the same as to be cut off for as long.
	var asleep atomic.Int64
	system := systemClock()
	cutOff := openWith(t, etcdtest.Dial(t, proxy.Endpoint()), nil, func() time.Duration { return system() + time.Duration(asleep.Load()) })
	closed := openSession(t, direct, nil)
	for _, s := range []*Session{cutOff, closed} {
		s.lookEvery = time.Hour // they are told
	}
	errs := map[*Session]chan error{cutOff: make(chan error, 1), closed: make(chan error, 1)}
	for s, result := range errs {
		go func() {
			_, err := newMutex(t, s, p, MutexOptions{}).Lock(t.Context())
			result <- err
		}()
	}
	await.Until(t, "both wait", func() bool { return keys(t, direct, p) == 3 })
	proxy.Blackhole()
	asleep.Store(int64(cutOff.ttl))
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-errs[closed]; !errors.Is(err, ErrClosed) {
		t.Errorf("waiter of a closed session: %v, want ErrClosed", err)
	}
	if err := <-errs[cutOff]; !errors.Is(err, ErrLost) {
		t.Errorf("waiter that is cut off: %v, want ErrLost", err)
	}
	proxy.Heal()
	await.Until(t, "places are gone", func() bool { return keys(t, direct, p) == 1 })
	if err := h.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWaiterWhosePlaceIsRemoved(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	a, b := openSession(t, c, nil), openSession(t, c, nil)
	b.lookEvery = time.Hour // it is told
	h, err := newMutex(t, a, p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := newMutex(t, b, p, MutexOptions{}).Lock(t.Context())
		result <- err
	}()
	var place string
	await.Until(t, "waits", func() bool {
		r, err := c.Get(t.Context(), p, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
		if err != nil || len(r.Kvs) != 2 {
			return false
		}
		place = string(r.Kvs[1].Key)
		return true
	})
	if _, err := c.Delete(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrFenced) {
		t.Errorf("lock: %v, want ErrFenced", err)
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}
