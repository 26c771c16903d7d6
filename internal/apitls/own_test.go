package apitls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/testkit/certs"
)

func newOwn(t *testing.T, a Authority, hosts ...string) *Own {
	t.Helper()
	o, err := NewOwn(OwnConfig{Node: "n1", Hosts: hosts}, a, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// at is a connection to an address of this host.
type at struct {
	net.Conn
	addr net.Addr
}

func (c at) LocalAddr() net.Addr { return c.addr }

// cameTo is the hello of a client that has come to an address.
func cameTo(ip string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{Conn: at{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 8420}}}
}

// Invariant 5.
func TestOwnNames(t *testing.T) {
	t.Parallel()
	o := newOwn(t, certs.Authority(t), "Node1.Example.", "carillon", "10.0.0.7", "[2001:db8::1]", "0.0.0.0", "::", "", "localhost")
	cert, err := o.Certificate(cameTo("192.168.1.5"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node1.example", "carillon", "10.0.0.7", "2001:db8::1", "localhost", "127.0.0.1", "::1", "192.168.1.5"} {
		if err := cert.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"0.0.0.0", "::", "192.168.1.6", "example", "x.node1.example"} {
		if cert.Leaf.VerifyHostname(name) == nil {
			t.Errorf("it is good for %s", name)
		}
	}
	again, err := o.Certificate(cameTo("127.0.0.1"))
	if err != nil || again != cert {
		t.Errorf("an address that it has already makes a new certificate: %v", err)
	}
	for i := range 5 * maxAddresses {
		last := fmt.Sprintf("10.1.%d.%d", i/250, i%250)
		cert, err := o.Certificate(cameTo(last))
		if err != nil || cert.Leaf.VerifyHostname(last) != nil {
			t.Fatalf("address %s: %v", last, err)
		}
		if n := len(cert.Leaf.IPAddresses); n > maxAddresses+4 {
			t.Fatalf("%d addresses in one certificate", n)
		}
	}
	if _, err := NewOwn(OwnConfig{Node: "n1", Hosts: []string{"bücher.example"}}, certs.Authority(t), Deps{}); err == nil || !strings.Contains(err.Error(), "bücher.example") {
		t.Errorf("a name that no certificate can hold: %v", err)
	}
}

// Invariant 4: what the API shows is nobody on the port of minions and peers, be it
// as a client or as a server.
func TestOwnIsNoNode(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	cert, err := newOwn(t, a, "carillon").Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := auth.IdentityOf(cert.Leaf); err == nil {
		t.Errorf("it is %v", id)
	}
	if !slices.Equal(cert.Leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("it is for %v", cert.Leaf.ExtKeyUsage)
	}
	// A minion that is led to the API's port, or to who has stolen its key.
	conf, err := auth.ClientTLS(auth.ClientConfig{CA: a.Certificate()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
		served <- err
	}()
	if _, err := shown(l.Addr().String(), conf); err == nil {
		t.Error("a minion takes it for a node")
	}
	<-served
}

// Invariant 6.
func TestOwnIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := certs.Authority(t)
		now := time.Now
		o, err := NewOwn(OwnConfig{Node: "n1", TTL: 3 * time.Hour}, a, Deps{Now: func() time.Time { return now() }})
		if err != nil {
			t.Fatal(err)
		}
		get := func() *x509.Certificate {
			t.Helper()
			cert, err := o.Certificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return cert.Leaf
		}
		first := get()
		time.Sleep(2*time.Hour - time.Second)
		if !get().Equal(first) {
			t.Error("renewed before two thirds of its life")
		}
		time.Sleep(2 * time.Second)
		second := get()
		if second.Equal(first) || !o.Expires().Equal(second.NotAfter) || time.Until(second.NotAfter) < 3*time.Hour-time.Second {
			t.Errorf("after two thirds of its life: good until %s", second.NotAfter)
		}
		if bytes.Equal(second.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
			t.Error("the key is the old one")
		}
		now = func() time.Time { return time.Now().Add(-time.Hour) }
		if get().NotBefore.After(now()) {
			t.Error("the clock was set back, and the certificate is not good yet")
		}
		// The authority's own end is not outlasted.
		now = func() time.Time { return a.Certificate().NotAfter.Add(-time.Hour) }
		if last := get(); last.NotAfter.After(a.Certificate().NotAfter) {
			t.Errorf("good until %s, the authority until %s", last.NotAfter, a.Certificate().NotAfter)
		}
		now = func() time.Time { return a.Certificate().NotAfter.Add(time.Hour) }
		if _, err := o.Certificate(nil); err == nil {
			t.Error("the authority has expired, and a certificate is shown")
		}
	})
}
