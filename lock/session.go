package lock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// Token is the fencing token of a grant; see job.Token.
type Token = job.Token

// SessionConfig says how a session behaves.
type SessionConfig struct {
	// Holder is shown to people as who holds a lock. It must not be empty.
	Holder string
	// TTL is how long the lease lives without a renewal, in whole seconds,
	// rounded up. Zero: 5 s. At least 1 s; the server grants no less than one
	// and a half of its election timeouts, so more than was asked for maybe.
	TTL time.Duration
	// Margin is taken off the granted TTL: the session ends that much before
	// the server can end the lease. Zero: a fifth of the TTL, at least 200 ms.
	// At most half of the TTL.
	Margin time.Duration
	// Epoch is the cluster's epoch, the high part of every token.
	Epoch int64
	// Marks is the key prefix for the marks of given-up writes; it must not
	// lie under a prefix that is a lock. Empty: DefaultMarks.
	Marks string
}

const (
	// DefaultTTL is the TTL of a session that names none.
	DefaultTTL = 5 * time.Second
	// MinTTL is the least TTL that can be asked for. etcd's own floor is one and
	// a half of its election timeouts: 2 s at its default settings.
	MinTTL = time.Second
	// DefaultMarks is where marks lie unless the configuration says otherwise.
	DefaultMarks = "/carillon-lock/marks/"

	minMargin = 200 * time.Millisecond
)

// Deps is what a session works with.
type Deps struct {
	Client *clientv3.Client
	// Renewers are clients of one endpoint each, over which renewals are
	// hedged, so that one dead connection costs nothing. Empty: Client alone.
	Renewers []*clientv3.Client
	// Logger may be nil: nothing is logged then.
	Logger *zap.Logger
	// Metrics may be nil: nothing is registered then.
	Metrics prometheus.Registerer
	// Clock tells the time since some fixed instant, and never goes back. Nil:
	// a clock that goes on while the machine is suspended. Simulations set it.
	Clock func() time.Duration
}

func (d *Deps) clock() clock {
	if d.Clock != nil {
		return d.Clock
	}
	return systemClock()
}

// Session is a lease that is kept alive, and the place where grants lie. It
// ends for good when its deadline passes, when the server says that the lease
// is gone, or when it is closed. Its methods may be called by many goroutines.
type Session struct {
	cfg       SessionConfig
	client    *clientv3.Client
	renewers  []*clientv3.Client
	log       *zap.Logger
	metrics   *metrics
	now       clock
	lookEvery time.Duration
	lease     clientv3.LeaseID
	ttl       time.Duration // as granted
	preferred int           // index of the renewer that answered last; renew loop only
	borrowed  bool          // the lease is not ours to renew or revoke

	// deadline is on the clock; it only rises, and only while life lasts.
	deadline atomic.Int64

	// life is the time in which the session may be trusted. A session is a
	// lifetime, and this context is it. end cancels it.
	life context.Context
	end  context.CancelCauseFunc

	// work outlives life: clean-up goes on until the lease is gone.
	work     context.Context
	stopWork context.CancelFunc

	closing sync.Once
	closed  chan struct{} // closed when Close's work is done

	wg    sync.WaitGroup // counts all goroutines but that of Close
	tasks sync.WaitGroup // counts those of background

	mu sync.Mutex
	// mu guards all below, and the order of extending and ending.
	over      bool // no new goroutines
	reentries map[layout]*reentry
	names     names
}

// Open grants a lease and keeps it alive until Close, or until it is lost. ctx
// bounds the grant only.
func Open(ctx context.Context, cfg SessionConfig, deps Deps) (*Session, error) {
	return open(ctx, cfg, deps, deps.clock())
}

func open(ctx context.Context, cfg SessionConfig, deps Deps, now clock) (*Session, error) {
	s, err := newSession(cfg, deps, now)
	if err != nil {
		return nil, fmt.Errorf("open lock session: %w", err)
	}
	// A grant that takes longer than the lease lives is of no use.
	grantCtx, cancel := context.WithTimeout(ctx, s.cfg.TTL)
	defer cancel()
	sent := now()
	granted, err := s.client.Grant(grantCtx, int64(s.cfg.TTL/time.Second))
	if err != nil {
		return nil, fmt.Errorf("open lock session: grant lease of %s: %w", s.cfg.TTL, err)
	}
	ttl := time.Duration(granted.TTL) * time.Second
	if s.cfg.Margin == 0 {
		s.cfg.Margin = max(ttl/5, minMargin)
	}
	if ttl != s.cfg.TTL {
		s.log.Info("server granted another lease ttl", zap.Duration("asked", s.cfg.TTL), zap.Duration("granted", ttl))
	}
	s.begin(granted.ID, ttl, sent+ttl-s.cfg.Margin)
	s.wg.Go(s.renew)
	return s, nil
}

