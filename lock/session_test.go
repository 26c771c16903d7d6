package lock

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
)

func short(c *SessionConfig) { c.TTL = MinTTL }

// lost waits until the session is lost.
func lost(t *testing.T, s *Session) {
	t.Helper()
	await.From(t, "the loss of the session", s.Lost())
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg  SessionConfig
		want string
	}{
		"no holder":    {SessionConfig{}, "holder is empty"},
		"short ttl":    {SessionConfig{Holder: "h", TTL: time.Second / 2}, "want at least 1s"},
		"large margin": {SessionConfig{Holder: "h", Margin: 3 * time.Second}, "at most half"},
		"all at once":  {SessionConfig{TTL: 1}, "holder is empty\nttl is 1ns"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), tc.cfg, Deps{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("open: %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestSessionIsRenewed(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	reg := prometheus.NewPedanticRegistry()
	for i := range 2 { // two sessions share the metrics
		s, err := Open(t.Context(), SessionConfig{Holder: "h", TTL: 19500 * time.Millisecond, Marks: etcdtest.Prefix(t)}, Deps{Client: c, Metrics: reg})
		if err != nil {
			t.Fatal(err)
		}
		opened := s.deadline.Load()
		if s.TTL() != 20*time.Second {
			t.Errorf("ttl is %s, want 20s, rounded up", s.TTL())
		}
		await.Until(t, "a renewal moves the deadline, and is measured", func() bool {
			families, err := reg.Gather()
			return s.deadline.Load() > opened && err == nil && len(families) == 2 && families[0].GetMetric()[0].GetHistogram().GetSampleCount() > uint64(i)
		})
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestI3_DeadlineCountsFromSending(t *testing.T) {
	t.Parallel()
	const delay = 150 * time.Millisecond
	server := shared.Server(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	proxy.Delay(delay)
	s := openSession(t, etcdtest.Dial(t, proxy.Endpoint()), func(c *SessionConfig) { c.TTL = 20 * time.Second })
	opened := s.deadline.Load()
	var left time.Duration
	await.Until(t, "a slow renewal", func() bool {
		d := s.deadline.Load()
		left = time.Duration(d) - s.now()
		return d != opened
	})
	// The answer came two delays after the request was sent.
	if most := s.ttl - s.cfg.Margin - 2*delay; left > most {
		t.Errorf("%s are left right after the answer, want at most %s", left, most)
	}
}

func TestI3_SuspendedSessionIsLost(t *testing.T) {
	t.Parallel()
	var asleep atomic.Int64
	system := systemClock()
	s := openWith(t, shared.Server(t).Client(t), nil, func() time.Duration { return system() + time.Duration(asleep.Load()) })
	ctx, cancel := s.Context(t.Context())
	defer cancel()
	if !s.Held() || s.Err() != nil {
		t.Fatalf("new session: held %v, error %v", s.Held(), s.Err())
	}
	asleep.Store(int64(s.ttl))
	if s.Held() || !errors.Is(s.Err(), ErrLost) {
		t.Fatalf("after a suspend: held %v, error %v, want ErrLost at once", s.Held(), s.Err())
	}
	lost(t, s)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, ErrLost) {
		t.Errorf("context's cause is %v, want ErrLost", cause)
	}
	// The lease still lives, but a renewal does not bring the session back.
	s.extend(s.now() + s.ttl)
	if s.Held() {
		t.Error("a lost session is held again")
	}
	if _, err := s.Claim(t.Context(), Grant{Key: etcdtest.Prefix(t), Value: "v"}); !errors.Is(err, ErrLost) {
		t.Errorf("claim by a lost session: %v, want ErrLost", err)
	}
}

func TestI3_LateRenewalDoesNotRevive(t *testing.T) {
	t.Parallel()
	var asleep atomic.Int64
	system := systemClock()
	s := openWith(t, shared.Server(t).Client(t), nil, func() time.Duration { return system() + time.Duration(asleep.Load()) })
	asleep.Store(int64(s.ttl)) // the guard has not looked yet
	s.extend(s.now() + s.ttl)
	if s.Held() || !errors.Is(s.Err(), ErrLost) {
		t.Errorf("a renewal after the deadline: held %v, error %v, want ErrLost", s.Held(), s.Err())
	}
}

func TestI3_LostBeforeAnotherIsGranted(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	direct := server.Client(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	p := etcdtest.Prefix(t)
	a := openSession(t, etcdtest.Dial(t, proxy.Endpoint()), func(c *SessionConfig) { c.TTL = 12 * time.Second })
	b := openSession(t, direct, nil)
	h, err := newMutex(t, a, p, MutexOptions{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := h.Context(t.Context())
	defer cancel()
	granted := make(chan time.Time, 1)
	go func() {
		h2, err := newMutex(t, b, p, MutexOptions{}).Lock(t.Context())
		at := time.Now()
		if err != nil {
			t.Errorf("second lock: %v", err)
		} else if !h.Token().Less(h2.Token()) {
			t.Errorf("tokens %v, then %v", h.Token(), h2.Token())
		}
		granted <- at
	}()
	await.Until(t, "second waits", func() bool { return keys(t, direct, p) == 2 })
	proxy.Blackhole()
	second := <-granted
	if h.Held() {
		t.Error("both hold the lock")
	}
	// What a busy machine runs late is late here as well: what counts is until
	// when the holder believed that it held.
	if gap := second.Sub(a.Deadline()); gap < a.cfg.Margin {
		t.Errorf("the deadline was only %s before the next grant, want the margin, %s, or more", gap, a.cfg.Margin)
	}
	await.From(t, "the end of the holder's context", ctx.Done())
	if cause := context.Cause(ctx); !errors.Is(cause, ErrLost) {
		t.Errorf("the holder's context has the cause %v, want ErrLost", cause)
	}
	proxy.Heal()
	if err := h.Unlock(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("late unlock: %v, want ErrFenced", err)
	}
	if n := keys(t, direct, p); n != 1 {
		t.Errorf("%d keys after a late unlock, want the second hold's", n)
	}
}

func TestRenewalsAreHedged(t *testing.T) {
	t.Parallel()
	server := shared.Server(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	direct := server.Client(t)
	dead := etcdtest.Dial(t, proxy.Endpoint())
	if _, err := dead.Get(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	proxy.Blackhole()
	s, err := Open(t.Context(), SessionConfig{Holder: "h", TTL: 20 * time.Second, Marks: etcdtest.Prefix(t)},
		Deps{Client: direct, Renewers: []*clientv3.Client{dead, direct}})
	if err != nil {
		t.Fatal(err)
	}
	opened := s.deadline.Load()
	await.Until(t, "renewed over the second client", func() bool {
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		return s.deadline.Load() > opened
	})
	proxy.Heal()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSessionSurvivesServerRestart(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	s := openSession(t, server.Client(t), func(c *SessionConfig) { c.TTL = 40 * time.Second })
	server.Restart(t)
	was := s.deadline.Load()
	await.Until(t, "renewed after a restart", func() bool {
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		return s.deadline.Load() > was
	})
}

func TestSessionNoticesThatLeaseIsGone(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	s := openSession(t, c, func(c *SessionConfig) { c.TTL = time.Hour })
	if _, err := c.Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	// A claim finds out at once, a renewal within a quarter of the TTL.
	if _, err := s.Claim(t.Context(), Grant{Key: etcdtest.Prefix(t), Value: "v"}); !errors.Is(err, ErrLost) {
		t.Errorf("claim: %v, want ErrLost", err)
	}
	lost(t, s)

	s = openSession(t, c, short)
	if _, err := c.Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	lost(t, s)
	if err := s.Err(); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("session's error is %v, want ErrLost because the lease is gone", err)
	}
}

func TestCloseFreesEverythingOnce(t *testing.T) {
	t.Parallel()
	c := shared.Server(t).Client(t)
	p := etcdtest.Prefix(t)
	s := openSession(t, c, nil)
	if _, err := s.Claim(t.Context(), Grant{Key: p + "k", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := s.Context(t.Context())
	defer cancel()
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := keys(t, c, p); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, ErrClosed) {
		t.Errorf("context's cause is %v, want ErrClosed", cause)
	}
	late, cancelLate := s.Context(t.Context())
	defer cancelLate()
	if late.Err() == nil {
		t.Error("context of a closed session lives")
	}
	if _, err := newMutex(t, s, p, MutexOptions{}).Lock(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("lock of a closed session: %v, want ErrClosed", err)
	}
}

func TestCloseWhileCutOff(t *testing.T) {
	t.Parallel()
	server := shared.Server(t)
	direct := server.Client(t)
	proxy := netproxy.New(t, server.Endpoints[0])
	p := etcdtest.Prefix(t)
	s := openSession(t, etcdtest.Dial(t, proxy.Endpoint()), func(c *SessionConfig) { c.TTL = time.Hour })
	if _, err := s.Claim(t.Context(), Grant{Key: p + "k", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	proxy.Blackhole()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("close: %v, want the context's error", err)
	}
	proxy.Heal()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, direct, p); n != 0 {
		t.Errorf("%d keys are left after the network is back", n)
	}
}

// Contexts of a hold, and those made of them, have ended by the time that the
// hold's end returns, never a moment later.
func TestContextEndsAtOnce(t *testing.T) {
	t.Parallel()
	type key struct{}
	for range 1000 {
		life, end := context.WithCancelCause(t.Context())
		parent, stop := context.WithTimeout(context.WithValue(t.Context(), key{}, "v"), time.Hour)
		ctx, cancel := within(parent, life)
		child, cancelChild := context.WithTimeout(ctx, time.Minute)
		if _, ok := ctx.Deadline(); !ok || ctx.Value(key{}) != "v" || child.Value(key{}) != "v" {
			t.Fatal("the parent's deadline or value is lost")
		}
		end(ErrLost)
		if cause := context.Cause(ctx); !errors.Is(cause, ErrLost) {
			t.Fatalf("cause of the context is %v, want ErrLost", cause)
		}
		if cause := context.Cause(child); !errors.Is(cause, ErrLost) {
			t.Fatalf("cause of a context made of it is %v, want ErrLost", cause)
		}
		cancelChild()
		cancel()
		stop()
	}
}
