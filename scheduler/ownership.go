package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/peers"
	"github.com/carillon-cron/carillon/scheduler/placement"
)

// ownership is what a node does with its shards under one lease.
type ownership struct {
	e    *Engine
	sess *lock.Session
	self etcdkv.Member
	ctx  context.Context // the lifetime of the lease
	wg   sync.WaitGroup

	// peers are what the node finds out about the others by itself.
	peers *peers.Prober
	// placed repeats the last placement of hash shards.
	placed placed
	// lined are the groups in whose line this node stands, and since when.
	lined map[job.ShardID]time.Time
	// capsSeen are the caps as they were at the last look.
	capsSeen *cluster.Caps
	// again is when the verdict on a group may change by itself; 0: never.
	again int64

	mu sync.Mutex // guards what follows
	// busy marks shards that are being claimed, run, or passed on.
	busy map[job.ShardID]bool
	// passing are the shards that are being passed on.
	passing map[job.ShardID]bool
	// begun tells how often a shard was begun with, and something asked there anew,
	// under its last token.
	begun map[job.ShardID]beginnings
}

type placed struct {
	nodes []placement.Candidate
	want  []job.NodeID
}

// maxPassing bounds how many shards are passed on at a time.
const maxPassing = 8

// tendEvery is how often ownership is looked at when nothing calls for it.
const tendEvery = 200 * time.Millisecond

func newOwnership(e *Engine, sess *lock.Session, self etcdkv.Member, held context.Context) *ownership {
	return &ownership{
		e: e, sess: sess, self: self, ctx: held,
		peers: peers.New(peers.Config{Node: e.cfg.Node, Every: e.cfg.ProbeEvery}, peers.Deps{Members: e.deps.Cluster, Logger: e.log}),
		lined: map[job.ShardID]time.Time{}, busy: map[job.ShardID]bool{}, passing: map[job.ShardID]bool{}, begun: map[job.ShardID]beginnings{},
	}
}

func (t *ownership) lease() clientv3.LeaseID { return t.sess.Lease() }

func (t *ownership) leaving() bool { return t.e.draining.Load() }

