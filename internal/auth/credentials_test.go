package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

func open(t *testing.T, cfg CredentialsConfig, now func() time.Time) *Credentials {
	t.Helper()
	if cfg.ID == "" {
		cfg.ID = "m1"
	}
	c, err := Open(cfg, CredentialsDeps{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func join(t *testing.T, c *Credentials) {
	t.Helper()
	if err := c.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func tokenText(t *testing.T, a *Authority) string {
	t.Helper()
	tok, err := NewToken(a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return tok.Text()
}

func TestJoinByToken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	cfg := CredentialsConfig{Dir: filepath.Join(t.TempDir(), "deep", "auth"), Servers: []string{n.addr}, Token: tokenText(t, a)}
	n.hook(func(r *authpb.JoinRequest) (*authpb.JoinResponse, error) {
		if r.GetToken() != cfg.Token || r.GetMinion() != "m1" {
			return nil, status.Errorf(codes.PermissionDenied, "got %v", r)
		}
		return nil, nil
	})
	c := open(t, cfg, nil)
	if _, err := c.TLS(); !errors.Is(err, ErrNotJoined) {
		t.Errorf("TLS before joining: %v, want ErrNotJoined", err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, ErrNotJoined) {
		t.Errorf("Run before joining: %v, want ErrNotJoined", err)
	}
	join(t, c)
	print := c.Standing().Fingerprint
	for name, mode := range map[string]os.FileMode{keyFile: 0o600, certFile: 0o600, caFile: 0o600, ".": 0o700} {
		if info, err := os.Stat(filepath.Join(cfg.Dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info.Mode(), err, mode)
		}
	}
	// A restart with the token still given asks for nothing.
	c = open(t, cfg, nil)
	join(t, c)
	s := c.Standing()
	if joins, _ := n.counts(); joins != 1 || s.Fingerprint != print || s.Identity.String() != "minion m1" || s.CAHash != CAHash(a.Certificate()) {
		t.Errorf("after a restart: %d joins, %+v; want one join and the same key", joins, s)
	}
	conf, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if _, cerr, serr := listen(t, n.tls.Config()).connect(t, conf); cerr != nil || serr != nil {
		t.Errorf("the certificate is not good: client %v, server %v", cerr, serr)
	}
	// A new token is used, though the certificate is good: this one was revoked.
	cfg.Token = tokenText(t, a)
	join(t, open(t, cfg, nil))
	if joins, _ := n.counts(); joins != 2 {
		t.Errorf("%d joins, want 2: a new token is an order to join", joins)
	}
}

func TestTheTokenIsNotGivenToAnImpostor(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	impostor := startNode(t, other)
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{impostor.addr}, Token: tokenText(t, a)}, nil)
	if err := c.Join(t.Context()); !errors.Is(err, errUntrusted) || !strings.Contains(err.Error(), CAHash(other.Certificate())) {
		t.Errorf("error is %v; want that the node is of the other authority", err)
	}
	if joins, _ := impostor.counts(); joins != 0 {
		t.Error("the impostor was asked, and given the token")
	}
}

// Who gives the port of the API is told so, whatever answers there.
func TestThePortOfTheAPIIsNotForMinions(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	token, err := ParseToken(tokenText(t, a))
	if err != nil {
		t.Fatal(err)
	}
	plain, overTLS := httptest.NewServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	overTLS.EnableHTTP2 = true
	overTLS.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(overTLS.Close)
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{"127.0.0.1:1"}}, nil)
	for name, server := range map[string]*httptest.Server{"plain": plain, "by TLS": overTLS} {
		for by, first := range map[string]*firstContact{"authority": {given: a.Certificate()}, "token": {token: &token}, "nothing": {}} {
			err := c.askOne(t.Context(), server.Listener.Addr().String(), first.config(time.Now), func(ctx context.Context, e authpb.EnrollClient) error {
				_, err := e.Join(ctx, &authpb.JoinRequest{})
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "(7420 by default), not that of its API") {
				t.Errorf("%s, known by %s: %v", name, by, err)
			}
			if want := name == "by TLS" && by != "authority"; errors.Is(err, errUntrusted) != want {
				t.Errorf("%s, known by %s: untrusted is %v: %v", name, by, !want, err)
			}
		}
	}
}

// A chain may hold the right authority although it did not sign the node.
func TestTheAuthorityMustHaveSignedTheNode(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	cert, err := other.IssueNode("n1", nil, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert.Certificate[1] = a.Certificate().Raw
	n := &node{enroller: &enroller{a: a}}
	n.addr = serveWith(t, a, cert, n.enroller)
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, Token: tokenText(t, a)}, nil)
	if err := c.Join(t.Context()); !errors.Is(err, errUntrusted) {
		t.Errorf("error is %v; want that the node is not trusted", err)
	}
	if joins, _ := n.counts(); joins != 0 {
		t.Error("the impostor was asked, and given the token")
	}
}

func TestJoinByApproval(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	pending := 3
	n.hook(func(r *authpb.JoinRequest) (*authpb.JoinResponse, error) {
		if r.GetToken() != "" {
			return nil, status.Error(codes.InvalidArgument, "there is a token")
		}
		if pending--; pending >= 0 {
			return &authpb.JoinResponse{Pending: true, RetryAfter: int64(time.Millisecond)}, nil
		}
		return nil, nil
	})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, a.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	join(t, open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, CAFile: file}, nil))
	if joins, _ := n.counts(); joins != 4 {
		t.Errorf("asked %d times, want 4", joins)
	}
}

func TestJoinEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	n.hook(func(*authpb.JoinRequest) (*authpb.JoinResponse, error) {
		cancel(stop)
		return &authpb.JoinResponse{Pending: true, RetryAfter: int64(time.Minute)}, nil
	})
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, TrustOnFirstUse: true}, nil)
	if err := c.Join(ctx); !errors.Is(err, stop) {
		t.Errorf("error is %v, want the context's cause", err)
	}
}

func TestTrustOnFirstUse(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	n, impostor := startNode(t, a), startNode(t, other)
	cfg := CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}}
	if err := open(t, cfg, nil).Join(t.Context()); err == nil || !strings.Contains(err.Error(), "which cluster is the right one") {
		t.Errorf("error is %v; want that it must be asked for", err)
	}
	cfg.TrustOnFirstUse = true
	join(t, open(t, cfg, nil))
	// From then on only that cluster will do, whatever is said of trust.
	if _, err := Open(CredentialsConfig{Dir: cfg.Dir, ID: "m1", Servers: []string{impostor.addr}, TrustOnFirstUse: true, Token: tokenText(t, other)}, CredentialsDeps{}); err == nil ||
		!strings.Contains(err.Error(), "of another cluster") {
		t.Errorf("a token of another cluster: %v", err)
	}
	conf, err := open(t, cfg, nil).TLS()
	if err != nil {
		t.Fatal(err)
	}
	if _, cerr, _ := listen(t, impostor.tls.Config()).connect(t, conf); cerr == nil {
		t.Error("a node of another cluster was trusted later")
	}
	// A node must not answer with another authority than its own.
	liar := startNode(t, a)
	liar.hook(func(r *authpb.JoinRequest) (*authpb.JoinResponse, error) {
		der, err := other.SignMinion(r.GetCsr(), "m1", 0, time.Now())
		return &authpb.JoinResponse{Certificate: der, Ca: other.Certificate().Raw}, err
	})
	if err := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{liar.addr}, TrustOnFirstUse: true}, nil).Join(t.Context()); !errors.Is(err, errUntrusted) {
		t.Errorf("another authority in the answer: %v", err)
	}
}

func TestARefusalIsFinalAndClear(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	n.hook(func(*authpb.JoinRequest) (*authpb.JoinResponse, error) {
		return nil, status.Error(codes.PermissionDenied, "the token was used up")
	})
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, Token: tokenText(t, a)}, nil)
	if err := c.Join(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the token was used up") {
		t.Errorf("error is %v", err)
	}
}

func TestADeadNodeIsPassedOver(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n, impostor := startNode(t, a), startNode(t, newAuthority(t))
	for range 4 { // the order is random
		join(t, open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{"127.0.0.1:1", impostor.addr, n.addr}, Token: tokenText(t, a)}, nil))
	}
}

func TestRunRenews(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	n.ttl = 3 * time.Second
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, Token: tokenText(t, a)}, nil)
	join(t, c)
	before := c.Standing()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	// Whether it is renewed in time or joins again after its end is a matter of
	// the machine; that it goes on is not.
	await.Until(t, "two later certificates", func() bool {
		joins, renews := n.counts()
		return joins+renews >= 3 && c.Standing().Identity.IssuedAt.After(before.Identity.IssuedAt)
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := c.Standing(); got.Fingerprint != before.Fingerprint {
		t.Error("the key changed")
	}
	if got := open(t, c.cfg, nil).Standing(); got.Identity != c.Standing().Identity {
		t.Errorf("on disk is %+v, want %+v", got, c.Standing())
	}
}

func TestRenewalIsProvenByTheCertificateOrTheKey(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	var mu sync.Mutex
	clock := time.Now()
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock
	}
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, Token: tokenText(t, a)}, now)
	join(t, c)
	if err := c.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if joins, renews := n.counts(); joins != 1 || renews != 1 || n.callers[0].String() != "minion m1" {
		t.Errorf("%d joins, %d renewals by %v; want one of each by m1", joins, renews, n.callers)
	}
	set := func(t time.Time) {
		mu.Lock()
		defer mu.Unlock()
		clock = t
	}
	set(c.Standing().Expires.Add(time.Hour))
	if cert, err := c.certificate(); cert != nil || err != nil {
		t.Errorf("an expired certificate is shown (%v): a node would refuse the connection", err)
	}
	// The node's clock has not come that far: nothing is kept of its answer.
	before := c.Standing()
	if err := c.renew(t.Context()); err == nil || !strings.Contains(err.Error(), "set the clock") || c.Standing() != before {
		t.Errorf("a day ahead: %v, want that the clock is wrong", err)
	}
	n.mu.Lock()
	n.issued = now()
	n.mu.Unlock()
	if err := c.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if joins, renews := n.counts(); joins != 3 || renews != 1 {
		t.Errorf("%d joins, %d renewals; want joins by the key", joins, renews)
	}
}

