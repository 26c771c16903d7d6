package etcdtest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Shared is one server for all tests of a package, started by the first test
// that asks for it. Its tests keep apart by Prefix. The zero Shared is ready:
//
//	var shared etcdtest.Shared
//
//	func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Server returns the shared server. A test must not stop or compact it.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() {
		dir, err := os.MkdirTemp("", "etcdtest")
		if err != nil {
			s.err = err
			return
		}
		s.server = &Server{dir: dir, addr: "127.0.0.1:0"}
		s.err = s.server.start()
	})
	if s.err != nil {
		t.Fatalf("start shared etcd: %v", s.err)
	}
	return s.server
}

// Run runs the package's tests, stops the server, and fails when goroutines
// are left over. It returns the exit code.
func (s *Shared) Run(m *testing.M, ignore ...goleak.Option) int {
	code := m.Run()
	if s.server != nil {
		s.server.Stop()
		_ = os.RemoveAll(s.server.dir)
	}
	if code != 0 {
		return code
	}
	if err := goleak.Find(ignore...); err != nil {
		fmt.Fprintf(os.Stderr, "goroutines are left over: %v\n", err)
		return 1
	}
	return 0
}
