package lock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// putHold puts a hold whose holder does not answer.
func putHold(t *testing.T, c *clientv3.Client, p string, place Place) *mvccpb.KeyValue {
	t.Helper()
	place.Schema, place.Holder = placeSchema, "silent"
	value, err := (&record{Place: place, Held: time.Now()}).encode()
	if err != nil {
		t.Fatal(err)
	}
	key := layout(p[:len(p)-1]).hold(kindOf(place.Shared, place.Limit), "silent")
	r, err := c.Put(t.Context(), key, value)
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
			h, err := newMutex(t, openSession(t, c, nil), p, tc.opts).Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestI15_BreakWritesItsAuditOrNothing(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p, audit := etcdtest.Prefix(t), etcdtest.Prefix(t)
	h, err := newMutex(t, openSession(t, c, nil), p, MutexOptions{Limit: 2, LockDelay: time.Hour}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rev := h.Token().Revision
	if err := Break(t.Context(), c, p, rev-1, clientv3.OpPut(audit+"1", "x")); !errors.Is(err, ErrFenced) || keys(t, c, audit) != 0 {
		t.Errorf("break of another grant: %v, and %d audit records, want ErrFenced and none", err, keys(t, c, audit))
	}
	if err := Break(t.Context(), c, p, rev, clientv3.OpPut(audit+"2", "x")); err != nil || keys(t, c, audit) != 1 {
		t.Errorf("break: %v, and %d audit records, want one", err, keys(t, c, audit))
	}
	if s := inspect(t, c, p); len(s.Holders) != 0 || len(s.Delayed) != 1 || s.Delayed[0].Limit != 2 {
		t.Errorf("status is %+v, want the broken hold's lock delay", s)
	}
	if err := Break(t.Context(), c, "\n", 1); err == nil {
		t.Error("break of a lock with an odd name: no error")
	}
}

func TestListShowsEveryLock(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s := openSession(t, c, nil)
	for _, name := range []string{"b", "a", "a/h", "c/exclusive"} {
		h, err := newMutex(t, s, p+name, MutexOptions{Purpose: name}).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Unlock(context.Background()) })
	}
	if _, err := c.Put(t.Context(), p+"other/key", "x"); err != nil {
		t.Fatal(err)
	}
	all, err := List(t.Context(), c, p)
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

func TestI15_BreakIsFenced(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	old := putHold(t, c, p, Place{})
	putHold(t, c, p, Place{}) // another grant, since Break has looked
	done, err := breakHold(t.Context(), c, string(old.Key), old.ModRevision, []clientv3.Op{clientv3.OpPut(p+"audit", "x")})
	if err != nil || done || keys(t, c, p) != 1 {
		t.Errorf("break of a grant that is over: done %v, error %v, and %d keys, want the newer grant alone", done, err, keys(t, c, p))
	}
}
