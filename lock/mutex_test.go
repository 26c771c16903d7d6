package lock_test

import (
	"context"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/lock/locktest"
)

func TestMutexConformance(t *testing.T) {
	t.Parallel()
	client := etcdtest.Start(t).Client(t)
	locktest.Run(t, func(t *testing.T, name string, opts lock.MutexOptions) locktest.Contender {
		t.Helper()
		s, err := lock.Open(t.Context(), lock.SessionConfig{Holder: t.Name(), TTL: time.Minute, Epoch: 1}, lock.Deps{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		m, err := lock.NewMutex(s, "/locks/"+name, opts)
		if err != nil {
			t.Fatal(err)
		}
		// A hold that is nil must not become an interface that is not.
		result := func(h *lock.Hold, err error) (locktest.Hold, error) {
			if err != nil {
				return nil, err
			}
			return h, nil
		}
		return locktest.Contender{
			Lock:    func(ctx context.Context) (locktest.Hold, error) { return result(m.Lock(ctx)) },
			TryLock: func(ctx context.Context) (locktest.Hold, error) { return result(m.TryLock(ctx)) },
			Inspect: func() lock.Status {
				status, err := lock.Inspect(t.Context(), client, "/locks/"+name)
				if err != nil {
					t.Errorf("inspect: %v", err)
				}
				return status
			},
			Break: func(rev int64) error { return lock.Break(t.Context(), client, "/locks/"+name, rev) },
			Lose: func() {
				if _, err := client.Revoke(t.Context(), s.Lease()); err != nil {
					t.Errorf("revoke: %v", err)
				}
			},
		}
	})
}
