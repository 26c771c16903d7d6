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

// patience bounds what a test waits for.
const patience = 3 * time.Minute

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// openSession opens a session of the shared server, closed when the test ends.
func openSession(t *testing.T, c *clientv3.Client, change func(*SessionConfig)) *Session {
	t.Helper()
	return openWith(t, c, change, systemClock())
}

func openWith(t *testing.T, c *clientv3.Client, change func(*SessionConfig), now clock) *Session {
	t.Helper()
	cfg := SessionConfig{Holder: t.Name(), Epoch: 1, Marks: etcdtest.Prefix(t)}
	if change != nil {
		change(&cfg)
	}
	s, err := open(timeout(t), cfg, Deps{Client: c}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
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

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// keys returns how many keys lie under prefix.
func keys(t *testing.T, c *clientv3.Client, prefix string) int64 {
	t.Helper()
	r, err := c.Get(timeout(t), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Count
}
