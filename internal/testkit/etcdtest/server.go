// Package etcdtest runs a real etcd server inside a test.
package etcdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// Server is a single-member etcd that listens on a free port of 127.0.0.1 and
// keeps its data, without fsync, until the test ends. Stop and Restart may be
// called by one goroutine at a time.
type Server struct {
	// Endpoints is how clients reach the server. It survives a restart.
	Endpoints []string

	dir  string
	addr string // host:port of the client listener; port 0 before the first start

	mu   sync.Mutex // guards etcd
	etcd running    // nil: it is stopped
}

// Start starts a server, and stops it when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), addr: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Client returns a client of the server, closed when the test ends.
func (s *Server) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	return Dial(t, s.Endpoints...)
}

// Dial returns a client of the endpoints, closed when the test ends. It does
// not wait for a connection.
func Dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints:          endpoints,
		Logger:             zap.NewNop(),
		DialTimeout:        5 * time.Second,
		MaxCallSendMsgSize: 8 << 20,
		// Servers come back fast here, and so should clients.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: .2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		})},
	})
	if err != nil {
		t.Fatalf("etcd client: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Stop stops the server and keeps its data. It does nothing when the server is
// stopped.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.etcd == nil {
		return
	}
	s.etcd.stop()
	s.etcd = nil
}

// Restart stops the server, if it runs, and starts it on the same data and port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	// Another process may get the port meanwhile; it is likely to let go soon.
	await.Missing(t, func() string {
		if err := s.start(); err != nil {
			return fmt.Sprintf("restart etcd: %v", err)
		}
		return ""
	})
}

// Compact compacts the history up to rev, and waits until it is done.
func (s *Server) Compact(t testing.TB, rev int64) {
	t.Helper()
	if _, err := s.Client(t).Compact(t.Context(), rev, clientv3.WithCompactPhysical()); err != nil {
		t.Fatalf("compact etcd at %d: %v", rev, err)
	}
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := run(os.Getenv(ProgramVariable), filepath.Join(s.dir, "data"), s.addr)
	if err != nil {
		return err
	}
	s.etcd = e
	s.addr = e.addr()
	s.Endpoints = []string{"http://" + s.addr}
	return nil
}

// Prefix returns a key prefix, ending in a slash, that no other test has.
func Prefix(t testing.TB) string {
	t.Helper()
	return "/" + t.Name() + "-" + uuid.NewString() + "/"
}

// Revision returns the server's present revision.
func Revision(t testing.TB, c *clientv3.Client) int64 {
	t.Helper()
	r, err := c.Get(t.Context(), "\x00", clientv3.WithCountOnly())
	if err != nil {
		t.Fatalf("read revision: %v", err)
	}
	return r.Header.Revision
}
