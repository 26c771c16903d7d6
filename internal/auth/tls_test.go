package auth

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// listener accepts TLS connections, says "x" to each that it trusts, and
// reports what became of every handshake.
type listener struct {
	addr    string
	results chan error
}

func listen(t *testing.T, conf *tls.Config) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &listener{addr: l.Addr().String(), results: make(chan error, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, conf)
			err = conn.Handshake()
			if err == nil {
				_, err = conn.Write([]byte("x"))
			}
			s.results <- err
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return s
}

// connect makes one connection and reads what the server says; it returns what
// the client and the server made of it.
func (s *listener) connect(t *testing.T, conf *tls.Config) (resumed bool, client, server error) {
	t.Helper()
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, conf)
	// Reading to the end takes in the ticket, too.
	text, err := io.ReadAll(conn)
	if err == nil && string(text) != "x" {
		err = io.ErrUnexpectedEOF
	}
	resumed = conn.ConnectionState().DidResume
	_ = conn.Close()
	return resumed, err, <-s.results
}

func clientConfig(t *testing.T, a *Authority, cert *tls.Certificate) *tls.Config {
	t.Helper()
	conf, err := ClientTLS(ClientConfig{CA: a.Certificate(), Certificate: func() (*tls.Certificate, error) { return cert, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestI4_AResumedSessionIsCheckedForRevocation(t *testing.T) {
	t.Parallel()
	a, revoked := newAuthority(t), &revocations{}
	s := listen(t, newServerTLS(t, a, revoked).Config())
	issued := time.Now()
	conf := clientConfig(t, a, minionCert(t, a, "m1", issued))
	for i, want := range []bool{false, true} {
		if resumed, cerr, serr := s.connect(t, conf); resumed != want || cerr != nil || serr != nil {
			t.Fatalf("connection %d: resumed %v, client %v, server %v; want resumed %v", i, resumed, cerr, serr, want)
		}
	}
	revoked.revoke("m1", issued)
	resumed, cerr, serr := s.connect(t, conf)
	if !resumed || cerr == nil || !errors.Is(serr, ErrRevoked) {
		t.Errorf("after the revocation: resumed %v, client %v, server %v; want a resumed session that is refused as revoked", resumed, cerr, serr)
	}
	// A later certificate of the same minion is good again.
	conf = clientConfig(t, a, minionCert(t, a, "m1", issued.Add(time.Second)))
	if _, cerr, serr := s.connect(t, conf); cerr != nil || serr != nil {
		t.Errorf("enrolled again: client %v, server %v", cerr, serr)
	}
}

func TestServersShareTickets(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	one, two := newServerTLS(t, a, &revocations{}), newServerTLS(t, a, &revocations{})
	// Keys come after the server has begun to serve with a copy, as with gRPC.
	first, second := listen(t, one.Config().Clone()), listen(t, two.Config().Clone())
	conf := clientConfig(t, a, minionCert(t, a, "m1", time.Now()))
	old, now := [32]byte{1}, [32]byte{2}
	connect := func(what string, s *listener, want bool) {
		t.Helper()
		if resumed, cerr, serr := s.connect(t, conf); resumed != want || cerr != nil || serr != nil {
			t.Fatalf("%s: resumed %v, client %v, server %v; want resumed %v", what, resumed, cerr, serr, want)
		}
	}
	set := func(s *ServerTLS, keys ...[32]byte) {
		t.Helper()
		if err := s.SetTickets(keys); err != nil {
			t.Fatal(err)
		}
	}
	connect("first", first, false)
	connect("another server, keys of its own", second, false)
	set(one, old)
	set(two, old)
	connect("keys were set", first, false)
	connect("another server, the same key", second, true)
	set(two, now, old)
	connect("rotated, the old key reads", second, true)
	set(one, now, old)
	connect("the other one rotated", first, true)
	set(two, [32]byte{3})
	connect("the key is gone", second, false)
}

func TestI2_NoMinionStandsInForANode(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	conf := newServerTLS(t, a, &revocations{}).Config()
	minion := minionCert(t, a, "m1", time.Now())
	s, err := NewServerTLS(ServerConfig{CA: a.Certificate(), Certificate: func() (*tls.Certificate, error) { return minion, nil }, Revocations: &revocations{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, cerr, _ := listen(t, s.Config()).connect(t, clientConfig(t, a, minion)); cerr == nil {
		t.Error("a minion was accepted as a server")
	}
	if _, cerr, serr := listen(t, conf).connect(t, clientConfig(t, a, minion)); cerr != nil || serr != nil {
		t.Errorf("a node was refused: client %v, server %v", cerr, serr)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	s := listen(t, newServerTLS(t, a, &revocations{}).Config())
	if _, cerr, serr := s.connect(t, clientConfig(t, a, minionCert(t, other, "m1", time.Now()))); cerr == nil || serr == nil {
		t.Errorf("another cluster's minion: client %v, server %v; want both to fail", cerr, serr)
	}
	if _, cerr, serr := s.connect(t, clientConfig(t, other, nil)); cerr == nil || serr == nil {
		t.Errorf("another cluster's node: client %v, server %v; want both to fail", cerr, serr)
	}
	if _, cerr, serr := s.connect(t, clientConfig(t, a, minionCert(t, a, "m1", time.Now().Add(-2*MinionTTL)))); cerr == nil || serr == nil {
		t.Errorf("an expired certificate: client %v, server %v; want both to fail", cerr, serr)
	}
	if _, cerr, serr := s.connect(t, clientConfig(t, a, nil)); cerr != nil || serr != nil {
		t.Errorf("no certificate, as to join: client %v, server %v", cerr, serr)
	}
	old := clientConfig(t, a, nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, cerr, serr := s.connect(t, old); cerr == nil || serr == nil {
		t.Errorf("TLS 1.2: client %v, server %v; want both to fail", cerr, serr)
	}
}

func TestANodeRenewsWithoutARestart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var cert atomic.Pointer[tls.Certificate]
	issue := func() string {
		c, err := a.IssueNode("n1", nil, 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cert.Store(c)
		return c.Leaf.SerialNumber.String()
	}
	s, err := NewServerTLS(ServerConfig{CA: a.Certificate(), Certificate: func() (*tls.Certificate, error) { return cert.Load(), nil }, Revocations: &revocations{}})
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	for range 2 {
		want := issue()
		conf := clientConfig(t, a, nil)
		conf.VerifyConnection = func(cs tls.ConnectionState) error {
			seen = cs.PeerCertificates[0].SerialNumber.String()
			return nil
		}
		if _, cerr, serr := listen(t, s.Config()).connect(t, conf); cerr != nil || serr != nil || seen != want {
			t.Errorf("client %v, server %v, certificate %s; want %s", cerr, serr, seen, want)
		}
	}
}