// run holds shards until the lease is lost or ctx ends. When ctx ends the
// shards are handed over; nil is returned then.
func (t *ownership) run(ctx context.Context) error {
	t.wg.Go(func() { t.peers.Run(t.ctx) })
	t.wg.Go(func() { t.keepHealth(t.ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return t.drain()
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		case <-t.e.deps.Cluster.Changed():
		case <-t.peers.Changed():
		case <-timer.C:
		}
		t.tend()
		wait := tendEvery
		if t.again != 0 {
			wait = min(wait, max(time.Duration(t.again-t.e.deps.now()), time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// tend compares what the node owns with what it ought to.
func (t *ownership) tend() {
	c := t.e.deps.Cluster
	if !c.Synced() {
		return
	}
	t.e.tended.Store(time.Now().UnixNano())
	t.followDrain()
	t.e.tidy()
	nodes := t.candidates()
	stable := c.StableFor() >= t.e.cfg.RebalanceAfter
	for i, node := range t.place(nodes) {
		t.tendShard(job.ShardID(i), node, nodes, stable)
	}
	t.tendGroups()
	t.tendWishes()
	t.tendCaps()
}

// place returns who ought to hold the hash shards.
func (t *ownership) place(nodes []placement.Candidate) []job.NodeID {
	if t.placed.want == nil || !slices.Equal(nodes, t.placed.nodes) {
		t.placed = placed{nodes: nodes, want: placement.Place(t.e.cfg.Meta.Shards, nodes)}
	}
	return t.placed.want
}

// tendShard does what is to be done about a hash shard that node ought to hold.
func (t *ownership) tendShard(id job.ShardID, node job.NodeID, nodes []placement.Candidate, stable bool) {
	o := t.e.deps.Cluster.OwnerOf(id)
	live := func(n job.NodeID) bool {
		return slices.ContainsFunc(nodes, func(c placement.Candidate) bool { return c.Node == n })
	}
	if d, ok := t.e.deps.Cluster.Override(id); ok {
		switch {
		case d.Value.Failback:
			stable = true
			t.settled(id, d, o.Node == node)
		case d.Value.Node != "" && live(d.Value.Node):
			node, stable = d.Value.Node, true
		case d.Value.Node == "" && live(o.Node):
			node = o.Node
		}
	}
	t.act(id, o, node, stable || !live(o.Node))
}

// act takes, goes on with, or passes on a shard that want ought to hold. move
// says that it may be moved though its owner could go on.
func (t *ownership) act(id job.ShardID, o cluster.Owner, want job.NodeID, move bool) {
	me := t.e.cfg.Node
	mine := o.Node == me && o.Lease == int64(t.sess.Lease())
	switch {
	case o.Node == "" && want == me:
		t.start(id, func(ctx context.Context) (*lock.Ownership, error) { return t.claim(ctx, id) })
	case want == me && !mine && t.peers.Suspect(o.Node):
		t.start(id, func(ctx context.Context) (*lock.Ownership, error) { return t.seize(ctx, id, o) })
	case mine && !t.isBusy(id):
		t.start(id, func(ctx context.Context) (*lock.Ownership, error) {
			return t.sess.Adopt(ctx, t.e.cfg.Keys.Owner(id), o.Rev)
		})
	case mine && want != me && want != "" && move:
		if to, ok := t.e.deps.Cluster.Member(want); ok {
			t.pass(id, &to)
		}
	}
}

// candidates are the nodes that may hold shards, sorted by name.
func (t *ownership) candidates() []placement.Candidate {
	var out []placement.Candidate
	for _, m := range t.e.deps.Cluster.Members() {
		if t.may(&m) {
			out = append(out, placement.Candidate{Node: m.Node, Capacity: m.Capacity})
		}
	}
	return out
}

// may reports whether a member may hold shards at all.
func (t *ownership) may(m *etcdkv.Member) bool {
	if m.Node == t.e.cfg.Node {
		return !t.e.draining.Load() && !t.e.deps.Cluster.Drained(m.Node) && t.e.keeper.Unfit() == ""
	}
	return m.Phase == etcdkv.PhaseReady && !t.e.deps.Cluster.Drained(m.Node) && !t.peers.Suspect(m.Node) && !t.e.deps.Cluster.Unfit(m.Node)
}

func (t *ownership) isBusy(id job.ShardID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy[id]
}

// start takes a shard and runs it, unless that is under way.
func (t *ownership) start(id job.ShardID, take func(context.Context) (*lock.Ownership, error)) {
	t.mu.Lock()
	if t.busy[id] || t.ctx.Err() != nil {
		t.mu.Unlock()
		return
	}
	t.busy[id] = true
	t.mu.Unlock()
	t.wg.Go(func() {
		held := false
		defer func() {
			t.mu.Lock()
			delete(t.busy, id)
			delete(t.passing, id)
			t.mu.Unlock()
			if held {
				t.e.deps.Cluster.Wake() // it may be ours again already
			}
		}()
		bounded, cancel := context.WithTimeout(t.ctx, takeTimeout)
		own, err := take(bounded)
		cancel()
		if err != nil {
			// Tried again with the next look: at once would be a busy loop for as
			// long as the view of the owners is behind.
			if !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrFenced) && t.ctx.Err() == nil {
				t.e.log.Warn("shard not taken", zap.Stringer("shard", id), zap.Error(err))
			}
			return
		}
		held = true
		t.hold(id, own)
	})
}

// takeTimeout bounds one try to take a shard.
const takeTimeout = 3 * time.Second

// claim takes a shard that nobody owns.
func (t *ownership) claim(ctx context.Context, id job.ShardID) (*lock.Ownership, error) {
	value, err := ownerValue(t.e.cfg.Node, "", t.e.deps.now(), never)
	if err != nil {
		return nil, err
	}
	return t.sess.Claim(ctx, lock.Grant{Key: t.e.cfg.Keys.Owner(id), Value: value})
}

// hold runs an owned shard until it is lost or passed on.
func (t *ownership) hold(id job.ShardID, own *lock.Ownership) {
	e := t.e
	s := newShard(id, own, &e.cfg, &e.deps, e.met)
	if id.IsGroup() {
		s.turns = &turnPolicy{id: id, groups: e.deps.Cluster, node: t}
	}
	s.nextTerm = func() uint32 { return t.begins(id, own.Token().Revision) }
	s.term = s.nextTerm()
	s.loaded = func(n int) {
		e.loaded.Add(int64(n))
		e.loadedAt.Store(time.Now().UnixNano())
	}
	e.mu.Lock()
	e.shards[id] = s
	e.mu.Unlock()
	e.met.owned.Inc()
	e.met.takeovers.WithLabelValues("gained").Inc()

	err := s.run(t.ctx)

	e.mu.Lock()
	delete(e.shards, id)
	e.mu.Unlock()
	s.leave()
	e.met.owned.Dec()
	how := "lost"
	switch {
	case errors.Is(err, errYielded):
		how = "passed-on"
	case errors.Is(err, errTimeMoved):
		how = "reckoned-anew"
	}
	e.met.takeovers.WithLabelValues(how).Inc()
	e.log.Debug("shard left", zap.Stringer("shard", id), zap.String("how", how), zap.Error(err))
}

// beginnings are those with a shard, and with what is asked anew there, under the
// token of a revision.
type beginnings struct {
	token int64
	n     uint32
}

// begins notes that a shard is begun with under a token, or that something is asked
// there anew, and returns how often that was, with this time.
func (t *ownership) begins(id job.ShardID, token int64) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.begun[id]
	if b.token != token {
		b = beginnings{token: token}
	}
	b.n++
	t.begun[id] = b
	return b.n
}

// pass hands a shard over to another node, or gives it back when to is nil.
func (t *ownership) pass(id job.ShardID, to *etcdkv.Member) {
	t.e.mu.RLock()
	s := t.e.shards[id]
	t.e.mu.RUnlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == nil || t.passing[id] || len(t.passing) >= maxPassing {
		return
	}
	t.passing[id] = true
	s.yield(t.ctx, to, func(err error) {
		if err != nil {
			t.mu.Lock()
			delete(t.passing, id)
			t.mu.Unlock()
			t.e.log.Warn("shard not passed on", zap.Stringer("shard", id), zap.Error(err))
		}
	})
}

// drain hands all shards over, or gives them back when no other node is ready.
func (t *ownership) drain() error {
	e := t.e
	e.draining.Store(true)
	ctx, cancel := context.WithTimeout(t.ctx, e.cfg.DrainTimeout)
	defer cancel()
	t.announce(ctx, etcdkv.PhaseDraining)
	t.leave(ctx)
	t.leaveLines(ctx)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		e.mu.RLock()
		ids := make([]job.ShardID, 0, len(e.shards))
		for id := range e.shards {
			ids = append(ids, id)
		}
		e.mu.RUnlock()
		if len(ids) == 0 {
			e.log.Info("all shards handed over")
			return nil
		}
		want := t.place(t.candidates())
		for _, id := range ids {
			to, ok := e.deps.Cluster.Member(t.heir(id, want))
			if ok {
				t.pass(id, &to)
			} else {
				t.pass(id, nil)
			}
		}
		select {
		case <-ctx.Done():
			e.log.Warn("drain timed out; the rest of the shards go with the lease", zap.Int("shards", len(ids)))
			return nil
		case <-ticker.C:
		}
	}
}

// heir returns who is to get a shard from this node, which leaves.
func (t *ownership) heir(id job.ShardID, want []job.NodeID) job.NodeID {
	if id.IsGroup() {
		g := t.e.deps.Cluster.Group(id)
		if g == nil {
			return ""
		}
		s := t.situation(id, g)
		return g.Mode.Holder(&s).Holder
	}
	return want[id]
}
