package scheduler

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Cluster is a node's view of the cluster: who is alive, who owns what, and
// what operators and groups say about it. Its methods may be called by many
// goroutines; before Synced they know nobody.
type Cluster struct {
	client    *clientv3.Client
	keys      etcdkv.Keys
	shards    int
	members   *etcdkv.Map[etcdkv.Member]
	owners    *etcdkv.Map[etcdkv.Owner]
	groups    *etcdkv.Map[etcdkv.StoredGroup]
	drains    *etcdkv.Map[etcdkv.Drain]
	overrides *etcdkv.Map[etcdkv.Override]
	lines     *etcdkv.Map[etcdkv.Place]
	healths   *etcdkv.Map[etcdkv.Health]
	paused    *etcdkv.Map[etcdkv.StoredPause]
	edges     *etcdkv.Map[etcdkv.Edge]
	backfills *etcdkv.Map[etcdkv.Backfill]
	calendars *etcdkv.Map[usedCalendar]
	asides    *etcdkv.Map[etcdkv.Aside]
	wished    *etcdkv.Map[etcdkv.Wish]
	scripts   *etcdkv.Map[etcdkv.StoredScript]
	permits   *etcdkv.Map[etcdkv.Permits]
	// shelf is made anew at every change of scripts.
	shelf atomic.Pointer[shelf]

	// pauses and waiters are made anew at every change of paused and edges.
	pauses atomic.Pointer[pauses]
	// pausesRev and groupsRev are as of which revisions pauses and grouped are.
	pausesRev, groupsRev atomic.Int64
	waiters              atomic.Pointer[map[job.Key][]etcdkv.Edge]
	// wishes are wished by shard.
	wishes atomic.Pointer[wishesOf]
	// caps are how many hold permits.
	caps atomic.Pointer[capCounts]

	// owned is owners by shard, grouped groups by shard; both are made anew at
	// every change.
	owned   atomic.Pointer[ownerViews]
	grouped atomic.Pointer[map[job.ShardID]*group]
	// since is when the set of ready members changed last, in Unix nanoseconds.
	since   atomic.Int64
	ready   atomic.Pointer[[]job.NodeID]
	healthy atomic.Pointer[map[job.NodeID]int64]
	changed chan struct{}
}

// ownerViews are the owners of hash shards by number, and of groups' shards.
type ownerViews struct {
	hash   []ownerView
	groups map[job.ShardID]ownerView
}

type ownerView struct {
	node  job.NodeID
	lease int64
	rev   int64
	since int64
	due   int64
}

// group is a group as a node sees it. It is never changed.
type group struct {
	key  job.Key
	spec job.GroupSpec
	mode mode.Mode
	rev  int64
}

// NewCluster returns a Cluster; Run keeps it current.
func NewCluster(client *clientv3.Client, keys etcdkv.Keys, meta etcdkv.Meta) *Cluster {
	c := &Cluster{client: client, keys: keys, shards: meta.Shards, changed: make(chan struct{}, 1)}
	c.owned.Store(&ownerViews{})
	c.grouped.Store(&map[job.ShardID]*group{})
	c.ready.Store(&[]job.NodeID{})
	c.healthy.Store(&map[job.NodeID]int64{})
	c.members = etcdkv.NewMap(etcdkv.Decode[etcdkv.Member], c.onMembers)
	c.owners = etcdkv.NewMap(etcdkv.Decode[etcdkv.Owner], c.onOwners)
	c.groups = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredGroup], c.onGroups)
	c.drains = etcdkv.NewMap(etcdkv.Decode[etcdkv.Drain], c.wake)
	c.overrides = etcdkv.NewMap(etcdkv.Decode[etcdkv.Override], c.wake)
	c.lines = etcdkv.NewMap(etcdkv.Decode[etcdkv.Place], c.wake)
	c.healths = etcdkv.NewMap(etcdkv.Decode[etcdkv.Health], c.onHealths)
	c.paused = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredPause], c.onPauses)
	c.edges = etcdkv.NewMap(etcdkv.Decode[etcdkv.Edge], c.onEdges)
	c.backfills = etcdkv.NewMap(etcdkv.Decode[etcdkv.Backfill], nil)
	c.calendars = etcdkv.NewMap(newCalendar, c.wake)
	c.asides = etcdkv.NewMap(etcdkv.Decode[etcdkv.Aside], nil)
	c.wished = etcdkv.NewMap(etcdkv.Decode[etcdkv.Wish], c.onWishes)
	c.scripts = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredScript], c.onScripts)
	c.permits = etcdkv.NewMap(etcdkv.Decode[etcdkv.Permits], c.onPermits)
	c.caps.Store(&capCounts{})
	c.shelf.Store(&shelf{})
	c.wishes.Store(&wishesOf{})
	c.pauses.Store(&pauses{})
	c.waiters.Store(&map[job.Key][]etcdkv.Edge{})
	return c
}

