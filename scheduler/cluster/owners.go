package cluster

import (
	"cmp"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Owner is who holds a shard, as last seen. The zero value: nobody.
type Owner struct {
	Node job.NodeID
	// Lease is what the owner key lies on, Rev its mod revision: the token's.
	Lease, Rev int64
	// Since is when it got the shard, Due the instant that it is to fire next, as was
	// known then, in Unix nanoseconds; 0: not known.
	Since, Due int64
}

// owners are the owners of hash shards by number, and of groups' shards.
type owners struct {
	hash   []Owner
	groups map[job.ShardID]Owner
}

// Group is a group as a node sees it. It is never changed.
type Group struct {
	Key  job.Key
	Spec job.GroupSpec
	Mode mode.Mode
	// Rev is the mod revision of the group's key.
	Rev int64
}

func (v *View) onOwners() {
	entries, _ := v.owners.Snapshot()
	view := &owners{hash: make([]Owner, v.shards), groups: map[job.ShardID]Owner{}}
	for key, e := range entries {
		s, err := v.keys.ParseOwner(key)
		if err != nil {
			continue
		}
		o := Owner{Node: e.Value.Node, Lease: e.Lease, Rev: e.ModRevision, Since: e.Value.Since.UnixNano()}
		if !e.Value.Due.IsZero() {
			o.Due = e.Value.Due.UnixNano()
		}
		if s.IsGroup() {
			view.groups[s] = o
		} else if int(s) < len(view.hash) {
			view.hash[s] = o
		}
	}
	v.owned.Store(view)
	v.Wake()
}

func (v *View) onGroups() {
	entries, rev := v.groups.Snapshot()
	view := make(map[job.ShardID]*Group, len(entries))
	for _, e := range entries {
		m, ok := mode.Find(e.Value.Spec.Mode)
		if !ok { // of a newer release: any place will do until it is here
			m, _ = mode.Find(job.DefaultMode)
		}
		view[e.Value.Shard] = &Group{Key: e.Value.Key(), Spec: e.Value.Spec, Mode: m, Rev: e.ModRevision}
	}
	v.SetGroups(view, rev)
	v.Wake()
}

// SetGroups puts groups, by their shards and as of a revision, in the place of what is
// in view.
func (v *View) SetGroups(groups map[job.ShardID]*Group, rev int64) {
	v.grouped.Store(&groups)
	v.groupsRev.Store(rev)
}

// Groups returns the groups by their shards.
func (v *View) Groups() map[job.ShardID]*Group { return *v.grouped.Load() }

// GroupsRev returns as of which revision groups are in view.
func (v *View) GroupsRev() int64 { return v.groupsRev.Load() }

// Group returns the group whose shard it is, or nil.
func (v *View) Group(s job.ShardID) *Group { return v.Groups()[s] }

// GroupOwners returns who holds groups' shards, those of groups that are deleted
// included.
func (v *View) GroupOwners() map[job.ShardID]Owner { return v.owned.Load().groups }

// Line returns the nodes that stand in line for a group's lock, first come first.
func (v *View) Line(s job.ShardID) []mode.Place {
	entries, _ := v.lines.Snapshot()
	type placed struct {
		mode.Place
		rev int64
	}
	var places []placed
	for key, e := range entries {
		if shard, node, err := v.keys.ParseLine(key); err == nil && shard == s {
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

// OwnerOf returns who holds a shard, as last seen.
func (v *View) OwnerOf(s job.ShardID) Owner {
	view := v.owned.Load()
	if s.IsGroup() {
		return view.groups[s]
	}
	if int(s) >= len(view.hash) {
		return Owner{}
	}
	return view.hash[s]
}

// Owner returns the node that owns a shard.
func (v *View) Owner(s job.ShardID) (job.NodeID, bool) {
	o := v.OwnerOf(s)
	return o.Node, o.Node != ""
}

// Shards returns all shards that there are: the hash shards, and one for each
// group.
func (v *View) Shards() []job.ShardID {
	groups := v.Groups()
	out := make([]job.ShardID, 0, v.shards+len(groups))
	for i := range v.shards {
		out = append(out, job.ShardID(i))
	}
	for id := range groups {
		out = append(out, id)
	}
	return out
}

// Unowned returns how many hash shards have no owner.
func (v *View) Unowned() int {
	n := v.shards
	for _, o := range v.owned.Load().hash {
		if o.Node != "" {
			n--
		}
	}
	return n
}
