package lock

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// putPlace puts a place of somebody who does not run.
func putPlace(t *testing.T, c *clientv3.Client, p, id string, k kind, priority int) string {
	t.Helper()
	value, err := (&record{Place: Place{Schema: placeSchema, Holder: id, Priority: priority}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	key := layout(p[:len(p)-1]).place(class(priority), k, id)
	if _, err := c.Put(t.Context(), key, value); err != nil {
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
			h, err := m.TryLock(t.Context())
			switch {
			case tc.passes && err != nil:
				t.Fatal(err)
			case tc.passes:
				if err := h.Unlock(t.Context()); err != nil {
					t.Fatal(err)
				}
				return
			case !errors.Is(err, ErrHeld):
				t.Fatalf("try to lock: %v, want ErrHeld", err)
			}
			w := m.contender()
			got, err := w.enter(t.Context(), orQueue)
			if err != nil || got.place == nil {
				t.Fatalf("entry: %+v, %v, want a place", got, err)
			}
			take := func() *view {
				v, err := (&waiter{contender: w, mod: got.place.ModRevision, since: got.place.CreateRevision}).take(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			if v := take(); v.hold != nil || v.ahead == nil || string(v.ahead.Key) != ahead {
				t.Errorf("turn while somebody is ahead: %+v, want to be told of %s", v, ahead)
			}
			if _, err := c.Delete(t.Context(), ahead); err != nil {
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
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := later(0), later(0)
	if err := h.Unlock(t.Context()); err != nil { // to a, who is told of b
		t.Fatal(err)
	}
	holdA := <-a
	urgent := later(1)
	if err := holdA.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	hold := <-urgent
	if n := len(inspect(t, c, p).Waiters); n != 1 {
		t.Errorf("%d wait, want b alone", n)
	}
	if err := hold.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (<-b).Unlock(t.Context()); err != nil {
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
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := later(0), later(0)
	if err := h.Unlock(t.Context()); err != nil { // to a, who is told of b
		t.Fatal(err)
	}
	holdA := <-a
	urgent := later(1)
	if err := Break(t.Context(), c, p, holdA.Token().Revision); err != nil {
		t.Fatal(err)
	}
	hold := <-urgent
	if err := holdA.Unlock(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("unlock of a broken hold: %v, want ErrFenced", err)
	}
	if s := inspect(t, c, p); len(s.Holders) != 1 || s.Holders[0].Token != hold.Token() {
		t.Errorf("holders are %+v, want one", s.Holders)
	}
	if err := hold.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (<-b).Unlock(t.Context()); err != nil {
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
	r, err := c.Get(t.Context(), was)
	if err != nil {
		t.Fatal(err)
	}
	w := &waiter{contender: newMutex(t, openSession(t, c, nil), p, MutexOptions{}).contender(), look: time.NewTimer(time.Hour)}
	w.ahead = grantID{was, r.Kvs[0].CreateRevision}
	w.blocker.seen = 1 // it is forgotten when that place is gone
	if err := w.catchUp(t.Context(), r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if w.blocker.seen != 1 {
		t.Error("looks although the place that it waits for is there")
	}
	if _, err := c.Delete(t.Context(), was); err != nil {
		t.Fatal(err)
	}
	putPlace(t, c, p, "ahead", exclusive, 0)
	if err := w.catchUp(t.Context(), r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if w.blocker.seen != 0 {
		t.Error("waits on although the place that it waits for is another's now")
	}
	await.From(t, "a look", w.look.C)
}
