package job

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// KindGroup is the kind of a group's manifest.
const KindGroup = "Group"

// GroupSpec is what a user writes about a group: how the lock that guards its
// jobs is passed on between nodes, and how its runs wait for one another. Its
// JSON form is the manifest's. Which fields a mode reads, and what it does, is
// told by the mode itself (package scheduler/mode).
type GroupSpec struct {
	// Mode names the policy. Empty: DefaultMode.
	Mode string `json:"mode,omitempty"`

	// Nodes are the only nodes that may fire; for modes with a ring, in the
	// order of the ring. Empty: every node.
	Nodes []NodeID `json:"nodes,omitempty"`
	// Sites are preferred in this order; nodes of other sites come last.
	// Empty: all sites are alike.
	Sites []string `json:"sites,omitempty"`
	// Pin: only nodes that have all these labels may fire. The labels "site"
	// and "node" are built in.
	Pin map[string]string `json:"pin,omitempty"`
	// Spread is a node label. In mode parallel one node per value of it fires;
	// in a ring of time slices neighbours differ in it where that is possible.
	Spread string `json:"spread,omitempty"`

	// Ordered: a run starts only after the one before it has ended, over all
	// jobs of the group, in the order of their instants.
	Ordered bool `json:"ordered,omitempty"`
	// MaxConcurrent bounds how many runs of the group are under way at a time.
	// Zero: no bound.
	MaxConcurrent int `json:"maxConcurrent,omitempty"`
	// Mutex is the name of a lock in the group's namespace that a run holds
	// while it is under way. `carillon lock` takes the same locks.
	Mutex string `json:"mutex,omitempty"`

	// HoldOff is how long a returned node must have been healthy before it
	// gets the lock back. Zero: DefaultHoldOff.
	HoldOff Duration `json:"holdOff,omitempty"`
	// Grace is how long a node has: to give the lock up to one of a higher
	// priority, or to fire when it is its turn. Zero: DefaultGrace.
	Grace Duration `json:"grace,omitempty"`
	// Slice is the length of a time slice.
	Slice Duration `json:"slice,omitempty"`
	// OnLoss says what happens to a lost node's slices. Empty: LossTakeover.
	OnLoss Loss `json:"onLoss,omitempty"`
	// Start says whether the nodes' shares of an occurrence belong together.
	// Empty: StartAsync.
	Start Start `json:"start,omitempty"`
}

// Loss says what happens to the time slices of a node that is lost.
type Loss string

// What happens to a lost node's slices.
const (
	// LossTakeover: the next node of the ring fires them. The default.
	LossTakeover Loss = "takeover"
	// LossSkip: their occurrences are recorded as skipped.
	LossSkip Loss = "skip"
)

// Start says whether the shares of a parallel occurrence belong together.
type Start string

// How shares start.
const (
	// StartAsync: each node's share is a run of its own. The default.
	StartAsync Start = "async"
	// StartSync: the shares are one run; they start together, and it ends when
	// the last one ends.
	StartSync Start = "sync"
)

// Group is a stored group: a user's spec and what Carillon adds to it.
type Group struct {
	Metadata
	Spec GroupSpec `json:"spec"`

	// UID is new for every group, also for one of a name used before.
	UID UID `json:"uid"`
	// Shard is the shard in which the group's jobs lie, for as long as it exists.
	Shard ShardID `json:"shard"`
	// Generation counts the edits of the spec, from 1.
	Generation int64 `json:"generation"`
	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Limits and defaults of groups.
const (
	DefaultMode    = "balanced"
	DefaultHoldOff = time.Minute
	DefaultGrace   = 5 * time.Second
	MaxGroupNodes  = 100
	MinSlice       = time.Second
	MaxSlice       = 366 * 24 * time.Hour
	MaxHoldOff     = 24 * time.Hour
	MaxGrace       = time.Hour
)

// FirstGroupShard is the first shard number that a group may have; hash shards
// have lower ones.
const FirstGroupShard ShardID = 1 << 16

// IsGroup reports whether the shard is a group's.
func (s ShardID) IsGroup() bool { return s >= FirstGroupShard }

// EffectiveMode returns Mode, or its default.
func (g *GroupSpec) EffectiveMode() string {
	if g.Mode == "" {
		return DefaultMode
	}
	return g.Mode
}

// EffectiveHoldOff returns HoldOff, or its default.
func (g *GroupSpec) EffectiveHoldOff() time.Duration {
	if g.HoldOff == 0 {
		return DefaultHoldOff
	}
	return time.Duration(g.HoldOff)
}

// EffectiveGrace returns Grace, or its default.
func (g *GroupSpec) EffectiveGrace() time.Duration {
	if g.Grace == 0 {
		return DefaultGrace
	}
	return time.Duration(g.Grace)
}

// ShareOf returns the number of a node's share of a parallel occurrence: the
// node's name, hashed; never zero.
func ShareOf(n NodeID) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n)) // a hash never fails
	return max(h.Sum32(), 1)
}

// Validate returns what is wrong with the spec whatever its mode is. The mode's
// own demands are checked by package scheduler/mode.
func (g *GroupSpec) Validate() []Problem {
	var v problems
	if g.Nodes != nil && len(g.Nodes) == 0 {
		v.add("spec.nodes", "is empty, so nobody could fire; name the nodes, or leave it out for all of them")
	}
	if len(g.Nodes) > MaxGroupNodes {
		v.add("spec.nodes", "has %d nodes; at most %d are allowed", len(g.Nodes), MaxGroupNodes)
	}
	seen := map[NodeID]bool{}
	for i, n := range g.Nodes {
		path := fmt.Sprintf("spec.nodes[%d]", i)
		if err := CheckName(string(n)); err != nil {
			v.add(path, "%v", err)
		} else if seen[n] {
			v.add(path, "%q is given twice; name each node once", n)
		}
		seen[n] = true
	}
	sites := map[string]bool{}
	for i, s := range g.Sites {
		path := fmt.Sprintf("spec.sites[%d]", i)
		if err := CheckName(s); err != nil {
			v.add(path, "%v", err)
		} else if sites[s] {
			v.add(path, "%q is given twice; name each site once", s)
		}
		sites[s] = true
	}
	for _, k := range slices.Sorted(maps.Keys(g.Pin)) {
		if err := checkLabelKey(k); err != nil {
			v.add("spec.pin."+k, "%v", err)
		}
	}
	if g.Spread != "" {
		if err := checkLabelKey(g.Spread); err != nil {
			v.add("spec.spread", "%v", err)
		}
	}
	if g.Mutex != "" {
		if err := CheckName(g.Mutex); err != nil {
			v.add("spec.mutex", "%v", err)
		}
	}
	if g.MaxConcurrent < 0 {
		v.add("spec.maxConcurrent", "%d is negative; give 1 or more, or leave it out for no bound", g.MaxConcurrent)
	}
	v.within("spec.holdOff", g.HoldOff, 0, MaxHoldOff)
	v.within("spec.grace", g.Grace, 0, MaxGrace)
	return v
}

func (p *problems) within(path string, d Duration, lo, hi time.Duration) {
	if time.Duration(d) < lo || time.Duration(d) > hi {
		p.add(path, "%s is out of range; %s to %s are allowed", short(time.Duration(d)), short(lo), short(hi))
	}
}
