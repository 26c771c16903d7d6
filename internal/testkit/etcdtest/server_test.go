package etcdtest

import (
	"os"
	"testing"
)

var shared Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func TestRestartKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	s := Start(t)
	c := s.Client(t)
	ctx := t.Context()
	if _, err := c.Put(ctx, "a", "1"); err != nil {
		t.Fatalf("put: %v", err)
	}
	was := s.Endpoints[0]
	s.Restart(t)
	if s.Endpoints[0] != was {
		t.Errorf("endpoint is %s after a restart, want %s", s.Endpoints[0], was)
	}
	r, err := c.Get(ctx, "a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "1" {
		t.Errorf("got %v, %v after a restart, want the value put before", r, err)
	}
}

func TestSharedKeepsPrefixesApart(t *testing.T) {
	t.Parallel()
	if first, second := shared.Server(t), shared.Server(t); first != second {
		t.Error("two servers are shared, want one")
	}
	if a, b := Prefix(t), Prefix(t); a == b {
		t.Errorf("two prefixes are %q, want distinct ones", a)
	}
	Revision(t, shared.Server(t).Client(t))
}
