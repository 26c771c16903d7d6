package scheduler

import (
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/mode"
	"github.com/carillon-cron/carillon/scheduler/ownership"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// turnPolicy is how a group's shard asks its mode. Hash shards have none.
type turnPolicy struct {
	id     job.ShardID
	groups groups
	node   owner
}

// groups finds groups.
type groups interface {
	// Group returns the group whose shard it is, or nil when it is deleted.
	Group(id job.ShardID) *cluster.Group
}

// owner is what a group's shard asks of the node that owns it.
type owner interface {
	// Situation tells how things stand with a group, as far as the node knows.
	Situation(id job.ShardID, g *cluster.Group) mode.Situation
	// Lease is what the node's places in line lie on.
	Lease() clientv3.LeaseID
	// Leaving reports whether the node gives its shards up.
	Leaving() bool
}

// group returns the shard's group, or nil when it is deleted.
func (p *turnPolicy) group() *cluster.Group { return p.groups.Group(p.id) }

// round is the mode's say in one plan. Nil for hash shards.
type round struct {
	g *cluster.Group
	s mode.Situation
	// at is the instant of the turn that is used up; 0: none yet.
	at int64
	// others: what is due next belongs to another node.
	others bool
}

// round begins a plan.
func (s *shard) round() *round {
	if s.turns == nil {
		return nil
	}
	g := s.turns.group()
	if g == nil {
		return nil
	}
	return &round{g: g, s: s.turns.node.Situation(s.id, g)}
}

// until says up to which instant the earliest entry may be planned, and why it
// is skipped, if it is. It is false when nothing may.
func (r *round) until(me job.NodeID, at, horizon, deadline int64) (limit int64, skip string, ok bool) {
	switch {
	case r == nil:
		return horizon, "", true
	case r.g.Mode.Fires != nil:
		turn := r.g.Mode.Fires(&r.s, at)
		if turn.Node != "" && turn.Node != me {
			r.others = true
			return 0, "", false
		}
		return at, turn.Skip, true
	case r.g.Mode.Passes != nil:
		if r.at != 0 && r.at != at && at >= deadline {
			return 0, "", false // one instant is one turn, and so is all that is late
		}
		return max(at, deadline-1), "", true
	}
	return horizon, "", true
}

// used notes that a fire uses up the turn. A record of what was missed does not.
func (r *round) used(f *fire) {
	if r != nil && f.phase != phase.FireMissed {
		r.at = max(r.at, f.id.At)
	}
}

// shares returns the nodes that have a share of an occurrence; shared is false
// when occurrences are not shared out.
func (r *round) shares() (nodes []job.NodeID, shared bool) {
	if r == nil || r.g.Mode.Shares == nil {
		return nil, false
	}
	return r.g.Mode.Shares(&r.s), true
}

// gatherPass adds to a commit that fires the passing on of the lock, where the
// mode wants that. The successor's lease and its place in line are compared, so
// that the lock never goes to a node that has left.
func (s *shard) gatherPass(w *write, r *round, now int64) error {
	if r == nil || r.at == 0 || r.g.Mode.Passes == nil {
		return nil
	}
	next := r.g.Mode.Passes(&r.s)
	m, ok := s.deps.Cluster.Member(next)
	if next == "" || next == s.cfg.Node || !ok {
		return nil
	}
	_, due, _ := s.timers.Top()
	value, err := ownership.OwnerValue(next, s.cfg.Node, now, due)
	if err != nil {
		return err
	}
	place, err := ownership.PlaceValue(s.cfg.Node, now)
	if err != nil {
		return err
	}
	lines := s.cfg.Keys
	w.passed = true
	w.state.Unsent = w.slot.seq
	w.cmps = append(w.cmps, clientv3.Compare(clientv3.CreateRevision(lines.Line(s.id, next)), ">", 0))
	w.planned = append(w.planned,
		clientv3.OpPut(lines.Owner(s.id), value, clientv3.WithLease(clientv3.LeaseID(m.Lease))),
		clientv3.OpPut(lines.Line(s.id, s.cfg.Node), place, clientv3.WithLease(s.turns.node.Lease())))
	return nil
}

// tail returns what puts this node at the tail of the group's line, when it
// gives the lock up otherwise.
func (s *shard) tail(now int64) []clientv3.Op {
	if s.turns == nil {
		return nil
	}
	g := s.turns.group()
	if g == nil || !g.Mode.Lined || s.turns.node.Leaving() {
		return nil
	}
	place, err := ownership.PlaceValue(s.cfg.Node, now)
	if err != nil {
		return nil
	}
	return []clientv3.Op{clientv3.OpPut(s.cfg.Keys.Line(s.id, s.cfg.Node), place, clientv3.WithLease(s.turns.node.Lease()))}
}

// Memory returns what the group remembers of its nodes. Any goroutine may call it.
func (s *shard) Memory() []mode.Memory {
	ring := s.ring.Load()
	if ring == nil {
		return nil
	}
	out := make([]mode.Memory, len(*ring))
	for i, n := range *ring {
		out[i] = mode.Memory{Node: n.Node, Flaps: n.Flaps}
		if !n.LastFlap.IsZero() {
			out[i].LastFlap = n.LastFlap.UnixNano()
		}
	}
	return out
}

const (
	// rememberEvery is how often the nodes are compared with the memory.
	rememberEvery = int64(500 * time.Millisecond)
	// forgetAfter is how long a lost node keeps its place in a ring.
	forgetAfter = time.Hour
)

// remember keeps the group's memory of its nodes: who has been there, for the
// modes that want it, and who flaps.
func (s *shard) remember(now int64) {
	if s.turns == nil || now < s.remembered+rememberEvery {
		return
	}
	s.remembered = now
	g := s.turns.group()
	if g == nil {
		return
	}
	sit := s.turns.node.Situation(s.id, g)
	ring := slices.Clone(s.state.Ring)
	changed := false
	for i := range ring {
		here := sit.Has(ring[i].Node)
		switch m, member := s.deps.Cluster.Member(ring[i].Node); {
		case here && !ring[i].Lost.IsZero():
			ring[i].Lost, changed = time.Time{}, true
		case member && m.Phase == etcdkv.PhaseDraining && !ring[i].Left:
			ring[i].Left, changed = true, true
		case here && ring[i].Left:
			ring[i].Left, changed = false, true
		case !here && ring[i].Lost.IsZero():
			ring[i].Lost, changed = time.Unix(0, now).UTC(), true
		}
	}
	if g.Mode.Remembers {
		for i := range sit.Nodes {
			id := sit.Nodes[i].ID
			if !slices.ContainsFunc(ring, func(n etcdkv.RingNode) bool { return n.Node == id }) {
				ring, changed = append(ring, etcdkv.RingNode{Node: id}), true
			}
		}
	}
	kept := slices.DeleteFunc(ring, func(n etcdkv.RingNode) bool {
		gone := !n.Lost.IsZero() && (n.Left || now > n.Lost.Add(forgetAfter).UnixNano())
		return gone && mode.Flaps(mode.Memory{Flaps: n.Flaps, LastFlap: n.LastFlap.UnixNano()}, g.Spec.EffectiveHoldOff(), now) == 0
	})
	if changed || len(kept) != len(s.state.Ring) {
		s.setRing(kept)
	}
}

// setRing changes the group's memory; the next commit stores it.
func (s *shard) setRing(ring []etcdkv.RingNode) {
	s.state.Ring, s.ringDirty = ring, true
	s.ring.Store(&ring)
}

// noteFlap remembers that the node which committed last was lost.
func (s *shard) noteFlap(now int64) {
	if s.turns == nil || s.own.HandedOver() || s.state.Node == "" || s.state.Node == s.cfg.Node {
		return
	}
	ring := slices.Clone(s.state.Ring)
	i := slices.IndexFunc(ring, func(n etcdkv.RingNode) bool { return n.Node == s.state.Node })
	if i < 0 {
		ring = append(ring, etcdkv.RingNode{Node: s.state.Node})
		i = len(ring) - 1
	}
	n := &ring[i]
	spec := job.GroupSpec{}
	if g := s.turns.group(); g != nil {
		spec = g.Spec
	}
	n.Flaps = mode.Flaps(mode.Memory{Flaps: n.Flaps, LastFlap: n.LastFlap.UnixNano()}, spec.EffectiveHoldOff(), now) + 1
	n.LastFlap = time.Unix(0, now).UTC()
	s.setRing(ring)
}
