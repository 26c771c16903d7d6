package attack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/certs"
)

// openAPI are the arguments of a node whose API other hosts reach.
func openAPI(args ...string) []string {
	return append([]string{"--listen", "0.0.0.0:0", "--open-api", "--api-plain=false", "--api-host", "node1.test"}, args...)
}

// asking returns a client that trusts an authority, and finds every name at the
// node's address.
func asking(t testing.TB, n *node, ca *auth.Authority) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	tr := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", n.api)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// Nothing is said in the clear, beyond loopback or on it: the API answers by TLS only, with
// a certificate of the cluster's authority for its names, and the check of Host stands in
// front of it.
func TestAPISpeaksTLSOnly(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"beyond loopback": openAPI(), "on loopback": {"--api-plain=false", "--api-host", "node1.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkTLSOnly(t, args)
		})
	}
}

func checkTLSOnly(t *testing.T, args []string) {
	t.Helper()
	c := newCluster(t)
	n := startNode(t, c, "n1", args...)
	if !n.secure {
		t.Fatal("the API does not speak TLS")
	}
	for _, route := range everyRoute("http://"+n.api, filepath.Join(t.TempDir(), "mark")) {
		req, err := http.NewRequest(route.Method, route.URL, strings.NewReader(route.Body))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := ask(req); err == nil && (res.code != http.StatusBadRequest || !strings.Contains(res.body, "HTTPS server")) {
			t.Errorf("%s %s by plain HTTP: %d %s", route.Method, route.URL, res.code, res.body)
		}
	}
	client := asking(t, n, c.authority(t))
	for _, host := range []string{"127.0.0.1", "localhost", "node1.test"} {
		res, err := client.Get("https://" + host + "/v1/nodes")
		if err != nil {
			t.Errorf("as %s: %v", host, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Errorf("as %s: %s %s", host, res.Proto, res.Status)
		}
		if strict := res.Header.Get("Strict-Transport-Security"); (strict != "") != (host == "node1.test") {
			t.Errorf("as %s: Strict-Transport-Security %q", host, strict)
		}
	}
	req, err := http.NewRequest(http.MethodGet, "https://127.0.0.1/v1/nodes", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = evil
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by a name of a page's own: %s, want 421", res.Status)
	}
	if _, err := client.Get("https://" + evil + "/v1/nodes"); err == nil {
		t.Error("its certificate is good for any name")
	}
	if _, err := asking(t, n, newAuthority(t)).Get("https://localhost/v1/nodes"); err == nil {
		t.Error("a client of another cluster is content with it")
	}
	if got := run(t, program{name: "carillon", args: []string{"nodes", "--server", "unix://" + filepath.Join(n.dir, "carillon.sock")}}).must(t); !strings.Contains(got, "n1") {
		t.Errorf("over the socket: %q", got)
	}
}

// pairFiles writes a certificate and its key, in place of what was there.
func pairFiles(t testing.TB, dir string, c *tls.Certificate) (cert, key string) {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "api.pem"), filepath.Join(dir, "api.key")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A node does not start with files that no client would be content with, and says
// what is wrong with them; one that runs takes good ones as they come, and no bad one.
func TestFilesOfTheAPI(t *testing.T) {
	t.Parallel()
	c, ca := newCluster(t), newAuthority(t)
	server := func(ttl time.Duration, at time.Time) *tls.Certificate {
		cert, err := ca.IssueServer("n1", []string{"127.0.0.1"}, ttl, at)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	expired := server(time.Hour, time.Now().Add(-2*time.Hour))
	for want, cert := range map[string]*tls.Certificate{
		"it expired on":         expired,
		"it is not for servers": certs.Minion(t, ca, "web1", time.Now(), 0),
		"is not that of the certificate in": {
			Certificate: server(0, time.Now()).Certificate, PrivateKey: server(0, time.Now()).PrivateKey,
		},
	} {
		file, key := pairFiles(t, t.TempDir(), cert)
		r := run(t, program{name: "scheduler", args: []string{
			"--node", "n2", "--data-dir", filepath.Join(t.TempDir(), "n2"), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
			"--etcd-endpoints", c.endpoint, "--etcd-prefix", c.prefix, "--api-cert", file, "--api-key", key,
		}})
		if r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("code %d, want %q in %s", r.code, want, r.stderr)
		}
	}
	dir := t.TempDir()
	file, key := pairFiles(t, dir, server(0, time.Now()))
	n := startNode(t, c, "n1", "--api-plain=false", "--api-cert", file, "--api-key", key)
	get := func() (*x509.Certificate, error) {
		res, err := asking(t, n, ca).Get("https://127.0.0.1/v1/version")
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return nil, err
		}
		return res.TLS.PeerCertificates[0], nil
	}
	next := server(0, time.Now())
	pairFiles(t, dir, next)
	if got, err := get(); err != nil || !got.Equal(next.Leaf) {
		t.Errorf("the new certificate is not shown: %v", err)
	}
	pairFiles(t, dir, expired)
	if got, err := get(); err != nil || !got.Equal(next.Leaf) {
		t.Errorf("after bad files came, the good certificate is not shown: %v", err)
	}
	await.Until(t, "the node says what is wrong", func() bool { return strings.Contains(n.output(), "it expired on") })
}
