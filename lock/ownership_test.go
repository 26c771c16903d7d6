package lock

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

func TestI1_OnlyOneClaims(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	a, b := openSession(t, c, nil), openSession(t, c, nil)
	ctx := t.Context()
	own, err := a.Claim(ctx, Grant{Key: p + "k", Value: "a1", Then: []clientv3.Op{clientv3.OpPut(p+"state", "1")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Claim(ctx, Grant{Key: p + "k", Value: "b1"})
	var held *HeldError
	if !errors.Is(err, ErrHeld) || !errors.As(err, &held) {
		t.Fatalf("claim of a held key: %v, want a *HeldError", err)
	}
	if held.Value != "a1" || held.Lease != a.Lease() || held.Revision != own.Token().Revision {
		t.Errorf("held by %+v, want a1 on the first session's lease", held)
	}
	_, err = b.Claim(ctx, Grant{Key: p + "k2", Value: "b2", If: []clientv3.Cmp{clientv3.Compare(clientv3.Value(p+"state"), "=", "2")}})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("claim with a condition that does not hold: %v, want ErrConflict", err)
	}
	if err := own.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if own.Held() {
		t.Error("a released ownership is held")
	}
	again, err := b.Claim(ctx, Grant{Key: p + "k", Value: "b3"})
	if err != nil {
		t.Fatal(err)
	}
	if !own.Token().Less(again.Token()) { // I2
		t.Errorf("tokens %v, then %v, want them to rise", own.Token(), again.Token())
	}
}

func TestI6_StaleReleaseSparesNewerGrant(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s := openSession(t, c, nil)
	ctx := t.Context()
	old, err := s.Claim(ctx, Grant{Key: p + "k", Value: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, p+"k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, Grant{Key: p + "k", Value: "2"}); err != nil {
		t.Fatal(err)
	}
	if err := old.Release(ctx, clientv3.OpPut(p+"also", "x")); !errors.Is(err, ErrFenced) {
		t.Errorf("release of an old grant: %v, want ErrFenced", err)
	}
	if err := old.Release(ctx); err != nil {
		t.Errorf("second release: %v, want nil", err)
	}
	if n := keys(t, c, p); n != 1 {
		t.Errorf("%d keys, want the newer grant's alone", n)
	}
}

func TestI6_SeizeTakesOneGrantOnly(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	a, b := openSession(t, c, nil), openSession(t, c, nil)
	ctx := t.Context()
	old, err := a.Claim(ctx, Grant{Key: p + "k", Value: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seize(ctx, old.Token().Revision-1, Grant{Key: p + "k", Value: "2"}); !errors.Is(err, ErrFenced) {
		t.Errorf("seize from a grant that is not there: %v, want ErrFenced", err)
	}
	own, err := b.Seize(ctx, old.Token().Revision, Grant{Key: p + "k", Value: "3"})
	if err != nil {
		t.Fatal(err)
	}
	if !own.Held() || !old.Token().Less(own.Token()) {
		t.Errorf("seized: held %v, token %v after %v", own.Held(), own.Token(), old.Token())
	}
	r, err := c.Txn(ctx).If(old.Fence()).Then(clientv3.OpPut(p+"w", "x")).Commit()
	if err != nil || r.Succeeded {
		t.Errorf("write under the old fence: succeeded %v, error %v", r.Succeeded, err)
	}
	if err := old.Release(ctx); !errors.Is(err, ErrFenced) {
		t.Errorf("release of what was seized: %v, want ErrFenced", err)
	}
}
