package agentpush

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/job"
)

// Inventory is what this node knows of all minions: who they are, and where
// they are connected. The app feeds it from views of the cluster's state; the
// sessions of this node are in it at once. All methods may be called by many
// goroutines.
type Inventory struct {
	node job.NodeID
	// trusting: connections prove nothing, so what a minion says of itself counts
	// as granted.
	trusting bool
	// moved is told of minions whose place has changed, gone of nodes that have
	// left, out of minions that are out of reach for good. They are called without
	// mu.
	moved func(job.MinionID)
	gone  func(job.NodeID)
	out   func(job.MinionID)
	// absences counts what Hub.Absences tells of.
	absences atomic.Uint64

	mu sync.RWMutex
	// mu guards what follows.

	entries map[job.MinionID]*entry
	buckets map[bucketKey][]Present
	// matches and others, by target, and sorted are caches, emptied by every change
	// that matters.
	matches map[string][]job.MinionID
	others  map[string][]job.Uncontrollable
	sorted  []job.MinionID
	// labelled are the names of labels that some minion has been granted; nil: to be
	// found out.
	labelled map[string]struct{}
	// groups are the saved groups of hosts, which targets name.
	groups target.Groups
	// current is since when all that is fed is complete; zero: it is not yet.
	// ghosts are how minions left of which nothing else is known.
	current time.Time
	ghosts  map[job.MinionID]leaving
}

type bucketKey struct {
	node   job.NodeID
	bucket int
}

// entry is one minion. It exists while anything is known of it.
type entry struct {
	// stored is what the cluster's state says; nil: nothing yet. Its labels, and
	// those of local, are what the minion says of itself.
	stored *job.Minion
	// granted are the labels that it has been granted; view is the minion as
	// others see it, with these; nil: nothing is known of it.
	granted map[string]string
	view    *job.Minion
	// local is what it said itself in its session here; nil: no session here.
	local *job.Minion
	epoch int64
	// trouble is why it gets no orders, by its session here; empty: it does.
	trouble string
	since   time.Time
	// places are where peers say that it is.
	places []place
	leaving
	// revoked is when its certificates were revoked; zero: they are good.
	revoked time.Time
}

// isOut reports whether nothing more will be heard of a minion: it is connected
// nowhere, and its certificate was revoked. One that is connected has shown a
// certificate that is good, whatever is known here by now.
func (i *Inventory) isOut(e *entry) bool { return !e.revoked.IsZero() && i.whereabouts(e).node == "" }

type place struct {
	bucketKey
	session int64
	trouble string
	since   time.Time
	opened  time.Time // since when it is connected there; zero: it is not known
}

func newInventory(node job.NodeID) *Inventory {
	return &Inventory{
		node: node, moved: func(job.MinionID) {}, gone: func(job.NodeID) {}, out: func(job.MinionID) {},
		entries: map[job.MinionID]*entry{}, buckets: map[bucketKey][]Present{}, ghosts: map[job.MinionID]leaving{},
	}
}

// whereabouts returns the place of the minion's highest session.
func (i *Inventory) whereabouts(e *entry) place {
	var at place
	if e.local != nil {
		at = place{bucketKey{node: i.node}, e.epoch, e.trouble, e.since, e.local.Since}
	}
	return highest(at, e.places)
}

// highest returns the place of the highest session.
func highest(at place, others []place) place {
	for _, p := range others {
		if p.session > at.session || p.session == at.session && p.node > at.node {
			at = p
		}
	}
	return at
}

// elsewhere returns the peer that has the minion's highest session, and that
// session. No node: no peer has one.
func (i *Inventory) elsewhere(id job.MinionID) (node job.NodeID, session int64) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	e := i.entries[id]
	if e == nil {
		return "", 0
	}
	at := highest(place{}, e.places)
	return at.node, at.session
}

// described returns the freshest description of a minion, nil if there is none.
func (e *entry) described() *job.Minion { return e.view }

// see makes the view of an entry: its labels are those that were granted, and
// what it says beyond them are requests.
func (i *Inventory) see(e *entry) *job.Minion {
	said := e.local
	if said == nil {
		said = e.stored
	}
	if said == nil {
		return nil
	}
	m := *said
	m.Labels, m.Requested = e.granted, nil
	for k, v := range said.Labels {
		if has, ok := e.granted[k]; ok && (i.trusting || has == v) {
			continue
		}
		if i.trusting {
			if len(e.granted) == 0 {
				m.Labels = said.Labels
				break
			}
			m.Labels = maps.Clone(said.Labels)
			maps.Copy(m.Labels, e.granted)
			break
		}
		if m.Requested == nil {
			m.Requested = map[string]string{}
		}
		m.Requested[k] = v
	}
	return &m
}

// SetGrant takes the labels that a minion has been granted, in place of earlier
// ones; none: it has none.
func (i *Inventory) SetGrant(id job.MinionID, labels map[string]string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(id, func(e *entry) { e.granted = labels })
}

// names returns the names of labels that some minion has been granted. mu is held.
func (i *Inventory) names() map[string]struct{} {
	if i.labelled == nil {
		i.labelled = map[string]struct{}{}
		for _, e := range i.entries {
			for k := range e.granted {
				i.labelled[k] = struct{}{}
			}
			if m := e.described(); i.trusting && m != nil {
				for k := range m.Labels {
					i.labelled[k] = struct{}{}
				}
			}
		}
	}
	return i.labelled
}

