package auth

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
)

// serveWith serves with a given certificate.
func serveWith(t *testing.T, a *Authority, cert *tls.Certificate, e authpb.EnrollServer) string {
	t.Helper()
	s, err := NewServerTLS(ServerConfig{CA: a.Certificate(), Certificate: func() (*tls.Certificate, error) { return cert, nil }, Revocations: &revocations{}})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, credentials.NewTLS(s.Config()), e)
}

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

// shake makes a whole handshake through the gate.
func shake(t *testing.T, g credentials.TransportCredentials, conf *tls.Config) (credentials.AuthInfo, error) {
	t.Helper()
	client, server := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, conf).Handshake()
	}()
	_, info, err := g.ServerHandshake(server)
	if err != nil {
		_ = server.Close()
	}
	<-done
	return info, err
}

func TestI7_AClientThatStallsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := Gate(credentials.NewTLS(newServerTLS(t, a, &revocations{}).Config()), GateConfig{Handshakes: 1})
	stalled := make(chan error, 8)
	var ends []net.Conn
	for i := range cap(stalled) {
		client, server := pair(t)
		ends = append(ends, client)
		if i%2 == 0 { // the others say nothing at all
			if _, err := client.Write([]byte{22, 3, 1}); err != nil { // the begin of a record
				t.Fatal(err)
			}
		}
		go func() {
			_, _, err := g.ServerHandshake(server)
			stalled <- err
		}()
	}
	for range 3 {
		if _, err := shake(t, g, clientConfig(t, a, minionCert(t, a, "m1", time.Now()))); err != nil {
			t.Fatalf("beside clients that stall: %v", err)
		}
	}
	for _, c := range ends {
		_ = c.Close()
	}
	for range cap(stalled) {
		if err := <-stalled; err == nil {
			t.Error("a client that stalled got through")
		}
	}
	if n := len(g.(*gate).turns); n != 0 {
		t.Errorf("%d turns are not given back", n)
	}
}

func TestTheGateKeepsOnlyWhoItIs(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := Gate(credentials.NewTLS(newServerTLS(t, a, &revocations{}).Config()), GateConfig{})
	info, err := shake(t, g, clientConfig(t, a, minionCert(t, a, "m1", time.Now())))
	if slim, ok := info.(AuthInfo); err != nil || !ok || slim.Identity.String() != "minion m1" || slim.SecurityLevel != credentials.PrivacyAndIntegrity {
		t.Errorf("a minion: %#v, %v", info, err)
	}
	info, err = shake(t, g, clientConfig(t, a, nil))
	if slim, ok := info.(AuthInfo); err != nil || !ok || slim.Identity != (Identity{}) {
		t.Errorf("without a certificate: %#v, %v; want nobody", info, err)
	}
	if _, err := shake(t, g, clientConfig(t, newAuthority(t), nil)); err == nil {
		t.Error("a failed handshake is no error")
	}
}

func TestAboveTheRateConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := Gate(credentials.NewTLS(newServerTLS(t, a, &revocations{}).Config()), GateConfig{})
	// Two at once, and none after them; the copy that gRPC makes has no more.
	g.(*gate).accepts = rate.NewLimiter(0, 2)
	closed := 0
	for _, g := range []credentials.TransportCredentials{g, g.Clone()} {
		for range 20 {
			client, server := pair(t)
			_ = client.Close() // so that a handshake ends at once
			if _, _, err := g.ServerHandshake(server); errors.Is(err, ErrBusy) {
				closed++
				if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after it was refused: %v, want a closed connection", err)
				}
			}
		}
	}
	if closed != 38 {
		t.Errorf("%d of 40 connections were closed, want all but 2", closed)
	}
}

func TestAHandshakeWithoutATurnIsGivenUp(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := Gate(credentials.NewTLS(newServerTLS(t, a, &revocations{}).Config()), GateConfig{Handshakes: 1, Wait: time.Millisecond})
	g.(*gate).turns <- struct{}{} // somebody computes
	if _, err := shake(t, g, clientConfig(t, a, nil)); !errors.Is(err, ErrBusy) {
		t.Errorf("error is %v, want ErrBusy", err)
	}
	<-g.(*gate).turns
	g.(*gate).wait = time.Minute
	if _, err := shake(t, g, clientConfig(t, a, nil)); err != nil {
		t.Errorf("after it is done: %v", err)
	}
}

func TestALongQueueRefusesWhoHasNotBegun(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	g := Gate(credentials.NewTLS(newServerTLS(t, a, &revocations{}).Config()), GateConfig{Handshakes: 1, Waiting: 2, Wait: time.Minute})
	inner, _ := g.(*gate)
	inner.turns <- struct{}{} // somebody computes
	inner.queue.Store(2)      // and two wait
	if _, err := shake(t, g, clientConfig(t, a, nil)); !errors.Is(err, ErrBusy) {
		t.Errorf("error is %v, want ErrBusy", err)
	}
	// One that has begun waits, however long the queue is.
	client, server := pair(t)
	begun := &turnConn{Conn: server, gate: inner, begun: true}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := begun.Read(make([]byte, 1))
		read <- err
	}()
	<-inner.turns
	if err := <-read; err != nil {
		t.Errorf("one that has begun: %v", err)
	}
	begun.finish()
	if n := inner.queue.Load(); n != 2 {
		t.Errorf("%d are counted as waiting, want the 2 that are", n)
	}
}