// newSession returns a session that has not begun.
func newSession(cfg SessionConfig, deps Deps, now clock) (*Session, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if deps.Client == nil {
		return nil, errors.New("no client")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if len(deps.Renewers) == 0 {
		deps.Renewers = []*clientv3.Client{deps.Client}
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Session{
		cfg: cfg, client: deps.Client, renewers: deps.Renewers, metrics: m, now: now, log: deps.Logger,
		lookEvery: lookEvery,
		closed:    make(chan struct{}),
	}, nil
}

// begin starts the session's life.
func (s *Session) begin(lease clientv3.LeaseID, ttl, deadline time.Duration) {
	s.lease, s.ttl = lease, ttl
	s.names.base = leaseText(lease) + "-"
	if s.borrowed { // others may have borrowed it too
		s.names.base += uuid.NewString() + "-"
	}
	s.log = s.log.With(zap.String("lease", leaseText(lease)))
	s.life, s.end = context.WithCancelCause(context.Background())
	s.work, s.stopWork = context.WithCancel(context.Background())
	s.deadline.Store(int64(deadline))
	s.wg.Go(s.guard)
}

// fill checks the configuration and fills defaults in, but for the margin,
// which depends on the granted TTL.
func (c *SessionConfig) fill() error {
	var errs []error
	if c.Holder == "" {
		errs = append(errs, errors.New("holder is empty"))
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.TTL < MinTTL {
		errs = append(errs, fmt.Errorf("ttl is %s, want at least %s", c.TTL, MinTTL))
	}
	c.TTL = (c.TTL + time.Second - 1).Truncate(time.Second)
	if c.Margin < 0 || c.Margin > c.TTL/2 {
		errs = append(errs, fmt.Errorf("margin is %s, want at most half of the ttl, %s", c.Margin, c.TTL/2))
	}
	if c.Marks == "" {
		c.Marks = DefaultMarks
	}
	return errors.Join(errs...)
}

// Lease returns the session's lease. A hand-over to this session names it.
func (s *Session) Lease() clientv3.LeaseID { return s.lease }

// TTL returns the lease's TTL as the server granted it.
func (s *Session) TTL() time.Duration { return s.ttl }

// Deadline returns when the session ends unless a renewal succeeds before.
func (s *Session) Deadline() time.Time {
	return time.Now().Add(time.Duration(s.deadline.Load()) - s.now())
}

// HeldUntil returns when the session ends unless a renewal succeeds before, on its
// clock (see Deps.Clock). It only rises.
func (s *Session) HeldUntil() time.Duration { return time.Duration(s.deadline.Load()) }

// Held reports whether the session may be trusted at this moment. It reads the
// clock, so it is right even when the process was stopped a moment ago.
func (s *Session) Held() bool {
	return s.life.Err() == nil && int64(s.now()) < s.deadline.Load()
}

// Lost is closed when the session ends: at its deadline, when the server says
// that the lease is gone, or by Close. Unless the process itself stands still,
// that is before the server can end the lease.
func (s *Session) Lost() <-chan struct{} { return s.life.Done() }

// Err returns nil while the session lasts, then an error that is ErrLost or
// ErrClosed.
func (s *Session) Err() error {
	if s.life.Err() == nil && !s.Held() {
		return fmt.Errorf("%w: deadline passed", ErrLost)
	}
	return context.Cause(s.life)
}

// Context returns a context that ends with parent, or with the session; its
// cause is then ErrLost or ErrClosed. The cancel function frees its resources.
func (s *Session) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return within(parent, s.life)
}

// within returns a context that ends with parent or with life, whichever is
// first. It has ended by the time that the cancellation of life returns: the
// lock is let go next.
func within(parent, life context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(life)
	if parent.Err() != nil {
		cancel(context.Cause(parent)) // now, not a moment later
	}
	stop := context.AfterFunc(parent, func() { cancel(context.Cause(parent)) })
	return lifetime{Context: ctx, parent: parent}, func() {
		stop()
		cancel(context.Canceled)
	}
}

// lifetime is a context that ends with a session or hold, with the values and
// the deadline of its parent.
type lifetime struct {
	context.Context

	parent context.Context
}

func (l lifetime) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Value asks the inner context first, so that contexts made of this one end in
// the same moment as it does.
func (l lifetime) Value(key any) any {
	if v := l.Context.Value(key); v != nil {
		return v
	}
	return l.parent.Value(key)
}

// Close ends the session and revokes its lease, which frees everything on it.
// Whoever used the session must have stopped. Close tries until ctx ends; after
// that it goes on in the background until the lease has ended by itself. It may
// be called more than once.
func (s *Session) Close(ctx context.Context) error {
	s.finish(ErrClosed)
	s.closing.Do(func() {
		go func() {
			defer close(s.closed)
			if s.borrowed {
				s.finishTasks()
			} else {
				s.revoke()
			}
			s.stopWork()
			s.mu.Lock()
			s.over = true
			s.mu.Unlock()
			s.tasks.Wait()
			s.wg.Wait()
		}()
	})
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close lock session: lease %s is not revoked yet and ends by itself within %s: %w",
			leaseText(s.lease), s.ttl, context.Cause(ctx))
	}
}