// Run keeps the view current until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.members.Run(ctx, c.client, c.keys.Members()) })
	g.Go(func() error { return c.owners.Run(ctx, c.client, c.keys.Owners()) })
	g.Go(func() error { return c.groups.Run(ctx, c.client, c.keys.Groups()) })
	g.Go(func() error { return c.drains.Run(ctx, c.client, c.keys.Drains()) })
	g.Go(func() error { return c.overrides.Run(ctx, c.client, c.keys.Overrides()) })
	g.Go(func() error { return c.lines.Run(ctx, c.client, c.keys.Lines()) })
	g.Go(func() error { return c.healths.Run(ctx, c.client, c.keys.Healths()) })
	g.Go(func() error { return c.paused.Run(ctx, c.client, c.keys.Pauses()) })
	g.Go(func() error { return c.edges.Run(ctx, c.client, c.keys.Edges()) })
	g.Go(func() error { return c.backfills.Run(ctx, c.client, c.keys.Backfills()) })
	g.Go(func() error { return c.calendars.Run(ctx, c.client, c.keys.Calendars()) })
	g.Go(func() error { return c.asides.Run(ctx, c.client, c.keys.Asides()) })
	g.Go(func() error { return c.wished.Run(ctx, c.client, c.keys.Wishes()) })
	g.Go(func() error { return c.scripts.Run(ctx, c.client, c.keys.Scripts()) })
	g.Go(func() error { return c.permits.Run(ctx, c.client, c.keys.Permits()) })
	return g.Wait()
}

