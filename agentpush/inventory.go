package agentpush

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/job"
)

// Inventory is what this node knows of all minions: who they are, and where
// they are connected. The app feeds it from views of the cluster's state; the
// sessions of this node are in it at once. All methods may be called by many
// goroutines.
type Inventory struct {
	*roster
	// moved is told of minions whose place has changed, gone of nodes that have
	// left. They are called without mu.
	moved func(job.MinionID)
	gone  func(job.NodeID)
	// buckets are what peers have said of the minions that are there. mu guards them.
	buckets map[bucketKey][]Present

	// What others ask of it, and what this node's sessions say.
	locals    locals
	locations locations
	targets   *targets
}

func newInventory(node job.NodeID) *Inventory {
	r := &roster{
		node: node, out: func(job.MinionID) {}, entries: map[job.MinionID]*entry{}, absences: absences{ghosts: map[job.MinionID]leaving{}},
	}
	return &Inventory{
		roster: r, moved: func(job.MinionID) {}, gone: func(job.NodeID) {}, buckets: map[bucketKey][]Present{},
		locals: locals{r}, locations: locations{r}, targets: &targets{roster: r},
	}
}

// SetGrant takes the labels that a minion has been granted, in place of earlier
// ones; none: it has none.
func (i *Inventory) SetGrant(id job.MinionID, labels map[string]string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(id, func(e *entry) { e.granted = labels })
}

// SetMinion takes what the cluster's state says of a minion. Its Node is ignored.
func (i *Inventory) SetMinion(m job.Minion) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(m.ID, func(e *entry) { e.stored = &m })
}

// RemoveMinion forgets what was set by SetMinion.
func (i *Inventory) RemoveMinion(id job.MinionID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(id, func(e *entry) {
		if e.stored != nil {
			e.forgotten = true
			i.absences.count.Add(1)
		}
		e.stored = nil
	})
}

// SetRevoked takes when a minion's certificates were revoked; the zero time: those
// that it has are good, or it has none.
func (i *Inventory) SetRevoked(id job.MinionID, at time.Time) {
	i.mu.Lock()
	_, out := i.change(id, func(e *entry) { e.revoked = at })
	i.mu.Unlock()
	if out {
		i.out(id)
	}
}

// SetPresence takes a bucket of the minions that are connected to a node, in
// place of the bucket's earlier content. What is said of this node itself is
// ignored: it knows better.
func (i *Inventory) SetPresence(node job.NodeID, bucket int, minions []Present) {
	if node == i.node {
		return
	}
	key := bucketKey{node, bucket}
	sessions := make(map[job.MinionID]Present, len(minions))
	for _, p := range minions {
		sessions[p.ID] = p
	}
	var moved, out []job.MinionID
	i.mu.Lock()
	for _, p := range i.buckets[key] {
		if _, still := sessions[p.ID]; !still {
			sessions[p.ID] = Present{}
		}
	}
	if len(minions) == 0 {
		delete(i.buckets, key)
	} else {
		i.buckets[key] = slices.Clone(minions)
	}
	for id, session := range sessions {
		hasMoved, isOut := i.change(id, func(e *entry) { e.replace(key, session) })
		if hasMoved {
			moved = append(moved, id)
		}
		if isOut {
			out = append(out, id)
		}
	}
	i.mu.Unlock()
	for _, id := range moved {
		i.moved(id)
	}
	for _, id := range out {
		i.out(id)
	}
}

// RemovePresence forgets one bucket of a node.
func (i *Inventory) RemovePresence(node job.NodeID, bucket int) { i.SetPresence(node, bucket, nil) }

// RemoveNode forgets all buckets of a node that has left the cluster.
func (i *Inventory) RemoveNode(node job.NodeID) {
	i.mu.RLock()
	var buckets []int
	for key := range i.buckets {
		if key.node == node {
			buckets = append(buckets, key.bucket)
		}
	}
	i.mu.RUnlock()
	for _, b := range buckets {
		i.SetPresence(node, b, nil)
	}
	i.gone(node)
}

// Minions returns all minions that are known, sorted by id, with Node where
// they are connected.
func (i *Inventory) Minions() []job.Minion {
	i.mu.RLock()
	defer i.mu.RUnlock()
	out := make([]job.Minion, 0, len(i.entries))
	for _, e := range i.entries {
		if e.view == nil {
			continue
		}
		m := *e.view
		if e.stored != nil && !e.stored.Since.IsZero() {
			m.Since = e.stored.Since
		}
		at := e.at()
		m.Node, m.ConnectedSince = at.node, at.opened
		if u, is := e.uncontrollable(m.ID); is {
			m.Trouble, m.TroubleSince = u.Reason, u.Since
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b job.Minion) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// SetCurrent takes that what the cluster's state says of minions is complete and
// current from now on. Before, minions may have come that were not seen here: an
// etcd that cannot be reached is no absence of theirs. So none counts as absent
// for longer than since then. Until the first call none counts at all.
func (i *Inventory) SetCurrent() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.absences.current = time.Now()
	i.absences.count.Add(1)
}

// perNode counts the minions of peers by where they are connected.
func (i *Inventory) perNode() map[job.NodeID]int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	out := map[job.NodeID]int{}
	for key, minions := range i.buckets {
		out[key.node] += len(minions)
	}
	return out
}

// SetHostGroup saves a group of hosts, in place of an earlier one of that name.
// One that cannot be read is as if it was not there.
func (i *Inventory) SetHostGroup(name, match string) error {
	expr, err := target.Parse(match)
	if err != nil {
		i.targets.removeGroup(name)
		return fmt.Errorf("group of hosts %s: %w", name, err)
	}
	i.targets.setGroup(name, expr)
	return nil
}

// RemoveHostGroup forgets a saved group of hosts. What names it admits no minion
// from then on.
func (i *Inventory) RemoveHostGroup(name string) { i.targets.removeGroup(name) }

// HostGroups returns the saved groups of hosts.
func (i *Inventory) HostGroups() target.Groups {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return maps.Clone(i.targets.groups)
}
