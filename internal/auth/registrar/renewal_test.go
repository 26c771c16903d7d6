package registrar

import (
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestI8_ANewAuthority: one that has ended is replaced while no node is live. Minions
// are enrolled still, and join by their keys; tokens of the former one are worth nothing.
func TestI8_ANewAuthority(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	cfg, deps := Config{Node: "n1", Keys: e.keys}, Deps{Client: e.client, Now: c.now}
	if _, err := RenewAuthority(t.Context(), cfg, deps, "ada"); !errors.Is(err, job.ErrNotFound) {
		t.Fatalf("of a cluster that has none: %v", err)
	}
	former := e.open(t, "n1", c.now, func(cfg *Config) { cfg.Cluster = "c1" })
	token := former.mustToken(t, TokenSpec{Uses: 2, TTL: time.Hour})
	h := newHost(t, "m1")
	first, err := h.join(t, former, token)
	if err != nil {
		t.Fatal(err)
	}
	c.pass(11 * 365 * 24 * time.Hour)
	if _, err := h.join(t, former, ""); err == nil {
		t.Fatal("an authority that has ended has issued a certificate")
	}

	e.put(t, e.keys.Member("n2"), "{}")
	var live *LiveError
	if _, err := RenewAuthority(t.Context(), cfg, deps, "ada"); !errors.As(err, &live) || !slices.Equal(live.Nodes, []string{"n2"}) {
		t.Fatalf("while a node is live: %v", err)
	}
	if got := e.open(t, "n1", c.now).Authority(); !got.Certificate().Equal(former.Authority().Certificate()) {
		t.Fatal("it was replaced while a node is live")
	}
	if _, err := e.client.Delete(t.Context(), e.keys.Member("n2")); err != nil {
		t.Fatal(err)
	}

	a, err := RenewAuthority(t.Context(), cfg, deps, "ada")
	if err != nil {
		t.Fatal(err)
	}
	r := e.open(t, "n1", c.now)
	got := r.Authority().Certificate()
	if !got.Equal(a.Certificate()) || got.Equal(former.Authority().Certificate()) || got.Subject.CommonName != "carillon c1" || got.NotAfter.Before(c.now().Add(9*365*24*time.Hour)) {
		t.Errorf("the authority is %s until %s", got.Subject.CommonName, got.NotAfter)
	}
	again, err := h.join(t, r, "")
	if err != nil || !again.IssuedAt.After(first.IssuedAt) {
		t.Errorf("by its key: %+v, %v", again, err)
	}
	_, err = newHost(t, "m2").join(t, r, token)
	wantCode(t, "a token of the former authority", err, codes.PermissionDenied)
	found, err := e.client.Get(t.Context(), e.keys.Audit(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, kv := range found.Kvs {
		rec, err := etcdkv.Decode[etcdkv.Audit](string(kv.Key), kv.Value)
		told = told || err == nil && rec.Action == "authority.renew" && rec.By == "ada" && rec.Object == auth.CAHash(got)
	}
	if !told {
		t.Error("the audit does not tell of it")
	}
}
