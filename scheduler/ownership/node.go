package ownership

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/mode"
	"github.com/carillon-cron/carillon/scheduler/peers"
	"github.com/carillon-cron/carillon/scheduler/placement"
)

// Config configures a Node. All fields must be set.
type Config struct {
	Node job.NodeID
	Keys etcdkv.Keys
	// Shards is how many hash shards there are.
	Shards int
	// ProbeEvery is how often the node tries its peers' ports.
	ProbeEvery time.Duration
	// RebalanceAfter is how long the members must be unchanged before shards are moved
	// for balance.
	RebalanceAfter time.Duration
	// DrainTimeout bounds the handing over of all shards at the end.
	DrainTimeout time.Duration
}

// Shard is one that the node holds and that runs. Any goroutine may call its functions.
type Shard interface {
	// Yield passes the shard's lock on to another node's lease; nil: to nobody. done gets
	// nil when that is done; the shard ends then.
	Yield(ctx context.Context, to *etcdkv.Member, done func(error))
	// Memory is what the shard's group remembers of its nodes.
	Memory() []mode.Memory
	// Due is the instant that is planned next; timers.Never: none.
	Due() int64
}

// Deps is what a Node works with. All fields must be set.
type Deps struct {
	Session *lock.Session
	Client  *clientv3.Client
	Cluster *cluster.View
	Logger  *zap.Logger
	// Draining says that the node gives its shards up, for good.
	Draining *atomic.Bool
	// Now is the time in nanoseconds since the Unix epoch.
	Now func() int64
	// Unfit tells why the node may not go by its clock, or by what etcd holds; empty: it may.
	Unfit func() string
	// Fence is compared in each transaction that takes a shard.
	Fence func() []clientv3.Cmp
	// Spare runs fn if somebody has time for that.
	Spare func(fn func(context.Context)) bool
	// Looking is called before each look at the shards, Seized before each shard that is
	// taken from its owner.
	Looking, Seized func()
	// Run runs a shard until its lock is lost or passed on. beginning numbers the
	// beginnings with it under one token, and what is asked anew there; the first is 1.
	Run func(ctx context.Context, id job.ShardID, own *lock.Ownership, beginning func() uint32)
	// Running returns a shard that runs, and Shards all of them.
	Running func(job.ShardID) (Shard, bool)
	Shards  func() []job.ShardID
}

