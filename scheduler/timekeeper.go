package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Clocks reads the clocks of others. Readings refer to the monotonic clock of
// Deps.Time.
type Clocks interface {
	// PeerClock reads a node's clock by a round trip. The error wraps
	// clock.ErrDoubtful when the node says that its clock should not count.
	PeerClock(ctx context.Context, node job.NodeID) (clock.Reading, error)
	// MinionClocks returns what is known of the clocks of minions, of n at most.
	MinionClocks(n int) []clock.Reading
}

const (
	// clockLook is how often the wall clock is held against the monotonic one,
	// clockAsk how often the others are asked, askTimeout bounds one question.
	clockLook  = 250 * time.Millisecond
	clockAsk   = 2 * time.Second
	askTimeout = time.Second
	// clockMinions bounds the minions whose clocks are compared.
	clockMinions = 33
)

// timekeeper has the node's clock compared with those of others.
type timekeeper struct {
	e *Engine

	mu sync.Mutex // guards paths
	// paths are the ways to the peers' clocks, by incarnation.
	paths map[string]*clock.Path
	// told is what was logged last.
	told clock.State
}

func newTimekeeper(e *Engine) *timekeeper { return &timekeeper{e: e, paths: map[string]*clock.Path{}} }

// run compares until ctx ends.
func (k *timekeeper) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(clockLook)
	defer ticker.Stop()
	asked := make(chan struct{}, 1)
	asked <- struct{}{}
	var last time.Duration
	for first := true; ; {
		seen := k.e.deps.Time.Look()
		now := k.e.deps.Time.Mono()
		again := first || seen != (clock.Seen{}) || !k.e.deps.Time.State().Judged || now-last >= clockAsk
		if again && k.e.deps.Cluster.Synced() { // else the peers are not known
			select {
			case <-asked:
				first, last = false, now
				wg.Go(func() {
					k.round(ctx)
					asked <- struct{}{}
				})
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round asks all others once, and judges the clock.
func (k *timekeeper) round(ctx context.Context) {
	var others clock.Others
	if from := k.e.deps.Clocks; from != nil {
		live := map[string]bool{}
		var wg sync.WaitGroup
		for _, m := range k.e.deps.Cluster.Members() {
			if m.Node == k.e.cfg.Node {
				continue
			}
			live[m.Incarnation] = true
			wg.Go(func() { k.ask(ctx, from, &m) })
		}
		wg.Wait()
		others.Nodes = k.readings(live)
		others.Minions = from.MinionClocks(clockMinions)
	}
	if ctx.Err() != nil {
		return
	}
	state, seen := k.e.deps.Time.Judge(others)
	k.e.judged.Store(true)
	k.tell(&state, seen)
}

// ask reads one peer's clock. What is known of it already stays when it does not
// answer, and goes when it should not count.
func (k *timekeeper) ask(ctx context.Context, from Clocks, m *etcdkv.Member) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := from.PeerClock(ctx, m.Node)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil:
		p := k.paths[m.Incarnation]
		if p == nil {
			p = &clock.Path{}
			k.paths[m.Incarnation] = p
		}
		p.Take(r, k.e.deps.Time.Mono())
	case errors.Is(err, clock.ErrDoubtful):
		delete(k.paths, m.Incarnation)
	default:
		k.e.log.Debug("clock of a peer not read", zap.String("peer", string(m.Node)), zap.Error(err))
	}
}

// readings returns the best of what is known of live nodes' clocks, and forgets the
// others.
func (k *timekeeper) readings(live map[string]bool) []clock.Reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []clock.Reading
	for id, p := range k.paths {
		if !live[id] {
			delete(k.paths, id)
			continue
		}
		if r, ok := p.Best(k.e.deps.Time.Mono()); ok {
			out = append(out, r)
		}
	}
	return out
}

// tell logs what has changed.
func (k *timekeeper) tell(s *clock.State, seen clock.Seen) {
	log := k.e.log
	if seen.Stepped != 0 {
		k.e.met.clockSteps.Inc()
		log.Warn("the wall clock has stepped", zap.Duration("by", seen.Stepped))
	}
	if seen.Suspended != 0 {
		log.Warn("the machine was suspended", zap.Duration("for", seen.Suspended))
	}
	switch {
	case !s.Fit() && k.told.Why == "":
		log.Error("the node neither plans nor holds shards", zap.String("reason", s.Why))
	case s.Fit() && k.told.Why != "":
		log.Info("the node's clock is right again", zap.Duration("ahead", s.Ahead))
	case s.Ahead.Abs() >= clock.Warn && k.told.Ahead.Abs() < clock.Warn:
		log.Warn("the node's clock is off; it goes by the clock of most", zap.Duration("ahead", s.Ahead),
			zap.Int("nodes", s.Nodes), zap.Int("minions", s.Minions))
	}
	if s.Fit() != k.told.Fit() {
		select {
		case k.e.clockChanged <- struct{}{}:
		default:
		}
		k.e.deps.Cluster.wake()
	}
	k.told = *s
}

// unfit says why the node may neither plan nor hold shards; empty: it may.
func (e *Engine) unfit() string {
	if !e.judged.Load() {
		return "its clock has not been compared with those of others yet"
	}
	s := e.deps.Time.State()
	return s.Why
}

// clockHealth is what the node tells of its clock.
func (e *Engine) clockHealth() *etcdkv.ClockHealth {
	if !e.judged.Load() {
		return nil
	}
	s := e.deps.Time.State()
	return &etcdkv.ClockHealth{
		AheadMillis: s.Ahead.Round(100 * time.Millisecond).Milliseconds(), Nodes: s.Nodes, Minions: s.Minions, Unfit: s.Why,
	}
}

// unfitNode reports whether a node says that it may not hold shards.
func (c *Cluster) unfitNode(n job.NodeID) bool {
	healths, _ := c.healths.Snapshot()
	h := healths[c.keys.Health(n)].Value
	return h.Clock != nil && h.Clock.Unfit != ""
}

// errTimeMoved ends a shard whose times were reckoned by a clock that was wrong.
var errTimeMoved = errors.New("the time was set right")

// fit reports whether the shard may go on by the time that it has. What it has
// reckoned by a time that has been moved since is reckoned anew.
func (s *shard) fit() bool {
	t := s.deps.Time
	if t == nil {
		return true
	}
	ok := t.Fit()
	if t.Epoch() != s.epoch {
		s.err = errTimeMoved
		return false
	}
	return ok
}

// awaitFit waits until the shard may go on. It may be passed on meanwhile.
func (s *shard) awaitFit(ctx context.Context) error {
	for !s.fit() {
		if err := s.readMail(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.knock:
		case <-time.After(unfitPause):
		}
	}
	return nil
}

func registerClock(reg prometheus.Registerer, t *clock.Clock) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_clock_offset_seconds",
		Help: "How far this node's clock is ahead of the time that it goes by, which is that of most clocks.",
	}, func() float64 {
		s := t.State()
		return s.Ahead.Seconds()
	}))
}
