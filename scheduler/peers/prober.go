package peers

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Config configures a Prober. Both fields must be set.
type Config struct {
	// Node is this node, which is not probed.
	Node job.NodeID
	// Every is how often a port is tried.
	Every time.Duration
}

// Members is who is there.
type Members interface {
	// Members returns the live nodes.
	Members() []etcdkv.Member
	// Member returns a live node.
	Member(n job.NodeID) (etcdkv.Member, bool)
}

// Deps is what a Prober works with. Both fields must be set.
type Deps struct {
	Members Members
	Logger  *zap.Logger
}

// Prober knocks at the peers' ports. Its methods may be called by many goroutines.
type Prober struct {
	cfg     Config
	deps    Deps
	changed chan struct{}

	mu sync.Mutex // guards state
	// state is by incarnation: a node and its port.
	state map[string]*peer
}

type peer struct {
	node     job.NodeID
	addr     string
	refused  int
	silent   int
	since    time.Time // of the first silence in a row
	answered bool
}

// isOut reports whether it is out of reach.
func (s *peer) isOut() bool { return s.silent >= silences && time.Since(s.since) >= silentFor }

// isUnreachable reports whether it is out of reach, or its port refuses.
func (s *peer) isUnreachable() bool { return s.isOut() || s.refused >= refusals }

// isDead reports whether its port refuses that has answered before.
func (s *peer) isDead() bool { return s.answered && s.refused >= refusals }

const (
	// refusals in a row make a suspect.
	refusals = 2
	// soonAgain is the pause before a port is tried again that refused, or did not answer.
	soonAgain = 30 * time.Millisecond
	// silences in a row, for silentFor at least, make a node unreachable: some come at
	// once, as where there is no way to a host for a moment.
	silences     = 3
	silentFor    = time.Second
	probeTimeout = 500 * time.Millisecond
)

// New returns a Prober; Run has it probe.
func New(cfg Config, deps Deps) *Prober {
	return &Prober{cfg: cfg, deps: deps, changed: make(chan struct{}, 1), state: map[string]*peer{}}
}

// Changed has something to receive when a node has become a suspect or unreachable, or is
// one no more.
func (p *Prober) Changed() <-chan struct{} { return p.changed }

// Suspect reports whether a live member's process is known to be dead.
func (p *Prober) Suspect(n job.NodeID) bool {
	return p.is(n, (*peer).isDead)
}

// Unreachable lists the peers whose port does not answer, sorted.
func (p *Prober) Unreachable() []job.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []job.NodeID
	for _, s := range p.state {
		if s.isUnreachable() {
			out = append(out, s.node)
		}
	}
	slices.Sort(out)
	return out
}

// OutOfReach reports whether a live member is one of Unreachable.
func (p *Prober) OutOfReach(n job.NodeID) bool {
	return p.is(n, (*peer).isUnreachable)
}

// is reports whether a live member, another than this node, is known as one of a kind.
func (p *Prober) is(n job.NodeID, kind func(*peer) bool) bool {
	m, ok := p.deps.Members.Member(n)
	if !ok || n == p.cfg.Node {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state[m.Incarnation]
	return s != nil && kind(s)
}

// Run probes each peer until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	probing := map[string]context.CancelFunc{} // by incarnation
	ticker := time.NewTicker(p.cfg.Every)
	defer ticker.Stop()
	for {
		live := map[string]bool{}
		for _, m := range p.deps.Members.Members() {
			if m.Node == p.cfg.Node || m.PeerAddr == "" {
				continue
			}
			live[m.Incarnation] = true
			if probing[m.Incarnation] != nil {
				continue
			}
			one, cancel := context.WithCancel(ctx)
			probing[m.Incarnation] = cancel
			s := &peer{node: m.Node, addr: m.PeerAddr}
			p.mu.Lock()
			p.state[m.Incarnation] = s
			p.mu.Unlock()
			wg.Go(func() { p.probe(one, s) })
		}
		for id, cancel := range probing {
			if !live[id] {
				cancel()
				delete(probing, id)
				p.mu.Lock()
				delete(p.state, id)
				p.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range probing {
				cancel()
			}
			return
		case <-ticker.C:
		}
	}
}

// probe knocks at one peer's port until ctx ends.
func (p *Prober) probe(ctx context.Context, s *peer) {
	dialer := net.Dialer{Timeout: probeTimeout}
	for {
		begin := time.Now()
		conn, err := dialer.DialContext(ctx, "tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && time.Since(begin) > 2*probeTimeout {
			continue // this node did not get to it in time, which says nothing of the peer
		}
		wait := p.note(s, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// note takes a probe's outcome and returns when to try again.
func (p *Prober) note(s *peer, err error) time.Duration {
	p.mu.Lock()
	was, wasSilent := s.refused >= refusals, s.isOut()
	switch {
	case err == nil:
		s.answered, s.refused, s.silent = true, 0, 0
	case errors.Is(err, syscall.ECONNREFUSED):
		s.refused++
	default:
		if s.silent++; s.silent == 1 {
			s.since = time.Now()
		}
	}
	is, silent := s.isDead(), s.isOut()
	again := s.refused == 1 || s.silent > 0 && !silent
	p.mu.Unlock()
	if is != was || silent != wasSilent {
		switch {
		case is && !was:
			p.deps.Logger.Warn("peer is dead: its port refuses", zap.String("peer", string(s.node)), zap.String("addr", s.addr))
		case silent && !wasSilent:
			p.deps.Logger.Warn("peer is out of reach: its port does not answer", zap.String("peer", string(s.node)), zap.String("addr", s.addr), zap.Error(err))
		}
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	if again {
		return soonAgain
	}
	return p.cfg.Every
}
