package lock

import (
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Borrow returns a session on a lease that somebody else keeps alive, such as a
// server does that holds locks on behalf of its clients. The session neither
// renews nor revokes the lease: it ends for good after ttl, which is how long
// the caller vouches for the lease from now on. What lies on the lease stays
// when the session ends or is closed. cfg.TTL and cfg.Margin are not used.
func Borrow(cfg SessionConfig, deps Deps, lease clientv3.LeaseID, ttl time.Duration) (*Session, error) {
	var errs []error
	if lease == clientv3.NoLease {
		errs = append(errs, errors.New("no lease is given"))
	}
	if ttl <= 0 {
		errs = append(errs, fmt.Errorf("ttl is %s, want more than 0", ttl))
	}
	cfg.TTL, cfg.Margin = 0, 0
	deps.Metrics = nil // they tell of leases that are renewed
	s, err := newSession(cfg, deps, deps.clock())
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("borrow a lease for a lock session: %w", err)
	}
	s.borrowed = true
	s.begin(lease, ttl, s.now()+ttl)
	return s, nil
}

// finishTasks waits until all that goes on in the background has been done. New
// work is not taken on.
func (s *Session) finishTasks() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.tasks.Wait()
}
