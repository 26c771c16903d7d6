package members

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// dirs are directories for an embedded etcd: one whose socket has a path that can
// be used as it is, one where it is too long, and one that no URL takes.
func etcdDirs(t *testing.T) map[string]string {
	t.Helper()
	base, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	return map[string]string{
		"short": filepath.Join(base, "a"), "long": filepath.Join(base, strings.Repeat("long", 40)), "unusual": filepath.Join(base, "50% of {a,b} #1?"),
	}
}

func speak(t *testing.T, endpoint string, fn func(context.Context, *clientv3.Client) error) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: time.Minute, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := fn(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, c *clientv3.Client) error {
	_, err := c.Put(ctx, "k", "v")
	return err
}

func isThere(ctx context.Context, c *clientv3.Client) error {
	resp, err := c.Get(ctx, "k")
	if err == nil && (len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "v") {
		err = errors.New("what was put is not there")
	}
	return err
}

func TestEmbeddedEtcdListensInItsDirectoryOnly(t *testing.T) {
	for name, dir := range etcdDirs(t) {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(dir, SocketName)
			if err := os.MkdirAll(dir, 0o755); err != nil { // it is to be closed
				t.Fatal(err)
			}
			for _, do := range []func(context.Context, *clientv3.Client) error{put, isThere} {
				leaveSocket(t, socket)
				e, err := Alone(dir, zap.NewNop())
				if err != nil {
					t.Fatal(err)
				}
				for path, want := range map[string]os.FileMode{dir: 0o700, socket: 0o600} {
					if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
						t.Errorf("%s has mode %v (%v), want %#o", path, st.Mode(), err, want)
					}
				}
				if len(e.etcd.Peers) != 0 || len(e.etcd.Clients) != 1 {
					t.Errorf("%d ports for peers and %d for clients, want none and one", len(e.etcd.Peers), len(e.etcd.Clients))
				}
				speak(t, e.Endpoint, do)
				refusesPages(t, e.at.path)
				e.Stop()
			}
		})
	}
}

// leaveSocket does what a killed process does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	place, err := placeSocket(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer place.close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: place.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("no socket is left: %v", err)
	}
}

// refusesPages holds that whatever a browser might send gets no answer that a
// page may read, and none from the store.
func refusesPages(t *testing.T, socket string) {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	for _, tc := range []struct{ method, host, path string }{
		{http.MethodPost, "localhost", "/v3/kv/range"}, {http.MethodOptions, "localhost", "/v3/kv/range"}, {http.MethodGet, "evil.test", "/version"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+tc.host+tc.path, strings.NewReader(`{"key":"aw=="}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "http://evil.test")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s %s lets %s read", tc.method, tc.path, got)
		}
		if tc.method != http.MethodOptions && resp.StatusCode < 400 {
			t.Errorf("%s %s of %s: status %d", tc.method, tc.path, tc.host, resp.StatusCode)
		}
	}
}

// What a release has left that listened on ports goes on behind the socket.
func TestEmbeddedEtcdTakesOverWhatListenedOnPorts(t *testing.T) {
	dir := etcdDirs(t)["short"]
	port := func() []url.URL {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return []url.URL{{Scheme: "http", Host: l.Addr().String()}}
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel = "embedded", dir, "error"
	cfg.ListenClientUrls, cfg.ListenPeerUrls = port(), port()
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	old, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-old.Server.ReadyNotify()
	speak(t, cfg.ListenClientUrls[0].String(), put)
	old.Close()

	e, err := Alone(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	speak(t, e.Endpoint, isThere)
}

// A member that waits for a majority ends when it is told to.
func TestMemberWithoutMajorityStops(t *testing.T) {
	dir := etcdDirs(t)["short"]
	e, err := Alone(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	speak(t, e.Endpoint, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:1"}) // it never starts
		return err
	})
	e.Stop()
	if e, err = start(dir, "embedded", nil, false, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Ready(ctx); err == nil {
		t.Fatal("one of two members serves")
	}
	stopped := make(chan struct{})
	go func() {
		e.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("it has not stopped after a minute")
	}
}
