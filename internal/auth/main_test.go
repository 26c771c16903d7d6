package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func request(t *testing.T, id job.MinionID, key crypto.Signer) []byte {
	t.Helper()
	csr, err := NewRequest(id, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// minionCert returns a certificate of a minion, as its client shows it.
func minionCert(t *testing.T, a *Authority, id job.MinionID, at time.Time) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := a.SignMinion(request(t, id, key), id, 0, at)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// revocations is Revocations in memory, as the nodes keep them.
type revocations struct {
	mu sync.Mutex
	m  map[string]time.Time // mu guards it
}

func (r *revocations) revoke(id string, before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]time.Time{}
	}
	r.m[id] = before
}

func (r *revocations) Revoked(i Identity) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, ok := r.m[i.Name]
	return ok && i.Kind == KindMinion && !i.IssuedAt.After(before)
}

// enroller is the Enroll service of a node that says yes, unless a hook says
// otherwise.
type enroller struct {
	authpb.UnimplementedEnrollServer
	a   *Authority
	ttl time.Duration

	mu sync.Mutex
	// mu guards what follows.
	onJoin  func(*authpb.JoinRequest) (*authpb.JoinResponse, error)
	issued  time.Time
	joins   int
	renews  int
	callers []Identity // of renewals
}

// sign issues later each time.
func (e *enroller) sign(csr []byte, id job.MinionID) ([]byte, error) {
	at := time.Now().Truncate(time.Second)
	if !at.After(e.issued) {
		at = e.issued.Add(time.Second)
	}
	e.issued = at
	return e.a.SignMinion(csr, id, e.ttl, at)
}

func (e *enroller) Join(_ context.Context, r *authpb.JoinRequest) (*authpb.JoinResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.joins++
	if e.onJoin != nil {
		if answer, err := e.onJoin(r); answer != nil || err != nil {
			return answer, err
		}
	}
	der, err := e.sign(r.GetCsr(), job.MinionID(r.GetMinion()))
	return &authpb.JoinResponse{Certificate: der, Ca: e.a.Certificate().Raw}, err
}

func (e *enroller) Renew(ctx context.Context, r *authpb.RenewRequest) (*authpb.RenewResponse, error) {
	who, err := FromPeer(ctx)
	if err != nil {
		return nil, err
	}
	id, _ := who.Minion()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.renews++
	e.callers = append(e.callers, who)
	der, err := e.sign(r.GetCsr(), id)
	return &authpb.RenewResponse{Certificate: der}, err
}

func (e *enroller) counts() (joins, renews int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.joins, e.renews
}

func (e *enroller) hook(f func(*authpb.JoinRequest) (*authpb.JoinResponse, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onJoin = f
}

// node is a gRPC server on loopback, as a node runs it.
type node struct {
	*enroller
	addr    string
	tls     *ServerTLS
	revoked *revocations
}

func newServerTLS(t *testing.T, a *Authority, r Revocations) *ServerTLS {
	t.Helper()
	cert, err := a.IssueNode("n1", nil, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServerTLS(ServerConfig{CA: a.Certificate(), Certificate: func() (*tls.Certificate, error) { return cert, nil }, Revocations: r})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startNode(t *testing.T, a *Authority) *node {
	t.Helper()
	n := &node{enroller: &enroller{a: a}, revoked: &revocations{}}
	n.tls = newServerTLS(t, a, n.revoked)
	n.addr = serve(t, Gate(credentials.NewTLS(n.tls.Config()), GateConfig{}), n.enroller)
	return n
}

func serve(t *testing.T, creds credentials.TransportCredentials, e authpb.EnrollServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(creds))
	authpb.RegisterEnrollServer(s, e)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String()
}