// change runs f on the minion's entry and deals with what changed. mu is held. The
// caller tells moved and out of what it returns, without mu.
func (i *Inventory) change(id job.MinionID, f func(*entry)) (moved, out bool) {
	e := i.entries[id]
	if e == nil {
		e = &entry{leaving: i.ghosts[id]}
		i.entries[id] = e
		delete(i.ghosts, id)
	}
	before, wasOut := i.whereabouts(e), i.isOut(e)
	was, had := e.described(), e.granted
	f(e)
	e.view = i.see(e)
	after := i.whereabouts(e)
	if before.node != "" && after.node == "" {
		e.left = time.Now()
		i.absences.Add(1)
	}
	if after.node != "" {
		e.left = time.Time{}
	}
	if e.stored != nil || after.node != "" {
		e.forgotten = false
	}
	if e.stored == nil && e.local == nil && len(e.places) == 0 && e.revoked.IsZero() && len(e.granted) == 0 {
		delete(i.entries, id)
		i.haunt(id, e.leaving)
	}
	now := e.described()
	regranted := !maps.Equal(had, e.granted)
	relabelled := was == nil != (now == nil) || was != nil && now != nil &&
		(!maps.Equal(was.Labels, now.Labels) || !maps.Equal(was.Facts, now.Facts))
	if (before.node == "") != (after.node == "") || before.trouble != after.trouble || relabelled || regranted || wasOut != i.isOut(e) {
		i.matches, i.others, i.sorted = nil, nil, nil
	}
	if regranted || i.trusting && relabelled {
		i.labelled = nil
	}
	return before.node != after.node, !wasOut && i.isOut(e)
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
			i.absences.Add(1)
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

// revoked reports whether nothing more will be heard of a minion, since its
// certificate was revoked.
func (i *Inventory) revoked(id job.MinionID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	e := i.entries[id]
	return e != nil && i.isOut(e)
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
		hasMoved, isOut := i.change(id, func(e *entry) {
			e.places = slices.DeleteFunc(e.places, func(p place) bool { return p.bucketKey == key })
			if session.Session != 0 {
				e.places = append(e.places, place{key, session.Session, session.Trouble, session.Since, session.Opened})
			}
		})
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
		d := e.described()
		if d == nil {
			continue
		}
		m := *d
		if e.stored != nil && !e.stored.Since.IsZero() {
			m.Since = e.stored.Since
		}
		at := i.whereabouts(e)
		m.Node, m.ConnectedSince = at.node, at.opened
		if u, is := i.uncontrollable(m.ID, e); is {
			m.Trouble, m.TroubleSince = u.Reason, u.Since
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b job.Minion) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// place returns the node at which a minion is connected, empty when at none.
func (i *Inventory) place(id job.MinionID) job.NodeID {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if e := i.entries[id]; e != nil {
		return i.whereabouts(e).node
	}
	return ""
}

// session returns the highest session that is known of a minion.
func (i *Inventory) session(id job.MinionID) int64 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if e := i.entries[id]; e != nil {
		return i.whereabouts(e).session
	}
	return 0
}

// stored returns what the cluster's state says of a minion.
func (i *Inventory) stored(id job.MinionID) (job.Minion, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if e := i.entries[id]; e != nil && e.stored != nil {
		return *e.stored, true
	}
	return job.Minion{}, false
}

func (i *Inventory) setLocal(m job.Minion, epoch int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	// Whatever was held against an earlier session is not held against this one.
	i.change(m.ID, func(e *entry) { e.local, e.epoch, e.trouble, e.since = &m, epoch, "", time.Time{} })
}

func (i *Inventory) clearLocal(id job.MinionID, epoch int64) {
	i.mu.Lock()
	_, out := i.change(id, func(e *entry) {
		if e.epoch == epoch {
			e.local, e.epoch, e.trouble = nil, 0, ""
		}
	})
	i.mu.Unlock()
	if out {
		i.out(id)
	}
}

// redescribe replaces labels and facts of a minion in its session here.
func (i *Inventory) redescribe(id job.MinionID, epoch int64, labels, facts map[string]string) (m job.Minion, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(id, func(e *entry) {
		if e.local == nil || e.epoch != epoch {
			return
		}
		m, ok = *e.local, true
		m.Labels, m.Facts = labels, facts
		fresh := m
		e.local = &fresh
	})
	return m, ok
}

// setTrouble takes why a minion with a session here gets no orders.
func (i *Inventory) setTrouble(p Present) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change(p.ID, func(e *entry) {
		if e.local != nil && e.epoch == p.Session {
			e.trouble, e.since = p.Trouble, p.Since
		}
	})
}

// value returns a minion's value of a label or, failing that, of a fact that has
// no label's name.
func (i *Inventory) value(id job.MinionID, key string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.entries[id]
	if e == nil || e.described() == nil {
		return ""
	}
	if v, ok := e.described().Labels[key]; ok {
		return v
	}
	if _, label := i.names()[key]; label && !target.IsHostFact(key) {
		return ""
	}
	return e.described().Facts[key]
}

func (i *Inventory) setRunning(id job.MinionID, n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.entries[id]; e != nil && e.local != nil {
		e.local.Running = n
		if e.view != nil {
			e.view.Running = n
		}
	}
}

// count returns how many minions are known, and how many are connected anywhere.
func (i *Inventory) count() (known, connected int) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, e := range i.entries {
		if e.described() != nil {
			known++
		}
		if i.whereabouts(e).node != "" {
			connected++
		}
	}
	return known, connected
}
