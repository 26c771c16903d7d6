package scheduler

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// peers is what a node finds out about the others by knocking at their ports. A
// port that refuses belongs to a process that is dead, on a host that is alive:
// its shards may be seized, as everything that an owner does is fenced. A port
// that does not answer says less: it counts against the node's health only.
type peers struct {
	e       *Engine
	changed chan struct{}

	mu sync.Mutex // guards state
	// state is by node and its port.
	state map[string]*peer
}

type peer struct {
	node     job.NodeID
	addr     string
	refused  int
	silent   int
	answered bool
}

const (
	// refusals in a row make a suspect.
	refusals = 2
	// refusedAgain is the pause before a port that refused is tried again.
	refusedAgain = 30 * time.Millisecond
	// silences in a row make a node unreachable.
	silences     = 3
	probeTimeout = time.Second
)

func newPeers(e *Engine) *peers {
	return &peers{e: e, changed: make(chan struct{}, 1), state: map[string]*peer{}}
}

// suspect reports whether a live member's process is known to be dead.
func (p *peers) suspect(n job.NodeID) bool {
	m, ok := p.e.deps.Cluster.member(n)
	if !ok || n == p.e.cfg.Node {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state[m.Incarnation]
	return s != nil && s.answered && s.refused >= refusals
}

// unreachable lists the peers whose port does not answer, sorted.
func (p *peers) unreachable() []job.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []job.NodeID
	for _, s := range p.state {
		if s.silent >= silences || s.refused >= refusals {
			out = append(out, s.node)
		}
	}
	slices.Sort(out)
	return out
}

// run probes each peer until ctx ends.
func (p *peers) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	probing := map[string]context.CancelFunc{} // by incarnation
	ticker := time.NewTicker(p.e.cfg.ProbeEvery)
	defer ticker.Stop()
	for {
		live := map[string]bool{}
		for _, m := range p.e.deps.Cluster.Members() {
			if m.Node == p.e.cfg.Node || m.PeerAddr == "" {
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
func (p *peers) probe(ctx context.Context, s *peer) {
	dialer := net.Dialer{Timeout: probeTimeout}
	for {
		conn, err := dialer.DialContext(ctx, "tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			return
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
func (p *peers) note(s *peer, err error) time.Duration {
	p.mu.Lock()
	was := s.refused >= refusals
	switch {
	case err == nil:
		s.answered, s.refused, s.silent = true, 0, 0
	case errors.Is(err, syscall.ECONNREFUSED):
		s.refused++
	default:
		s.silent++
	}
	is, refused := s.refused >= refusals && s.answered, s.refused
	p.mu.Unlock()
	if is != was {
		if is {
			p.e.log.Warn("peer is dead: its port refuses", zap.String("peer", string(s.node)), zap.String("addr", s.addr))
		}
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	if refused == 1 {
		return refusedAgain
	}
	return p.e.cfg.ProbeEvery
}

// healthEvery is how often a node looks at its own health.
const healthEvery = 500 * time.Millisecond

// trouble says why the node does not do its work; none: it does.
func (e *Engine) trouble() []string {
	var out []string
	if !e.deps.Cluster.Synced() {
		out = append(out, "its view of the cluster is not read")
	}
	if last := e.tended.Load(); last != 0 && time.Since(time.Unix(0, last)) > e.cfg.StalledAfter {
		out = append(out, "its loop has stalled")
	}
	if why := e.unfit(); why != "" {
		out = append(out, why)
	}
	return out
}

// keepHealth publishes the node's own health, and what it finds out about its
// peers', whenever that changes.
func (t *tenure) keepHealth(ctx context.Context) {
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	var last *etcdkv.Health
	for {
		h := etcdkv.Health{Schema: etcdkv.Schema, Node: t.e.cfg.Node, Trouble: t.e.trouble(), Unreachable: t.peers.unreachable(), Clock: t.e.clockHealth()}
		if last == nil || !slices.Equal(h.Trouble, last.Trouble) || !slices.Equal(h.Unreachable, last.Unreachable) || !reflect.DeepEqual(h.Clock, last.Clock) {
			h.Since = time.Unix(0, t.e.deps.now()).UTC()
			if t.publishHealth(ctx, &h) {
				last = &h
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.e.clockChanged:
		case <-ticker.C:
		}
	}
}

func (t *tenure) publishHealth(ctx context.Context, h *etcdkv.Health) bool {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	value, err := etcdkv.Encode(h)
	if err == nil {
		_, err = t.e.deps.Client.Put(ctx, t.e.cfg.Keys.Health(h.Node), value, clientv3.WithLease(t.sess.Lease()))
	}
	if err != nil {
		t.e.log.Debug("health not published", zap.Error(err))
	}
	return err == nil
}
