package lock

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// lent grants a lease that lives for the test.
func lent(t *testing.T, c *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	r, err := c.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Revoke(context.Background(), r.ID) })
	return r.ID
}

func borrow(t *testing.T, c *clientv3.Client, lease clientv3.LeaseID, ttl time.Duration) *Session {
	t.Helper()
	s, err := Borrow(SessionConfig{Holder: t.Name(), Epoch: 1, Marks: etcdtest.Prefix(t)}, Deps{Client: c}, lease, ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

func closeSession(t *testing.T, s *Session) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func inspect(t *testing.T, c *clientv3.Client, prefix string) Status {
	t.Helper()
	s, err := Inspect(t.Context(), c, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBorrowIsChecked(t *testing.T) {
	t.Parallel()
	_, err := Borrow(SessionConfig{}, Deps{}, 0, -time.Second)
	for _, want := range []string{"no lease is given", "ttl is -1s", "holder is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("borrow: %v, want %q in it", err, want)
		}
	}
}

func TestBorrowedSessionEndsWithoutItsLease(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	lease := lent(t, c)
	p := etcdtest.Prefix(t)
	s := borrow(t, c, lease, time.Hour)
	h, err := newMutex(t, s, p, MutexOptions{ID: "x"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeSession(t, s)
	if h.Held() {
		t.Error("held although the session is closed")
	}
	if r, err := c.TimeToLive(t.Context(), lease); err != nil || r.TTL <= 0 {
		t.Errorf("the lease has ended with the session: %v, %v", r, err)
	}
	again, err := newMutex(t, borrow(t, c, lease, time.Hour), p, MutexOptions{ID: "x"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again.Token() != h.Token() {
		t.Errorf("the hold has the token %v, then %v, want it resumed", h.Token(), again.Token())
	}
	if err := again.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, c, p); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	short := borrow(t, c, lease, 20*time.Millisecond)
	lost(t, short)
	if err := short.Err(); !errors.Is(err, ErrLost) {
		t.Errorf("error is %v, want ErrLost", err)
	}
}

// poll asks for the lock for a while, as a server does for its client, and
// gives up when the contender waits. It returns why Lock ended.
func poll(t *testing.T, c *clientv3.Client, lease clientv3.LeaseID, p string, opts MutexOptions) error {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s := borrow(t, c, lease, time.Hour)
	result := make(chan error, 1)
	go func() {
		_, err := newMutex(t, s, p, opts).Lock(ctx)
		result <- err
	}()
	await.Until(t, "the contender waits", func() bool {
		return slices.ContainsFunc(inspect(t, c, p).Waiters, func(w Contender) bool { return w.ID == opts.ID })
	})
	cancel(errPollOver)
	err := <-result
	closeSession(t, s)
	return err
}

var errPollOver = errors.New("poll is over")

func TestI8_PlaceIsKeptAndResumed(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	for name, opts := range map[string]MutexOptions{
		"lock":      {ID: "x", KeepPlace: true},
		"shared":    {ID: "x", KeepPlace: true, Shared: true},
		"semaphore": {ID: "x", KeepPlace: true, Limit: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, lease := etcdtest.Prefix(t), lent(t, c)
			var holds []*Hold
			for range max(1, opts.Limit) {
				h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{Limit: opts.Limit}).Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				holds = append(holds, h)
			}
			if err := poll(t, c, lease, p, opts); !errors.Is(err, errPollOver) {
				t.Fatalf("first poll: %v, want it to end in time", err)
			}
			place := inspect(t, c, p).Waiters
			late := make(chan *Hold, 1)
			go func() {
				h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{Limit: opts.Limit}).Lock(t.Context())
				if err != nil {
					t.Errorf("a later contender: %v", err)
				}
				late <- h
			}()
			await.Until(t, "two wait", func() bool { return len(inspect(t, c, p).Waiters) == 2 })
			if err := poll(t, c, lease, p, opts); !errors.Is(err, errPollOver) {
				t.Fatalf("second poll: %v, want it to end in time", err)
			}
			if now := inspect(t, c, p).Waiters; len(now) != 2 || len(place) != 1 || now[0].Revision != place[0].Revision {
				t.Errorf("places are %+v, then %+v, want the first kept", place, now)
			}
			if err := holds[0].Unlock(t.Context()); err != nil { // hands over while nobody polls
				t.Fatal(err)
			}
			ctx := t.Context()
			s := borrow(t, c, lease, time.Hour)
			h, err := newMutex(t, s, p, opts).Lock(ctx)
			if err != nil {
				t.Fatalf("third poll: %v, want the lock", err)
			}
			if again, err := newMutex(t, s, p, opts).TryLock(ctx); err != nil || again.Token() != h.Token() {
				t.Errorf("try with the same id: %v, want the same hold", err)
			}
			if err := newMutex(t, s, p, opts).Abandon(ctx); err != nil {
				t.Fatal(err)
			}
			if err := h.Unlock(ctx); !errors.Is(err, ErrFenced) {
				t.Errorf("unlock after it was abandoned: %v, want ErrFenced", err)
			}
			for _, h := range append(holds[1:], <-late) {
				if err := h.Unlock(ctx); err != nil {
					t.Error(err)
				}
			}
			await.Until(t, "nothing is left", func() bool { return keys(t, c, p) == 0 })
		})
	}
}

func TestI5_AbandonRemovesPlace(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p, lease := etcdtest.Prefix(t), lent(t, c)
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opts := MutexOptions{ID: "x", KeepPlace: true, Priority: 3}
	if err := poll(t, c, lease, p, opts); !errors.Is(err, errPollOver) {
		t.Fatalf("poll: %v, want it to end in time", err)
	}
	other := borrow(t, c, lent(t, c), time.Hour)
	if _, err := newMutex(t, other, p, opts).Lock(t.Context()); !errors.Is(err, ErrConflict) {
		t.Errorf("lock with the same id on another lease: %v, want ErrConflict", err)
	}
	m := newMutex(t, borrow(t, c, lent(t, c), time.Hour), p, opts)
	if err := m.Abandon(t.Context()); err != nil || keys(t, c, p) != 2 {
		t.Errorf("abandon on another lease: %v, and %d keys, want the place left alone", err, keys(t, c, p))
	}
	m = newMutex(t, borrow(t, c, lease, time.Hour), p, opts)
	for range 2 {
		if err := m.Abandon(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := keys(t, c, p); n != 1 {
		t.Errorf("%d keys, want the holder's alone", n)
	}
	if err := h.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := newMutex(t, m.session, p, MutexOptions{}).Abandon(t.Context()); err == nil {
		t.Error("abandon without an id: no error")
	}
}
