package scheduler

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Cluster is a node's view of the cluster: who is alive, and who owns what. Its
// methods may be called by many goroutines; before Synced they know nobody.
type Cluster struct {
	client  *clientv3.Client
	keys    etcdkv.Keys
	shards  int
	members *etcdkv.Map[etcdkv.Member]
	owners  *etcdkv.Map[etcdkv.Owner]

	// byShard is owners by shard, made anew at every change.
	byShard atomic.Pointer[[]ownerView]
	// since is when the set of ready members changed last, in Unix nanoseconds.
	since   atomic.Int64
	ready   atomic.Pointer[[]job.NodeID]
	changed chan struct{}
}

type ownerView struct {
	node  job.NodeID
	lease int64
	rev   int64
}

// NewCluster returns a Cluster; Run keeps it current.
func NewCluster(client *clientv3.Client, keys etcdkv.Keys, meta etcdkv.Meta) *Cluster {
	c := &Cluster{client: client, keys: keys, shards: meta.Shards, changed: make(chan struct{}, 1)}
	c.byShard.Store(&[]ownerView{})
	c.ready.Store(&[]job.NodeID{})
	c.members = etcdkv.NewMap(etcdkv.Decode[etcdkv.Member], c.onMembers)
	c.owners = etcdkv.NewMap(etcdkv.Decode[etcdkv.Owner], c.onOwners)
	return c
}

// Run keeps the view current until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.members.Run(ctx, c.client, c.keys.Members()) })
	g.Go(func() error { return c.owners.Run(ctx, c.client, c.keys.Owners()) })
	return g.Wait()
}

// Synced reports whether members and owners have been read.
func (c *Cluster) Synced() bool {
	for _, ch := range []<-chan struct{}{c.members.Synced(), c.owners.Synced()} {
		select {
		case <-ch:
		default:
			return false
		}
	}
	return true
}

func (c *Cluster) onMembers() {
	var ready []job.NodeID
	for _, m := range c.Members() {
		if m.Phase == etcdkv.PhaseReady {
			ready = append(ready, m.Node)
		}
	}
	if !slices.Equal(ready, *c.ready.Load()) {
		c.ready.Store(&ready)
		c.since.Store(time.Now().UnixNano())
	}
	c.wake()
}

func (c *Cluster) onOwners() {
	entries, _ := c.owners.Snapshot()
	view := make([]ownerView, c.shards)
	for key, e := range entries {
		if s, err := c.keys.ParseOwner(key); err == nil && int(s) < len(view) {
			view[s] = ownerView{node: e.Value.Node, lease: e.Lease, rev: e.ModRevision}
		}
	}
	c.byShard.Store(&view)
	c.wake()
}

func (c *Cluster) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// stableFor returns how long the set of ready members has been unchanged.
func (c *Cluster) stableFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - c.since.Load())
}

// Members returns the live nodes, sorted by name.
func (c *Cluster) Members() []etcdkv.Member {
	entries, _ := c.members.Snapshot()
	out := make([]etcdkv.Member, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Value)
	}
	slices.SortFunc(out, func(a, b etcdkv.Member) int { return cmpNode(a.Node, b.Node) })
	return out
}

// member returns a live node.
func (c *Cluster) member(n job.NodeID) (etcdkv.Member, bool) {
	entries, _ := c.members.Snapshot()
	e, ok := entries[c.keys.Member(n)]
	return e.Value, ok
}

// owner returns who holds a shard, as last seen.
func (c *Cluster) owner(s job.ShardID) ownerView {
	view := *c.byShard.Load()
	if int(s) >= len(view) {
		return ownerView{}
	}
	return view[s]
}

// Owner returns the node that owns a shard.
func (c *Cluster) Owner(s job.ShardID) (job.NodeID, bool) {
	o := c.owner(s)
	return o.node, o.node != ""
}

// PeerAddr returns the address at which a node serves minions and peers.
func (c *Cluster) PeerAddr(n job.NodeID) (string, bool) {
	m, ok := c.member(n)
	return m.PeerAddr, ok && m.PeerAddr != ""
}

// Servers returns the addresses at which minions find nodes.
func (c *Cluster) Servers() []string {
	var out []string
	for _, m := range c.Members() {
		if m.Phase == etcdkv.PhaseReady && m.PeerAddr != "" {
			out = append(out, m.PeerAddr)
		}
	}
	return out
}

// Unowned returns how many shards have no owner.
func (c *Cluster) Unowned() int {
	n := c.shards
	for _, o := range *c.byShard.Load() {
		if o.node != "" {
			n--
		}
	}
	return n
}
