package sealing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealkey"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	os.Exit(shared.Run(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	))
}

// env is a cluster's part of etcd.
type env struct {
	t      *testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
	dir    string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{t, shared.Server(t).Client(t), etcdkv.NewKeys(etcdtest.Prefix(t)), t.TempDir()}
}

// path is the seal key file of a node.
func (e *env) path(node string) string { return filepath.Join(e.dir, node+".key") }

// file writes the seal key file of a node.
func (e *env) file(node string, keys ...sealkey.Key) {
	e.t.Helper()
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k.Text() + "\n")
	}
	next := e.path(node) + ".next"
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(next, e.path(node)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) config(node string) Config {
	return Config{Node: job.NodeID(node), Keys: e.keys, File: e.path(node), Every: 5 * time.Millisecond}
}

// open opens a node's Keeper, which may make its file.
func (e *env) open(node string) (*Keeper, error) {
	cfg := e.config(node)
	cfg.Make = true
	return Open(e.t.Context(), cfg, Deps{Client: e.client})
}

// node is a live node.
type node struct {
	*Keeper
	lease clientv3.LeaseID
}

// join makes a node a live one whose Keeper does what step does when the test says so.
func (e *env) join(name string, k *Keeper) *node {
	e.t.Helper()
	lease, err := e.client.Grant(e.t.Context(), 60)
	if err != nil {
		e.t.Fatal(err)
	}
	n := &node{k, lease.ID}
	if k != nil {
		k.deps.Lease = func() (clientv3.LeaseID, bool) { return n.lease, true }
	}
	e.put(e.keys.Member(job.NodeID(name)), "{}", clientv3.WithLease(lease.ID))
	return n
}

// leave ends a node.
func (e *env) leave(n *node) {
	e.t.Helper()
	if _, err := e.client.Revoke(e.t.Context(), n.lease); err != nil {
		e.t.Fatal(err)
	}
}

func (n *node) must(t *testing.T) {
	t.Helper()
	if err := n.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (e *env) put(key, value string, opts ...clientv3.OpOption) {
	e.t.Helper()
	if _, err := e.client.Put(e.t.Context(), key, value, opts...); err != nil {
		e.t.Fatal(err)
	}
}

// get is the value of a key; empty: there is none.
func (e *env) get(key string) string {
	e.t.Helper()
	got, err := e.client.Get(e.t.Context(), key)
	if err != nil {
		e.t.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return ""
	}
	return string(got.Kvs[0].Value)
}

// secrets are values in the clear, by their keys.
func (e *env) secrets() map[string]string {
	return map[string]string{
		e.keys.AuthCA():                   `{"schema":1,"certificate":"CERT","key":"loot-ca"}`,
		e.keys.AuthTickets():              `{"schema":1,"keys":[{"key":"loot-tickets"}]}`,
		e.keys.AuthToken("t1"):            `{"schema":1,"id":"t1","secretHash":"loot-token","uses":3}`,
		e.keys.HookSecret(job.UID{1}):     `{"schema":1,"secret":"loot-hook"}`,
		e.keys.HookSecret(job.UID{2}):     `{"schema":1,"secret":"loot-hook","newer":{"a":1}}`,
		e.keys.PlanSecret("team", "erp"):  `{"schema":1,"secret":"loot-upstream"}`,
		e.keys.Bootstrap():                `{"schema":1,"hash":"loot-bootstrap"}`,
		e.keys.AuthMinion("not-a-secret"): `{"schema":1,"key":"a fingerprint"}`,
	}
}

// loot returns the keys whose values hold something in the clear.
func (e *env) loot() []string {
	e.t.Helper()
	got, err := e.client.Get(e.t.Context(), e.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		e.t.Fatal(err)
	}
	var out []string
	for _, kv := range got.Kvs {
		if strings.Contains(string(kv.Value), "loot") {
			out = append(out, string(kv.Key))
		}
	}
	return out
}

func newKey(t testing.TB) sealkey.Key {
	t.Helper()
	k, err := sealkey.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
