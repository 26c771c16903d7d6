package cluster

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
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

// owned are the owners of hash shards by number, and of groups' shards.
type owned struct {
	hash   []Owner
	groups map[job.ShardID]Owner
}

// owners are who holds which shard, who stands in line for one, and what operators have
// decided about them.
type owners struct {
	keys      etcdkv.Keys
	wake      func()
	shards    int // that are hash shards
	stored    *etcdkv.Map[etcdkv.Owner]
	lines     *etcdkv.Map[etcdkv.Place]
	overrides *etcdkv.Map[etcdkv.Override]
	// owned is made anew at every change.
	owned atomic.Pointer[owned]
}

func (o *owners) follow(f *feed, keys etcdkv.Keys, shards int) {
	o.keys, o.wake, o.shards = keys, f.Wake, shards
	o.owned.Store(&owned{})
	o.stored = follow(f, keys.Owners(), etcdkv.Decode[etcdkv.Owner], o.onOwners)
	o.overrides = follow(f, keys.Overrides(), etcdkv.Decode[etcdkv.Override], f.Wake)
	o.lines = follow(f, keys.Lines(), etcdkv.Decode[etcdkv.Place], f.Wake)
}

func (o *owners) onOwners() {
	entries, _ := o.stored.Snapshot()
	view := &owned{hash: make([]Owner, o.shards), groups: map[job.ShardID]Owner{}}
	for key, e := range entries {
		s, err := o.keys.ParseOwner(key)
		if err != nil {
			continue
		}
		owner := Owner{Node: e.Value.Node, Lease: e.Lease, Rev: e.ModRevision, Since: e.Value.Since.UnixNano()}
		if !e.Value.Due.IsZero() {
			owner.Due = e.Value.Due.UnixNano()
		}
		if s.IsGroup() {
			view.groups[s] = owner
		} else if int(s) < len(view.hash) {
			view.hash[s] = owner
		}
	}
	o.owned.Store(view)
	o.wake()
}

// GroupOwners returns who holds groups' shards, those of groups that are deleted
// included.
func (o *owners) GroupOwners() map[job.ShardID]Owner { return o.owned.Load().groups }

// Line returns the nodes that stand in line for a group's lock, first come first.
func (o *owners) Line(s job.ShardID) []mode.Place {
	entries, _ := o.lines.Snapshot()
	type placed struct {
		mode.Place
		rev int64
	}
	var places []placed
	for key, e := range entries {
		if shard, node, err := o.keys.ParseLine(key); err == nil && shard == s {
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
func (o *owners) OwnerOf(s job.ShardID) Owner {
	view := o.owned.Load()
	if s.IsGroup() {
		return view.groups[s]
	}
	if int(s) >= len(view.hash) {
		return Owner{}
	}
	return view.hash[s]
}

// Owner returns the node that owns a shard.
func (o *owners) Owner(s job.ShardID) (job.NodeID, bool) {
	owner := o.OwnerOf(s)
	return owner.Node, owner.Node != ""
}

// Unowned returns how many hash shards have no owner.
func (o *owners) Unowned() int {
	n := o.shards
	for _, owner := range o.owned.Load().hash {
		if owner.Node != "" {
			n--
		}
	}
	return n
}

// Override returns what an operator decided about a shard.
func (o *owners) Override(s job.ShardID) (etcdkv.Entry[etcdkv.Override], bool) {
	entries, _ := o.overrides.Snapshot()
	e, ok := entries[o.keys.Override(s)]
	return e, ok
}
