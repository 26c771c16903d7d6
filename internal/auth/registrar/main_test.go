package registrar

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/etcdkv"
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

// clock is a node's, and stands still unless it is told.
type clock struct {
	mu sync.Mutex
	t  time.Time // mu guards it
}

func newClock() *clock { return &clock{t: time.Now().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// env is a cluster's part of etcd.
type env struct {
	client *clientv3.Client
	keys   etcdkv.Keys
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return &env{client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t))}
}

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func (e *env) open(t fataler, name job.NodeID, now func() time.Time, edits ...func(*Config)) *Registrar {
	t.Helper()
	cfg := Config{Node: name, Keys: e.keys}
	for _, edit := range edits {
		edit(&cfg)
	}
	r, err := Open(context.Background(), cfg, Deps{Client: e.client, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// node is a Registrar that runs, and serves on loopback.
type node struct {
	*Registrar
	addr string
}

func (e *env) start(t *testing.T, name job.NodeID) *node {
	t.Helper()
	r := e.open(t, name, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(auth.Gate(credentials.NewTLS(r.ServerTLS().Config()), auth.GateConfig{})))
	authpb.RegisterEnrollServer(s, r)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Serve(l) }()
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		s.Stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("node %s: %v", name, err)
			}
		}
	})
	return &node{Registrar: r, addr: l.Addr().String()}
}

// host asks for certificates without a network.
type host struct {
	id  job.MinionID
	key *ecdsa.PrivateKey
}

func newHost(t fataler, id job.MinionID) *host {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &host{id: id, key: key}
}

func (h *host) csr(t fataler) []byte {
	t.Helper()
	csr, err := auth.NewRequest(h.id, h.key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func (h *host) print(t fataler) auth.Fingerprint {
	t.Helper()
	f, err := auth.FingerprintOf(h.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// join returns who the certificate says that the host is; nobody: pending.
func (h *host) join(t fataler, r *Registrar, token string) (auth.Identity, error) {
	t.Helper()
	return h.joinFrom(t, r, token, net.IPv4(10, 0, 0, 1))
}

func (h *host) joinFrom(t fataler, r *Registrar, token string, ip net.IP) (auth.Identity, error) {
	t.Helper()
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: ip, Port: 1}})
	answer, err := r.Join(ctx, &authpb.JoinRequest{Minion: string(h.id), Token: token, Csr: h.csr(t)})
	if err != nil || answer.GetPending() {
		return auth.Identity{}, err
	}
	return identity(t, answer.GetCertificate()), nil
}

// renew is a renewal by a verified certificate.
func (h *host) renew(t fataler, r *Registrar, who auth.Identity) (auth.Identity, error) {
	t.Helper()
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{}, AuthInfo: auth.AuthInfo{Identity: who}})
	answer, err := r.Renew(ctx, &authpb.RenewRequest{Csr: h.csr(t)})
	if err != nil {
		return auth.Identity{}, err
	}
	return identity(t, answer.GetCertificate()), nil
}

func identity(t fataler, der []byte) auth.Identity {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id, err := auth.IdentityOf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *Registrar) mustToken(t fataler, spec TokenSpec) string {
	t.Helper()
	tok, err := r.CreateToken(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Text()
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func (e *env) get(t *testing.T, key string) (string, bool) {
	t.Helper()
	got, err := e.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return "", false
	}
	return string(got.Kvs[0].Value), true
}

func (e *env) put(t *testing.T, key, value string) {
	t.Helper()
	if _, err := e.client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func enrollment(t *testing.T, e *env, id job.MinionID) etcdkv.Enrollment {
	t.Helper()
	text, ok := e.get(t, e.keys.AuthMinion(id))
	if !ok {
		t.Fatalf("minion %s is not stored", id)
	}
	v, err := etcdkv.Decode[etcdkv.Enrollment](string(id), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
