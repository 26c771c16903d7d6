package attack

import (
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// authority reads the cluster's authority, as who can read its etcd can.
func (c *cluster) authority(t testing.TB) *auth.Authority {
	t.Helper()
	got, err := c.etcd.Get(t.Context(), c.keys.AuthCA())
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("the authority of the cluster: %d values, %v", len(got.Kvs), err)
	}
	stored, err := etcdkv.Decode[etcdkv.Authority](c.keys.AuthCA(), got.Kvs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.ParseAuthority([]byte(stored.Certificate), []byte(stored.Key))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newAuthority returns the authority of some other cluster.
func newAuthority(t testing.TB) *auth.Authority {
	t.Helper()
	a, err := auth.NewAuthority("elsewhere", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// joined joins a cluster as a minion does that has a token, and returns the
// certificate that it got. No process belongs to it.
func joined(t testing.TB, n *node, id job.MinionID) *tls.Certificate {
	t.Helper()
	dir := filepath.Join(t.TempDir(), string(id))
	creds, err := auth.Open(auth.CredentialsConfig{
		Dir: dir, ID: id, Servers: []string{n.peer}, Token: n.token(t, "--minions", string(id)),
	}, auth.CredentialsDeps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := creds.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &cert
}

// nodeCertificate has an authority issue a node's certificate.
func nodeCertificate(t testing.TB, a *auth.Authority, name job.NodeID, at time.Time, ttl time.Duration) *tls.Certificate {
	t.Helper()
	cert, err := a.IssueNode(name, nil, ttl, at)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// tlsOf returns a TLS configuration that shows a certificate, nil: none. It
// accepts any server: intruders do not care.
func tlsOf(cert *tls.Certificate) *tls.Config {
	conf := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ServerName: auth.ServerName}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return conf
}

// dial returns a gRPC connection to a node's port for minions and peers that
// shows a certificate, nil: none. It is closed when the test ends.
func dial(t testing.TB, n *node, cert *tls.Certificate) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.peer, grpc.WithTransportCredentials(credentials.NewTLS(tlsOf(cert))), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