// Synced reports whether everything has been read.
func (c *Cluster) Synced() bool {
	for _, ch := range []<-chan struct{}{
		c.members.Synced(), c.owners.Synced(), c.groups.Synced(), c.drains.Synced(),
		c.overrides.Synced(), c.lines.Synced(), c.healths.Synced(), c.paused.Synced(), c.edges.Synced(),
		c.backfills.Synced(), c.calendars.Synced(), c.asides.Synced(), c.wished.Synced(), c.scripts.Synced(), c.permits.Synced(),
	} {
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
	c.onHealths()
}

func (c *Cluster) onOwners() {
	entries, _ := c.owners.Snapshot()
	view := &ownerViews{hash: make([]ownerView, c.shards), groups: map[job.ShardID]ownerView{}}
	for key, e := range entries {
		s, err := c.keys.ParseOwner(key)
		if err != nil {
			continue
		}
		o := ownerView{node: e.Value.Node, lease: e.Lease, rev: e.ModRevision, since: e.Value.Since.UnixNano()}
		if !e.Value.Due.IsZero() {
			o.due = e.Value.Due.UnixNano()
		}
		if s.IsGroup() {
			view.groups[s] = o
		} else if int(s) < len(view.hash) {
			view.hash[s] = o
		}
	}
	c.owned.Store(view)
	c.wake()
}

func (c *Cluster) onGroups() {
	entries, rev := c.groups.Snapshot()
	view := make(map[job.ShardID]*group, len(entries))
	for _, e := range entries {
		m, ok := mode.Find(e.Value.Spec.Mode)
		if !ok { // of a newer release: any place will do until it is here
			m, _ = mode.Find(job.DefaultMode)
		}
		view[e.Value.Shard] = &group{key: e.Value.Key(), spec: e.Value.Spec, mode: m, rev: e.ModRevision}
	}
	c.grouped.Store(&view)
	c.groupsRev.Store(rev)
	c.wake()
}

// onHealths works out since when each node is healthy: it is ready, says that
// it does its work, and no majority of its peers says that it is out of reach.
func (c *Cluster) onHealths() {
	members := c.Members()
	blamed := map[job.NodeID]int{}
	troubled := map[job.NodeID]bool{}
	healths, _ := c.healths.Snapshot()
	for _, m := range members {
		h := healths[c.keys.Health(m.Node)].Value
		troubled[m.Node] = len(h.Trouble) > 0
		for _, peer := range h.Unreachable {
			blamed[peer]++
		}
	}
	old := *c.healthy.Load()
	next := make(map[job.NodeID]int64, len(members))
	for _, m := range members {
		peers := len(members) - 1
		if m.Phase != etcdkv.PhaseReady || troubled[m.Node] || blamed[m.Node]*2 > peers {
			continue
		}
		switch since, was := old[m.Node]; {
		case was:
			next[m.Node] = since
		case len(old) == 0: // our first look: as far as anybody knows, since it joined
			next[m.Node] = max(m.StartedAt.UnixNano(), m.PhaseSince.UnixNano())
		default:
			next[m.Node] = time.Now().UnixNano()
		}
	}
	c.healthy.Store(&next)
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
	slices.SortFunc(out, func(a, b etcdkv.Member) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// member returns a live node.
func (c *Cluster) member(n job.NodeID) (etcdkv.Member, bool) {
	entries, _ := c.members.Snapshot()
	e, ok := entries[c.keys.Member(n)]
	return e.Value, ok
}

// noBackfills reports whether there is none.
func (c *Cluster) noBackfills() bool {
	entries, _ := c.backfills.Snapshot()
	return len(entries) == 0
}

// drained reports whether an operator wants the node to hold no shard.
func (c *Cluster) drained(n job.NodeID) bool {
	entries, _ := c.drains.Snapshot()
	_, ok := entries[c.keys.Drain(n)]
	return ok
}

// override returns what an operator decided about a shard.
func (c *Cluster) override(s job.ShardID) (etcdkv.Entry[etcdkv.Override], bool) {
	entries, _ := c.overrides.Snapshot()
	e, ok := entries[c.keys.Override(s)]
	return e, ok
}

// group returns the group whose shard it is, or nil.
func (c *Cluster) group(s job.ShardID) *group { return (*c.grouped.Load())[s] }

// line returns the nodes that stand in line for a group's lock, first come first.
func (c *Cluster) line(s job.ShardID) []mode.Place {
	entries, _ := c.lines.Snapshot()
	type placed struct {
		mode.Place
		rev int64
	}
	var places []placed
	for key, e := range entries {
		if shard, node, err := c.keys.ParseLine(key); err == nil && shard == s {
			places = append(places, placed{mode.Place{Node: node, Since: e.Value.Since.UnixNano()}, e.ModRevision})
		}
	}
	slices.SortFunc(places, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.rev, b.rev), cmp.Compare(a.Node, b.Node))
	})
	out := make([]mode.Place, len(places))
	for i := range places {
		out[i] = places[i].Place
	}
	return out
}

// owner returns who holds a shard, as last seen.
func (c *Cluster) owner(s job.ShardID) ownerView {
	view := c.owned.Load()
	if s.IsGroup() {
		return view.groups[s]
	}
	if int(s) >= len(view.hash) {
		return ownerView{}
	}
	return view.hash[s]
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

// Nodes returns the nodes that are ready.
func (c *Cluster) Nodes() []job.NodeID { return *c.ready.Load() }

// Shards returns all shards that there are: the hash shards, and one for each
// group.
func (c *Cluster) Shards() []job.ShardID {
	groups := *c.grouped.Load()
	out := make([]job.ShardID, 0, c.shards+len(groups))
	for i := range c.shards {
		out = append(out, job.ShardID(i)) //nolint:gosec // an index
	}
	for id := range groups {
		out = append(out, id)
	}
	return out
}

// Unowned returns how many hash shards have no owner.
func (c *Cluster) Unowned() int {
	n := c.shards
	for _, o := range c.owned.Load().hash {
		if o.node != "" {
			n--
		}
	}
	return n
}
