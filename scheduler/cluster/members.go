package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

func (v *View) onMembers() {
	var ready []job.NodeID
	for _, m := range v.Members() {
		if m.Phase == etcdkv.PhaseReady {
			ready = append(ready, m.Node)
		}
	}
	if !slices.Equal(ready, *v.ready.Load()) {
		v.ready.Store(&ready)
		v.since.Store(time.Now().UnixNano())
	}
	v.onHealths()
}

// onHealths works out since when each node is healthy: it is ready, says that
// it does its work, and no majority of its peers says that it is out of reach.
func (v *View) onHealths() {
	members := v.Members()
	blamed := map[job.NodeID]int{}
	troubled := map[job.NodeID]bool{}
	healths, _ := v.healths.Snapshot()
	for _, m := range members {
		h := healths[v.keys.Health(m.Node)].Value
		troubled[m.Node] = len(h.Trouble) > 0
		for _, peer := range h.Unreachable {
			blamed[peer]++
		}
	}
	old := *v.healthy.Load()
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
	v.healthy.Store(&next)
	v.Wake()
}

// Healthy returns since when nodes are healthy, in Unix nanoseconds; those that are
// not are not in it.
func (v *View) Healthy() map[job.NodeID]int64 { return *v.healthy.Load() }

// Unfit reports whether a node says that it may not hold shards, for its clock.
func (v *View) Unfit(n job.NodeID) bool {
	healths, _ := v.healths.Snapshot()
	h := healths[v.keys.Health(n)].Value
	return h.Clock != nil && h.Clock.Unfit != ""
}

// StableFor returns how long the set of ready members has been unchanged.
func (v *View) StableFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - v.since.Load())
}

// Members returns the live nodes, sorted by name.
func (v *View) Members() []etcdkv.Member {
	entries, _ := v.members.Snapshot()
	out := make([]etcdkv.Member, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Value)
	}
	slices.SortFunc(out, func(a, b etcdkv.Member) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Member returns a live node.
func (v *View) Member(n job.NodeID) (etcdkv.Member, bool) {
	entries, _ := v.members.Snapshot()
	e, ok := entries[v.keys.Member(n)]
	return e.Value, ok
}

// Nodes returns the nodes that are ready.
func (v *View) Nodes() []job.NodeID { return *v.ready.Load() }

// PeerAddr returns the address at which a node serves minions and peers.
func (v *View) PeerAddr(n job.NodeID) (string, bool) {
	m, ok := v.Member(n)
	return m.PeerAddr, ok && m.PeerAddr != ""
}

// Servers returns the addresses at which minions find nodes.
func (v *View) Servers() []string {
	var out []string
	for _, m := range v.Members() {
		if m.Phase == etcdkv.PhaseReady && m.PeerAddr != "" {
			out = append(out, m.PeerAddr)
		}
	}
	return out
}
