package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/testkit/certs"
)

// server is an API that tells its version and by what it was asked; cert nil: by
// plain HTTP.
func server(t *testing.T, cert *tls.Certificate) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Version{Version: r.Proto})
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	if cert == nil {
		srv.Start()
	} else {
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	return srv
}

func issued(t *testing.T, a *auth.Authority, host string, ttl time.Duration, at time.Time) *tls.Certificate {
	t.Helper()
	cert, err := a.IssueServer("n1", []string{host}, ttl, at)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// askVersion asks a server for its version, with an authority to trust, nil: those of
// this host.
func askVersion(t *testing.T, address string, ca *auth.Authority) (string, error) {
	t.Helper()
	cfg := client.Config{Server: address}
	if ca != nil {
		cfg.CA = ca.CertificatePEM()
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v, err := c.Cluster.Version(t.Context())
	return v.Version, err
}

// A server that shows a good certificate is asked, by HTTP/2; one that does not is
// told apart from one that does not answer, with what is wrong.
func TestCertificates(t *testing.T) {
	t.Parallel()
	a, now := certs.Authority(t), time.Now()
	good := server(t, issued(t, a, "127.0.0.1", 0, now))
	if proto, err := askVersion(t, good.URL, a); err != nil || proto != "HTTP/2.0" {
		t.Errorf("a good certificate: %q %v", proto, err)
	}
	for name, c := range map[string]struct {
		url  string
		ca   *auth.Authority
		want string
	}{
		"expired":              {server(t, issued(t, a, "127.0.0.1", time.Hour, now.Add(-2*time.Hour))).URL, a, "expired"},
		"not good yet":         {server(t, issued(t, a, "127.0.0.1", 0, now.Add(time.Hour))).URL, a, "not yet valid"},
		"of another name":      {server(t, issued(t, a, "node2.example", 0, now)).URL, a, "127.0.0.1"},
		"of another authority": {good.URL, certs.Authority(t), "unknown authority"},
		"unknown to this host": {good.URL, nil, "unknown authority"},
		"a minion's":           {server(t, certs.Minion(t, a, "web1", time.Now(), 0)).URL, a, "x509"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := askVersion(t, c.url, c.ca)
			var gone *client.UnreachableError
			var bad *tls.CertificateVerificationError
			if !errors.As(err, &gone) || !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

// A minion's certificate is no server's, even for who asks for its name.
func TestMinionsAreNoServers(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	leaf, err := x509.ParseCertificate(certs.Minion(t, a, "web1", time.Now(), 0).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.IncompatibleUsage {
		t.Errorf("as a server's: %v", err)
	}
}

// Who asks by the wrong one of HTTP and HTTPS is told so.
func TestWrongScheme(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	plain, secure := server(t, nil), server(t, issued(t, a, "127.0.0.1", 0, time.Now()))
	for _, c := range []struct {
		url   string
		cause error
		right string
	}{
		{strings.Replace(plain.URL, "http:", "https:", 1), client.ErrSpeaksHTTP, plain.URL},
		{strings.Replace(secure.URL, "https:", "http:", 1), client.ErrSpeaksTLS, secure.URL},
	} {
		_, err := askVersion(t, c.url, a)
		var gone *client.UnreachableError
		if !errors.Is(err, c.cause) || !errors.As(err, &gone) || !strings.Contains(err.Error(), "ask "+c.right) {
			t.Errorf("asked as %s: %v, want %q with %s", c.url, err, c.cause, c.right)
		}
	}
}

// HOST:PORT is asked by TLS, on loopback too: what is sent there may be a token.
func TestSchemeOfHostAndPort(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"": "https", "127.0.0.1:8420": "https", "localhost:8420": "https", "[::1]:8420": "https", "localhost": "https",
		"node1:8420": "https", "10.0.0.7:8420": "https", "[2001:db8::1]:8420": "https", "localhost.example:8420": "https", "0.0.0.0:1": "https",
		"http://node1:8420": "http", "http://127.0.0.1:8420": "http", "https://127.0.0.1:8420": "https",
	} {
		c, err := client.New(client.Config{Server: address})
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got, _, _ := strings.Cut(c.Server(), "://"); got != want {
			t.Errorf("%s is asked as %s, want %s", address, c.Server(), want)
		}
	}
	if _, err := client.New(client.Config{CA: []byte("no certificate")}); err == nil || !strings.Contains(err.Error(), "BEGIN CERTIFICATE") {
		t.Errorf("a CA without a certificate: %v", err)
	}
}
