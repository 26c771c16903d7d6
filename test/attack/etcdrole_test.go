package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// guardedEtcd is an etcd that speaks TLS with client certificates only, and asks for a
// user.
type guardedEtcd struct {
	endpoint string
	dir      string // of its files
	ca       *x509.Certificate
	key      *ecdsa.PrivateKey
	admin    *clientv3.Client
}

func startGuardedEtcd(t testing.TB) *guardedEtcd {
	t.Helper()
	g := &guardedEtcd{dir: t.TempDir()}
	var err error
	if g.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	g.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd's authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, g.ca, g.ca, &g.key.PublicKey, g.key)
	if err != nil {
		t.Fatal(err)
	}
	if g.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	g.write(t, "ca.pem", "CERTIFICATE", der)
	g.certificate(t, "server", "")
	g.certificate(t, "nobody", "")
	g.certificate(t, "named", "carillon")
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.TickMs, cfg.ElectionMs, cfg.UnsafeNoFsync, cfg.EnableGRPCGateway = "guarded", filepath.Join(g.dir, "data"), 20, 200, true, false
	client, peer := url.URL{Scheme: "https", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{client}, []url.URL{client}, []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: g.file("server.pem"), KeyFile: g.file("server.key"), TrustedCAFile: g.file("ca.pem"), ClientCertAuth: true}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.BcryptCost = 4 // with the race detector a password of the usual cost takes seconds, longer than a renewal may
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	<-srv.Server.ReadyNotify()
	g.endpoint = "https://" + srv.Clients[0].Addr().String()
	g.admin = g.client(t, "", "")
	for _, do := range []func() error{
		func() error { _, err := g.admin.UserAdd(t.Context(), "root", "root's"); return err },
		func() error { _, err := g.admin.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := g.admin.AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	g.admin = g.client(t, "root", "root's")
	return g
}

func (g *guardedEtcd) file(name string) string { return filepath.Join(g.dir, name) }

func (g *guardedEtcd) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(g.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate makes one for a name, NAME.pem and NAME.key, and a user of etcd.
func (g *guardedEtcd) certificate(t testing.TB, name, user string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, g.ca, &key.PublicKey, g.key)
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, name+".pem", "CERTIFICATE", der)
	if der, err = x509.MarshalECPrivateKey(key); err != nil {
		t.Fatal(err)
	}
	g.write(t, name+".key", "EC PRIVATE KEY", der)
}

// client returns a client as a user; with a certificate that names none.
func (g *guardedEtcd) client(t testing.TB, user, password string) *clientv3.Client {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(g.file("nobody.pem"), g.file("nobody.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(g.ca)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{g.endpoint}, DialTimeout: time.Minute, Username: user, Password: password, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// obey does what printed commands of etcdctl do.
func (g *guardedEtcd) obey(t testing.TB, commands, password string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		var err error
		switch words := strings.Fields(line); {
		case words[0] == "#":
		case strings.HasPrefix(line, "etcdctl role add "):
			_, err = g.admin.RoleAdd(t.Context(), words[3])
		case strings.HasPrefix(line, "etcdctl user add "):
			_, err = g.admin.UserAdd(t.Context(), words[3], password)
		case strings.HasPrefix(line, "etcdctl user grant-role "):
			_, err = g.admin.UserGrantRole(t.Context(), words[3], words[4])
		case strings.HasPrefix(line, "etcdctl role grant-permission ") && words[5] == "--prefix":
			access := map[string]clientv3.PermissionType{"read": clientv3.PermissionType(clientv3.PermRead), "readwrite": clientv3.PermissionType(clientv3.PermReadWrite)}[words[4]]
			_, err = g.admin.RoleGrantPermission(t.Context(), words[3], words[6], clientv3.GetPrefixRangeEnd(words[6]), access)
		default:
			t.Fatalf("unknown command %q", line)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// With exactly the role that `carillon doctor --etcd-role` prints all works, over TLS with
// a client certificate, by a password and by the name in the certificate; beyond it etcd
// refuses the user, and nobody without it gets in.
func TestEtcdRoleIsWhatNodesNeed(t *testing.T) {
	t.Parallel()
	g := startGuardedEtcd(t)
	const prefix, password = "/team-a/carillon", "correct horse"
	commands := run(t, program{name: "carillon", args: []string{"doctor", "--etcd-role", "--etcd-prefix", prefix}}).must(t)
	g.obey(t, commands, password)
	if err := os.WriteFile(g.file("password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.file("wrong"), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cluster{endpoint: g.endpoint, prefix: prefix, etcd: g.admin, keys: etcdkv.NewKeys(prefix)}
	byPassword := []string{"--etcd-ca", g.file("ca.pem"), "--etcd-cert", g.file("nobody.pem"), "--etcd-key", g.file("nobody.key"), "--etcd-user", "carillon", "--etcd-password-file", g.file("password")}
	byName := []string{"--etcd-ca", g.file("ca.pem"), "--etcd-cert", g.file("named.pem"), "--etcd-key", g.file("named.key")}

	n1 := startNode(t, c, "n1", byPassword...)
	n2 := startNode(t, c, "n2", byName...)
	startMinion(t, n1, "m1")
	startMinion(t, n2, "m2")
	if err := os.WriteFile(g.file("jobs.yaml"), []byte(`
apiVersion: carillon/v1
kind: Calendar
metadata: {name: days}
spec: {weekdays: [MON-SUN]}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: hi}
spec: {source: "echo hi"}
---
apiVersion: carillon/v1
kind: Group
metadata: {name: turns}
spec: {mode: failover, nodes: [n1, n2]}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: often}
spec: {schedule: "@every 1s", group: turns, calendars: [days], steps: [{script: hi}], target: {run: all}}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: after}
spec: {command: ["true"], after: {jobs: [often]}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	n1.carillon(t, "apply", "-f", g.file("jobs.yaml")).must(t)
	await.Until(t, "runs by schedule and by another", func() bool {
		return strings.Contains(n2.carillon(t, "runs", "often").stdout, "succeeded") && strings.Contains(n1.carillon(t, "runs", "after").stdout, "succeeded")
	})
	for _, args := range [][]string{
		{"exec", "-t", "m1,m2", "--", "echo", "hello"}, {"pause", "often"}, {"resume", "often"}, {"run", "after", "--wait"},
		{"lock", "deploy", "--", "true"}, {"audit", "-o", "json"}, {"nodes"}, {"get", "groups"}, {"token", "create", "ci", "--ttl", "1h"},
		{"minions", "label", "m1", "a=b"}, {"delete", "job", "after"}, {"shards"}, {"minions", "revoke", "m2"},
	} {
		n2.carillon(t, args...).must(t)
	}
	for _, n := range []*node{n1, n2} {
		// On a busy machine etcd is slow, or seems away for a moment, which says nothing.
		await.Until(t, "doctor of "+n.name+" finds etcd in order", func() bool {
			inOrder := true
			for line := range strings.Lines(n.carillon(t, "doctor").stdout) {
				if strings.HasPrefix(line, "etcd") && strings.Contains(line, "permission denied") {
					t.Fatalf("doctor of %s: %s", n.name, line)
				}
				inOrder = inOrder && (!strings.HasPrefix(line, "etcd") || strings.Contains(line, " ok ") || strings.Contains(line, "answers a read in"))
			}
			return inOrder
		})
		if out := n.output(); strings.Contains(out, "permission denied") {
			t.Errorf("%s was refused something:\n%s", n.name, tail(out, 4<<10))
		}
	}

	// The user may do nothing beside it.
	user := g.client(t, "carillon", password)
	for what, do := range map[string]func() error{
		"read another key":      func() error { _, err := user.Get(t.Context(), "/team-b/carillon/v1/meta"); return err },
		"read all":              func() error { _, err := user.Get(t.Context(), "\x00", clientv3.WithFromKey()); return err },
		"read the whole prefix": func() error { _, err := user.Get(t.Context(), "/team-a/", clientv3.WithPrefix()); return err },
		"write beside it":       func() error { _, err := user.Put(t.Context(), prefix+"/v2/x", "x"); return err },
		"make a user":           func() error { _, err := user.UserAdd(t.Context(), "x", "x"); return err },
	} {
		if err := do(); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Nor does a node start that is not the user, and it says why.
	for name, x := range map[string]struct {
		args []string
		want string
	}{
		"password": {append(append([]string{}, byPassword...), "--etcd-password-file", g.file("wrong")), "as user carillon: etcdserver: authentication failed"},
		"no user":  {byPassword[:6], "etcd refuses this node: give --etcd-user"},
		"prefix":   {append(append([]string{}, byPassword...), "--etcd-prefix", "/team-b"), "`carillon doctor --etcd-role --etcd-prefix /team-b` prints"},
	} {
		n3 := &node{name: "n3"}
		n3.process = start(t, program{name: "scheduler", args: append([]string{
			"--log-format", "json", "--node", "n3", "--data-dir", filepath.Join(t.TempDir(), "n3"), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--etcd-endpoints", g.endpoint, "--etcd-prefix", prefix,
		}, x.args...)})
		await.Until(t, "the node has started, or has given up", func() bool { return !n3.runs() || n3.opened() })
		if n3.opened() || !strings.Contains(n3.output(), x.want) {
			t.Errorf("%s: %s", name, tail(n3.output(), 600))
		}
		n3.kill()
	}
}
