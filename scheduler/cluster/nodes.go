package cluster

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// nodes are the live nodes, how healthy they are, and which of them operators want to
// hold no shard.
type nodes struct {
	keys    etcdkv.Keys
	wake    func()
	members *etcdkv.Map[etcdkv.Member]
	healths *etcdkv.Map[etcdkv.Health]
	drains  *etcdkv.Map[etcdkv.Drain]
	// since is when the set of ready members changed last, in Unix nanoseconds.
	since   atomic.Int64
	ready   atomic.Pointer[[]job.NodeID]
	healthy atomic.Pointer[map[job.NodeID]int64]
	lost    atomic.Pointer[map[job.NodeID]bool]
}

func (n *nodes) follow(f *feed, keys etcdkv.Keys) {
	n.keys, n.wake = keys, f.Wake
	n.ready.Store(&[]job.NodeID{})
	n.healthy.Store(&map[job.NodeID]int64{})
	n.lost.Store(&map[job.NodeID]bool{})
	n.members = follow(f, keys.Members(), etcdkv.Decode[etcdkv.Member], n.onMembers)
	n.drains = follow(f, keys.Drains(), etcdkv.Decode[etcdkv.Drain], f.Wake)
	n.healths = follow(f, keys.Healths(), etcdkv.Decode[etcdkv.Health], n.onHealths)
}

func (n *nodes) onMembers() {
	var ready []job.NodeID
	for _, m := range n.Members() {
		if m.Phase == etcdkv.PhaseReady {
			ready = append(ready, m.Node)
		}
	}
	if !slices.Equal(ready, *n.ready.Load()) {
		n.ready.Store(&ready)
		n.since.Store(time.Now().UnixNano())
	}
	n.onHealths()
}

// onHealths works out since when each node is healthy: it is ready, says that
// it does its work, and no majority of its peers says that it is out of reach.
func (n *nodes) onHealths() {
	members := n.Members()
	blamed := map[job.NodeID]int{}
	troubled := map[job.NodeID]bool{}
	healths, _ := n.healths.Snapshot()
	for _, m := range members {
		h := healths[n.keys.Health(m.Node)].Value
		troubled[m.Node] = len(h.Trouble) > 0
		for _, peer := range h.Unreachable {
			blamed[peer]++
		}
	}
	old := *n.healthy.Load()
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
	n.healthy.Store(&next)
	lost := lostOf(blamed, len(members))
	n.lost.Store(&lost)
	n.wake()
}

// lostOf returns the nodes that most of all live ones say are out of reach.
func lostOf(blamed map[job.NodeID]int, live int) map[job.NodeID]bool {
	lost := map[job.NodeID]bool{}
	for node, by := range blamed {
		if by*2 > live {
			lost[node] = true
		}
	}
	return lost
}

// Lost reports whether most of all live nodes say that a node is out of reach. However
// nodes are parted, those that are lost are fewer than half: nobody takes shards from who
// takes shards from him.
func (n *nodes) Lost(id job.NodeID) bool { return (*n.lost.Load())[id] }

// Healthy returns since when nodes are healthy, in Unix nanoseconds; those that are
// not are not in it.
func (n *nodes) Healthy() map[job.NodeID]int64 { return *n.healthy.Load() }

// Unfit reports whether a node says that it may not hold shards, for its clock.
func (n *nodes) Unfit(id job.NodeID) bool {
	healths, _ := n.healths.Snapshot()
	h := healths[n.keys.Health(id)].Value
	return h.Clock != nil && h.Clock.Unfit != ""
}

// StableFor returns how long the set of ready members has been unchanged.
func (n *nodes) StableFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - n.since.Load())
}

// Members returns the live nodes, sorted by name.
func (n *nodes) Members() []etcdkv.Member {
	entries, _ := n.members.Snapshot()
	out := make([]etcdkv.Member, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Value)
	}
	slices.SortFunc(out, func(a, b etcdkv.Member) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Member returns a live node.
func (n *nodes) Member(id job.NodeID) (etcdkv.Member, bool) {
	entries, _ := n.members.Snapshot()
	e, ok := entries[n.keys.Member(id)]
	return e.Value, ok
}

// Nodes returns the nodes that are ready.
func (n *nodes) Nodes() []job.NodeID { return *n.ready.Load() }

// PeerAddr returns the address at which a node serves minions and peers.
func (n *nodes) PeerAddr(id job.NodeID) (string, bool) {
	m, ok := n.Member(id)
	return m.PeerAddr, ok && m.PeerAddr != ""
}

// Servers returns the addresses at which minions find nodes.
func (n *nodes) Servers() []string {
	var out []string
	for _, m := range n.Members() {
		if m.Phase == etcdkv.PhaseReady && m.PeerAddr != "" {
			out = append(out, m.PeerAddr)
		}
	}
	return out
}

// Drained reports whether the node is to hold no shard: an operator wants that, or it is a
// witness.
func (n *nodes) Drained(id job.NodeID) bool {
	if m, ok := n.Member(id); ok && m.Witness {
		return true
	}
	entries, _ := n.drains.Snapshot()
	_, ok := entries[n.keys.Drain(id)]
	return ok
}
