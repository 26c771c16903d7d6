package lock

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(pausedVariable); endpoint != "" {
		paused(endpoint, os.Getenv(pausedVariable+"_PREFIX"))
		return
	}
	os.Exit(shared.Run(m))
}

// openSession opens a session of the shared server, closed when the test ends.
func openSession(t *testing.T, c *clientv3.Client, change func(*SessionConfig)) *Session {
	t.Helper()
	return openWith(t, c, change, systemClock())
}

func openWith(t *testing.T, c *clientv3.Client, change func(*SessionConfig), now clock) *Session {
	t.Helper()
	// No test but those that say so waits for a lease to end, however busy the machine.
	cfg := SessionConfig{Holder: t.Name(), TTL: time.Minute, Epoch: 1, Marks: etcdtest.Prefix(t)}
	if change != nil {
		change(&cfg)
	}
	s, err := open(t.Context(), cfg, Deps{Client: c}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func newMutex(t *testing.T, s *Session, prefix string, opts MutexOptions) *Mutex {
	t.Helper()
	m, err := NewMutex(s, prefix, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// keys returns how many keys lie under prefix.
func keys(t *testing.T, c *clientv3.Client, prefix string) int64 {
	t.Helper()
	r, err := c.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Count
}