// revoke tries until the lease is gone.
func (s *Session) revoke() {
	s.persist("revoke lease", func(ctx context.Context) error {
		_, err := s.client.Revoke(ctx, s.lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// finish ends the life of the session; the first cause counts.
func (s *Session) finish(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(cause)
}

func (s *Session) finishLocked(cause error) {
	if s.life.Err() != nil {
		return
	}
	s.end(cause)
	s.metrics.margin.Set(0)
	if !errors.Is(cause, ErrClosed) && !s.borrowed {
		s.log.Warn("session lost", zap.Error(cause))
	}
}

// ended returns why the session ended, if it did, and else err.
func (s *Session) ended(err error) error {
	if cause := s.Err(); cause != nil {
		return cause
	}
	return err
}

// leaseGone ends the session because the server does not know the lease.
func (s *Session) leaseGone() error {
	s.finish(fmt.Errorf("%w: the lease is gone", ErrLost))
	return s.Err()
}

// extend moves the deadline, unless it has passed: what was lost stays lost.
func (s *Session) extend(deadline time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return
	}
	now := s.now()
	if int64(now) >= s.deadline.Load() {
		s.finishLocked(fmt.Errorf("%w: a renewal came after the deadline", ErrLost))
		return
	}
	if int64(deadline) > s.deadline.Load() {
		s.deadline.Store(int64(deadline))
	}
	s.metrics.margin.Set((time.Duration(s.deadline.Load()) - now).Seconds())
}

// guard ends the session at its deadline, and clean-up when the lease must
// have ended.
func (s *Session) guard() {
	for {
		deadline := time.Duration(s.deadline.Load())
		if s.now() >= deadline {
			s.mu.Lock()
			if int64(s.now()) >= s.deadline.Load() {
				s.finishLocked(fmt.Errorf("%w: no renewal before the deadline", ErrLost))
			}
			s.mu.Unlock()
		}
		if s.life.Err() != nil || !s.now.untilDeadline(deadline, s.life.Done()) {
			break
		}
	}
	// A renewal may have been on its way when the session ended, and a new
	// leader adds its election timeout: be generous.
	gone := s.now() + 2*s.ttl
	for s.now() < gone && s.now.untilDeadline(gone, s.work.Done()) {
		continue
	}
	s.stopWork()
}

// background runs fn in a goroutine. fn must end when work does.
func (s *Session) background(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return // the lease is gone, and all on it
	}
	s.tasks.Go(fn)
}

// names are the names of a session's contenders: a base and a number.
type names struct {
	base string
	used int
	free []int
}

// takeName returns a name that no other contender of the session has now. Etcd
// keeps deleted keys in mind until it compacts its history, and whoever reads a
// range looks at all of them: so names are used again, those that were used
// last first.
func (s *Session) takeName() (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.names.used
	if last := len(s.names.free) - 1; last >= 0 {
		n, s.names.free = s.names.free[last], s.names.free[:last]
	} else {
		s.names.used++
	}
	return n, s.names.base + strconv.Itoa(n)
}

// freeName gives a name back. No request that names it may be on its way: after
// a lost answer a name is not used again.
func (s *Session) freeName(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names.free = append(s.names.free, n)
}

// mark returns a key that no write has named before.
func (s *Session) mark() string {
	return s.cfg.Marks + leaseText(s.lease) + "/" + uuid.NewString()
}

func leaseText(id clientv3.LeaseID) string { return fmt.Sprintf("%016x", int64(id)) }
