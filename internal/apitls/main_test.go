package apitls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issued is a certificate for 127.0.0.1 and node1.example.
func issued(t *testing.T, a *auth.Authority, ttl time.Duration, at time.Time) *tls.Certificate {
	t.Helper()
	cert, err := a.IssueServer("n1", []string{"127.0.0.1", "node1.example"}, ttl, at)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// pair is what two files hold.
type pair struct{ cert, key []byte }

func pairOf(t *testing.T, c *tls.Certificate) (p pair) {
	t.Helper()
	for _, der := range c.Certificate {
		p.cert = append(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return p
}

// put writes a file as a whole, in place of what was there.
func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// files writes a pair to a directory of its own.
func files(t *testing.T, p pair) FilesConfig {
	t.Helper()
	dir := t.TempDir()
	cfg := FilesConfig{Cert: filepath.Join(dir, "api.pem"), Key: filepath.Join(dir, "api.key")}
	put(t, cfg.Cert, p.cert)
	put(t, cfg.Key, p.key)
	return cfg
}

// serve serves by a source, and returns where.
func serve(t *testing.T, s Source) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{TLSConfig: Config(s), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// trusting is the TLS of a client that trusts an authority.
func trusting(a *auth.Authority) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// shown makes a connection and returns the certificate that it shows.
func shown(addr string, conf *tls.Config) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}