func TestAClockThatIsAheadDoesNotRenewForever(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	now := func() time.Time { return time.Now().Add(MinionTTL * 3 / 4) }
	c := open(t, CredentialsConfig{Dir: t.TempDir(), Servers: []string{n.addr}, Token: tokenText(t, a)}, now)
	join(t, c)
	for range 2 {
		if s := c.Standing(); s.RenewAt.Before(now().Add(MinionTTL / 3)) {
			t.Errorf("is to be renewed at %s, though it is new at %s", s.RenewAt, now())
		}
		if err := c.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// It is known on the disk by its issue alone, and is renewed once.
	if s := open(t, c.cfg, now).Standing(); s.RenewAt.After(now()) {
		t.Errorf("after a restart it is to be renewed at %s, which is after %s", s.RenewAt, now())
	}
}

func TestRenewalComesAfterTwoThirds(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	c := minionCert(t, a, "m1", time.Now())
	leaf, err := parseCertificate(certificatePEM(c.Certificate[0]))
	if err != nil {
		t.Fatal(err)
	}
	issued := time.Now()
	seen := map[time.Time]bool{}
	for range 100 {
		at := renewal(leaf, issued)
		seen[at] = true
		if at.Before(issued.Add(MinionTTL/2)) || at.After(issued.Add(MinionTTL*2/3)) {
			t.Fatalf("renewed %s after its issue, want 12h to 16h", at.Sub(issued))
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d instants in 100: hosts that start together stay together", len(seen))
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	n := startNode(t, a)
	for name, tc := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"key":         {func(d string) error { return os.WriteFile(filepath.Join(d, keyFile), []byte("x"), 0o600) }, keyFile + ": is not PEM"},
		"open key":    {func(d string) error { return os.Chmod(filepath.Join(d, keyFile), 0o640) }, "may be read by others (mode 0640)"},
		"new key":     {func(d string) error { return os.Remove(filepath.Join(d, keyFile)) }, "not for this minion's key"},
		"certificate": {func(d string) error { return os.WriteFile(filepath.Join(d, certFile), nil, 0o600) }, certFile + ": is not PEM"},
		"authority": {func(d string) error {
			return os.WriteFile(filepath.Join(d, caFile), newAuthority(t).CertificatePEM(), 0o600)
		}, "not of the cluster's authority"},
		"no authority": {func(d string) error { return os.Remove(filepath.Join(d, caFile)) }, "has no authority's beside it"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := CredentialsConfig{Dir: t.TempDir(), ID: "m1", Servers: []string{n.addr}, TrustOnFirstUse: true}
			join(t, open(t, cfg, nil))
			if err := tc.damage(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(cfg, CredentialsDeps{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
	cfg := CredentialsConfig{Dir: t.TempDir(), ID: "m1", Servers: []string{n.addr}, TrustOnFirstUse: true}
	join(t, open(t, cfg, nil))
	cfg.ID = "m2"
	if _, err := Open(cfg, CredentialsDeps{}); err == nil || !strings.Contains(err.Error(), "is for minion m1, not for minion m2") {
		t.Errorf("another minion's directory: %v", err)
	}
}

func TestI6_AFileIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	d := directory(t.TempDir())
	if err := d.write(certFile, []byte("old")); err != nil {
		t.Fatal(err)
	}
	// A directory in the file's place makes the last step fail.
	if err := os.MkdirAll(d.path(caFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.write(caFile, []byte("new")); err == nil {
		t.Error("a failed replacement is no error")
	}
	if err := d.write(certFile, []byte("new")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(string(d))
	if err != nil || len(files) != 2 {
		t.Errorf("left over: %v, %v; want the two files only", files, err)
	}
}
