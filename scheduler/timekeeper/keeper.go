package timekeeper

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
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

// Members is who is there.
type Members interface {
	// Synced reports whether the members are known.
	Synced() bool
	// Members returns the live nodes.
	Members() []etcdkv.Member
}

// Deps is what a Keeper works with. Only Clocks may be nil: there is nobody to compare
// with then.
type Deps struct {
	// Node is this node, whose clock is compared.
	Node    job.NodeID
	Time    *clock.Clock
	Clocks  Clocks
	Members Members
	Logger  *zap.Logger
	// Steps counts the steps of the wall clock that were noticed.
	Steps prometheus.Counter
	// Changed is called when the node may go by its clock from now on, or may no more.
	// It must not block.
	Changed func()
}

const (
	// lookEvery is how often the wall clock is held against the monotonic one,
	// askEvery how often the others are asked, askTimeout bounds one question.
	lookEvery  = 250 * time.Millisecond
	askEvery   = 2 * time.Second
	askTimeout = time.Second
	// minions bounds the minions whose clocks are compared.
	minions = 33
)

// Keeper has a node's clock compared. Unfit, Judged and Health may be called by many
// goroutines, Run by one.
type Keeper struct {
	deps Deps
	// judged: the clock has been judged once.
	judged atomic.Bool

	mu sync.Mutex // guards paths and asked
	// paths are the ways to the peers' clocks, by incarnation.
	paths map[string]*clock.Path
	// asked are the peers of the last round, by incarnation.
	asked map[string]bool
	// told is what was logged last.
	told clock.State
}

// New returns a Keeper; Run has it compare.
func New(deps Deps) *Keeper { return &Keeper{deps: deps, paths: map[string]*clock.Path{}} }

// Judged reports whether the clock has been compared once.
func (k *Keeper) Judged() bool { return k.judged.Load() }

// Unfit says why the node may neither plan nor hold shards; empty: it may.
func (k *Keeper) Unfit() string {
	if !k.Judged() {
		return "its clock has not been compared with those of others yet"
	}
	s := k.deps.Time.State()
	return s.Why
}

// Health is what the node tells of its clock. Nil: it has not been compared yet.
func (k *Keeper) Health() *etcdkv.ClockHealth {
	if !k.Judged() {
		return nil
	}
	s := k.deps.Time.State()
	if s.Apart.Abs() < clock.Warn {
		s.Apart = 0
	}
	return &etcdkv.ClockHealth{
		AheadMillis: s.Ahead.Round(100 * time.Millisecond).Milliseconds(), Nodes: s.Nodes, Minions: s.Minions, Unfit: s.Why,
		Paired: s.Paired, ApartMillis: s.Apart.Round(100 * time.Millisecond).Milliseconds(),
	}
}

// Run compares until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	asked := make(chan struct{}, 1)
	asked <- struct{}{}
	var last time.Duration
	for first := true; ; {
		seen := k.deps.Time.Look()
		now := k.deps.Time.Mono()
		again := first || seen != (clock.Seen{}) || !k.deps.Time.State().Judged || now-last >= askEvery || k.anyNew()
		if again && k.deps.Members.Synced() { // else the peers are not known
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

// anyNew reports whether a peer is there that has not been asked yet. The first ones
// are what a clock is compared with at all: it would go by itself for so long.
func (k *Keeper) anyNew() bool {
	if k.deps.Clocks == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.deps.Members.Members(), func(m etcdkv.Member) bool {
		return m.Node != k.deps.Node && !k.asked[m.Incarnation]
	})
}

// round asks all others once, and judges the clock.
func (k *Keeper) round(ctx context.Context) {
	var others clock.Others
	if from := k.deps.Clocks; from != nil {
		live := map[string]bool{}
		var wg sync.WaitGroup
		for _, m := range k.deps.Members.Members() {
			if m.Node == k.deps.Node {
				continue
			}
			live[m.Incarnation] = true
			wg.Go(func() { k.ask(ctx, from, &m) })
		}
		wg.Wait()
		k.mu.Lock()
		k.asked = live
		k.mu.Unlock()
		others.Nodes = k.readings(live)
		others.Minions = from.MinionClocks(minions)
	}
	if ctx.Err() != nil {
		return
	}
	state, seen := k.deps.Time.Judge(others)
	k.judged.Store(true)
	k.tell(&state, seen)
}

// ask reads one peer's clock. What is known of it already stays when it does not
// answer, and goes when it should not count.
func (k *Keeper) ask(ctx context.Context, from Clocks, m *etcdkv.Member) {
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
		p.Take(r, k.deps.Time.Mono())
	case errors.Is(err, clock.ErrDoubtful):
		delete(k.paths, m.Incarnation)
	default:
		k.deps.Logger.Debug("clock of a peer not read", zap.String("peer", string(m.Node)), zap.Error(err))
	}
}

// readings returns the best of what is known of live nodes' clocks, and forgets the
// others.
func (k *Keeper) readings(live map[string]bool) []clock.Reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []clock.Reading
	for id, p := range k.paths {
		if !live[id] {
			delete(k.paths, id)
			continue
		}
		if r, ok := p.Best(k.deps.Time.Mono()); ok {
			out = append(out, r)
		}
	}
	return out
}

// tell logs what has changed.
func (k *Keeper) tell(s *clock.State, seen clock.Seen) {
	log := k.deps.Logger
	if seen.Stepped != 0 {
		k.deps.Steps.Inc()
		log.Warn("the wall clock has stepped", zap.Duration("by", seen.Stepped))
	}
	if seen.Suspended != 0 {
		log.Warn("the machine was suspended", zap.Duration("for", seen.Suspended))
	}
	if s.Apart.Abs() >= clock.Warn && k.told.Apart.Abs() < clock.Warn {
		log.Warn("the clocks of this node and of its only minion differ, and nobody can tell which is right", zap.Duration("minionAhead", s.Apart))
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
		k.deps.Changed()
	}
	k.told = *s
}

// Register has a registry tell how far the node's clock is ahead.
func Register(reg prometheus.Registerer, t *clock.Clock) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_clock_offset_seconds",
		Help: "How far this node's clock is ahead of the time that it goes by, which is that of most clocks.",
	}, func() float64 {
		s := t.State()
		return s.Ahead.Seconds()
	}))
}