// Node is what a node does with its shards under one lease. Run must be called once;
// the other functions may be called by any goroutine.
type Node struct {
	cfg  Config
	d    Deps
	log  *zap.Logger
	self etcdkv.Member
	ctx  context.Context // the lifetime of the lease
	wg   sync.WaitGroup

	// peers are what the node finds out about the others by itself.
	peers *peers.Prober
	// placed repeats the last placement of hash shards.
	placed placed
	// lined are the groups in whose line this node stands, and since when.
	lined map[job.ShardID]time.Time
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

const (
	// maxPassing bounds how many shards are passed on at a time.
	maxPassing = 8
	// lookEvery is how often ownership is looked at when nothing calls for it.
	lookEvery = 200 * time.Millisecond
	// callTimeout bounds a small write, takeTimeout one try to take a shard.
	callTimeout = time.Second
	takeTimeout = 3 * time.Second
)

// New returns a Node that has joined as self. held ends with the lease.
func New(cfg Config, d Deps, self etcdkv.Member, held context.Context) *Node {
	return &Node{
		cfg: cfg, d: d, log: d.Logger, self: self, ctx: held,
		peers: peers.New(peers.Config{Node: cfg.Node, Every: cfg.ProbeEvery}, peers.Deps{Members: d.Cluster, Logger: d.Logger}),
		lined: map[job.ShardID]time.Time{}, busy: map[job.ShardID]bool{}, passing: map[job.ShardID]bool{}, begun: map[job.ShardID]beginnings{},
	}
}

// Lease is what the node's places in line lie on.
func (n *Node) Lease() clientv3.LeaseID { return n.d.Session.Lease() }

// Leaving reports whether the node gives its shards up.
func (n *Node) Leaving() bool { return n.d.Draining.Load() }

// Unreachable returns the nodes whose ports do not answer.
func (n *Node) Unreachable() []job.NodeID { return n.peers.Unreachable() }

// Run holds shards until the lease is lost or ctx ends. When ctx ends the
// shards are handed over; nil is returned then.
func (n *Node) Run(ctx context.Context) error {
	n.wg.Go(func() { n.peers.Run(n.ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return n.drain()
		case <-n.ctx.Done():
			return context.Cause(n.ctx)
		case <-n.d.Cluster.Changed():
		case <-n.peers.Changed():
		case <-timer.C:
		}
		n.look()
		wait := lookEvery
		if n.again != 0 {
			wait = min(wait, max(time.Duration(n.again-n.d.Now()), time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// Wait waits until all that Run has begun has ended. The lease must have ended.
func (n *Node) Wait() { n.wg.Wait() }

// look compares what the node owns with what it ought to.
func (n *Node) look() {
	c := n.d.Cluster
	if !c.Synced() {
		return
	}
	n.d.Looking()
	n.followDrain()
	nodes := n.candidates()
	stable := c.StableFor() >= n.cfg.RebalanceAfter
	for i, node := range n.place(nodes) {
		n.lookAtShard(job.ShardID(i), node, nodes, stable)
	}
	n.lookAtGroups()
}

// place returns who ought to hold the hash shards.
func (n *Node) place(nodes []placement.Candidate) []job.NodeID {
	if n.placed.want == nil || !slices.Equal(nodes, n.placed.nodes) {
		n.placed = placed{nodes: nodes, want: placement.Place(n.cfg.Shards, nodes)}
	}
	return n.placed.want
}

// lookAtShard does what is to be done about a hash shard that node ought to hold.
func (n *Node) lookAtShard(id job.ShardID, node job.NodeID, nodes []placement.Candidate, stable bool) {
	o := n.d.Cluster.OwnerOf(id)
	live := func(n job.NodeID) bool {
		return slices.ContainsFunc(nodes, func(c placement.Candidate) bool { return c.Node == n })
	}
	if d, ok := n.d.Cluster.Override(id); ok {
		switch {
		case d.Value.Failback:
			stable = true
			n.settled(id, d, o.Node == node)
		case d.Value.Node != "" && live(d.Value.Node):
			node, stable = d.Value.Node, true
		case d.Value.Node == "" && live(o.Node):
			node = o.Node
		}
	}
	n.act(id, o, node, stable || !live(o.Node))
}

// standing is how the node stands to a shard that somebody ought to hold.
type standing struct {
	// owner holds it now, want ought to; empty: nobody.
	me, owner, want job.NodeID
	// mine: this lease holds it; busy: the node has begun with that.
	mine, busy bool
	// suspect: the owner is dead, or out of most nodes' reach and of this one's.
	suspect bool
	// move: it may be moved though its owner could go on.
	move bool
}

// verb is what the node does about a shard.
type verb uint8

const (
	leaveIt verb = iota
	claimIt
	seizeIt
	adoptIt // it has been passed to this lease, or lies on it since before
	passIt
)

// verb returns what is to be done.
func (s standing) verb() verb {
	switch {
	case s.owner == "" && s.want == s.me:
		return claimIt
	case s.want == s.me && !s.mine && s.suspect:
		return seizeIt
	case s.mine && !s.busy:
		return adoptIt
	case s.mine && s.want != s.me && s.want != "" && s.move:
		return passIt
	}
	return leaveIt
}

// act takes, goes on with, or passes on a shard that want ought to hold. move
// says that it may be moved though its owner could go on.
func (n *Node) act(id job.ShardID, o cluster.Owner, want job.NodeID, move bool) {
	s := standing{
		me: n.cfg.Node, owner: o.Node, want: want, move: move, busy: n.isBusy(id), suspect: want == n.cfg.Node && n.mayBeSeizedFrom(o.Node),
		mine: o.Node == n.cfg.Node && o.Lease == int64(n.d.Session.Lease()),
	}
	switch s.verb() {
	case claimIt:
		n.start(id, func(ctx context.Context) (*lock.Ownership, error) { return n.claim(ctx, id) })
	case seizeIt:
		n.start(id, func(ctx context.Context) (*lock.Ownership, error) { return n.seize(ctx, id, o) })
	case adoptIt:
		n.start(id, func(ctx context.Context) (*lock.Ownership, error) {
			return n.d.Session.Adopt(ctx, n.cfg.Keys.Owner(id), o.Rev)
		})
	case passIt:
		if to, ok := n.d.Cluster.Member(want); ok {
			n.pass(id, &to)
		}
	case leaveIt:
	}
}

// candidates are the nodes that may hold shards, sorted by name.
func (n *Node) candidates() []placement.Candidate {
	var out []placement.Candidate
	for _, m := range n.d.Cluster.Members() {
		if n.may(&m) {
			out = append(out, placement.Candidate{Node: m.Node, Capacity: m.Capacity})
		}
	}
	return out
}

// may reports whether a member may hold shards at all.
func (n *Node) may(m *etcdkv.Member) bool {
	if m.Node == n.cfg.Node {
		return !n.d.Draining.Load() && !n.d.Cluster.Drained(m.Node) && n.d.Unfit() == "" && !n.d.Cluster.Lost(m.Node)
	}
	return m.Phase == etcdkv.PhaseReady && !n.d.Cluster.Drained(m.Node) && !n.peers.Suspect(m.Node) && !n.d.Cluster.Unfit(m.Node) && !n.d.Cluster.Lost(m.Node)
}

// mayBeSeizedFrom reports whether an owner is dead, or lost.
func (n *Node) mayBeSeizedFrom(owner job.NodeID) bool {
	return n.peers.Suspect(owner) || n.d.Cluster.Lost(owner) && n.peers.OutOfReach(owner)
}
