package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	// renewTimeout bounds a round of renewals; a round after a failed one has
	// longer, so that a slow server is not mistaken for a dead one.
	renewTimeout = 400 * time.Millisecond
	// hedgeAfter is how long a renewal has before the next client is tried too.
	hedgeAfter = 100 * time.Millisecond
	// renewPause is about how long to wait after a failed round.
	renewPause = 50 * time.Millisecond
)

// renew keeps the lease alive for as long as the session lasts.
func (s *Session) renew() {
	timeout := renewTimeout
	for {
		pause := s.ttl / 4
		err := s.renewRound(timeout)
		switch {
		case s.life.Err() != nil:
			return
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			_ = s.leaseGone()
			return
		case err != nil:
			left := time.Duration(s.deadline.Load()) - s.now()
			s.metrics.margin.Set(max(left, 0).Seconds())
			s.log.Warn("lease not renewed", zap.Duration("left", left), zap.Error(err))
			timeout = min(2*timeout, max(left/2, renewTimeout))
			pause = renewPause + rand.N(renewPause)
			for _, c := range s.renewers {
				// Otherwise a client that failed to connect sits out its back-off,
				// which may be longer than the lease.
				if conn := c.ActiveConnection(); conn != nil {
					conn.ResetConnectBackoff()
				}
			}
		default:
			timeout = renewTimeout
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.life.Done():
			t.Stop()
			return
		}
	}
}

// renewal is the answer of one client.
type renewal struct {
	client int
	sent   time.Duration
	ttl    time.Duration
	err    error
}

// renewRound asks one client after another, each a little later, until one
// renews the lease.
func (s *Session) renewRound(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(s.life, timeout)
	defer cancel()
	n := len(s.renewers)
	answers := make(chan renewal, n) // one per client: no sender ever waits
	asked, pending := 0, 0
	ask := func() {
		r := renewal{client: (s.preferred + asked) % n, sent: s.now()}
		asked++
		pending++
		s.wg.Go(func() {
			r.ttl, r.err = keepAlive(ctx, s.renewers[r.client], s.lease)
			answers <- r
		})
	}
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()
	ask()
	var errs []error
	for pending > 0 {
		select {
		case <-hedge.C:
			if asked < n {
				ask()
			}
		case r := <-answers:
			pending--
			if r.err == nil {
				s.preferred = r.client
				s.metrics.renew.Observe((s.now() - r.sent).Seconds())
				// The server counts from when it got the request, which is
				// after we sent it.
				s.extend(r.sent + r.ttl - s.cfg.Margin)
				return nil
			}
			if errors.Is(r.err, rpctypes.ErrLeaseNotFound) {
				return r.err
			}
			errs = append(errs, r.err)
			if asked < n {
				ask()
			}
		}
	}
	return errors.Join(errs...)
}

// keepAlive renews the lease once. It does what the client's KeepAliveOnce
// does, but waits for a connection instead of trying without a pause.
func keepAlive(ctx context.Context, c *clientv3.Client, lease clientv3.LeaseID) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	conn := c.ActiveConnection()
	if conn == nil { // the client was built around a lessor of its own
		r, err := c.KeepAliveOnce(ctx, lease)
		if err != nil {
			return 0, fmt.Errorf("renew lease: %w", err)
		}
		return time.Duration(r.TTL) * time.Second, nil
	}
	stream, err := etcdserverpb.NewLeaseClient(conn).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
	if err != nil {
		return 0, fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	}
	if err := stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return 0, fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	}
	r, err := stream.Recv()
	if err != nil {
		return 0, fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	}
	if r.TTL <= 0 {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return time.Duration(r.TTL) * time.Second, nil
}
