package agentpush

import (
	"maps"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// roster is all that this node knows of minions, under one lock: what one part
// writes, all others see at once, and each question is one look. The parts are
// Inventory, which is fed, locals, locations and targets.
type roster struct {
	node job.NodeID
	// trusting: connections prove nothing, so what a minion says of itself counts
	// as granted.
	trusting bool
	// out is told of minions that are out of reach for good, without mu.
	out func(job.MinionID)

	mu sync.RWMutex
	// mu guards what follows.

	entries  map[job.MinionID]*entry
	found    found
	absences absences
}

// entry is one minion. It exists while anything is known of it.
type entry struct {
	description
	whereabouts
	leaving
	// revoked is when its certificates were revoked; zero: they are good.
	revoked time.Time
}

// isOut reports whether nothing more will be heard of a minion: it is connected
// nowhere, and its certificate was revoked. One that is connected has shown a
// certificate that is good, whatever is known here by now.
func (e *entry) isOut() bool { return !e.revoked.IsZero() && e.at().node == "" }

// uncontrollable tells whether the minion gets no orders, and why.
func (e *entry) uncontrollable(id job.MinionID) (job.Uncontrollable, bool) {
	at := e.at()
	switch {
	case e.isOut():
		return job.Uncontrollable{Minion: id, Reason: "its certificate was revoked", Since: e.revoked}, true
	case at.node == "":
		return job.Uncontrollable{Minion: id, Reason: "not connected", Since: e.left.UTC()}, true
	}
	return job.Uncontrollable{Minion: id, Reason: at.trouble, Since: at.since}, at.trouble != ""
}

// change runs f on the minion's entry and deals with what changed. mu is held. The
// caller tells moved and out of what it returns, without mu.
func (r *roster) change(id job.MinionID, f func(*entry)) (moved, out bool) {
	e := r.entries[id]
	if e == nil {
		e = &entry{leaving: r.absences.back(id)}
		r.entries[id] = e
	}
	before, wasOut := e.at(), e.isOut()
	was, had := e.view, e.granted
	f(e)
	e.view = e.see(r.trusting)
	after := e.at()
	if before.node != "" && after.node == "" {
		e.left = time.Now()
		r.absences.count.Add(1)
	}
	if after.node != "" {
		e.left = time.Time{}
	}
	if e.stored != nil || after.node != "" {
		e.forgotten = false
	}
	if e.stored == nil && e.nowhere() && e.revoked.IsZero() && len(e.granted) == 0 {
		delete(r.entries, id)
		r.absences.haunt(id, e.leaving)
	}
	now := e.view
	regranted := !maps.Equal(had, e.granted)
	relabelled := was == nil != (now == nil) || was != nil && now != nil &&
		(!maps.Equal(was.Labels, now.Labels) || !maps.Equal(was.Facts, now.Facts))
	if (before.node == "") != (after.node == "") || before.trouble != after.trouble || relabelled || regranted || wasOut != e.isOut() {
		r.found.minionsChanged()
	}
	if regranted || r.trusting && relabelled {
		r.found.labelled = nil
	}
	return before.node != after.node, !wasOut && e.isOut()
}

// stored returns what the cluster's state says of a minion.
func (r *roster) stored(id job.MinionID) (job.Minion, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.entries[id]; e != nil && e.stored != nil {
		return *e.stored, true
	}
	return job.Minion{}, false
}

// revoked reports whether nothing more will be heard of a minion, since its
// certificate was revoked.
func (r *roster) revoked(id job.MinionID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.entries[id]
	return e != nil && e.isOut()
}

// absence tells whether a minion is connected to no node, and since when.
func (r *roster) absence(id job.MinionID) (job.Absence, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.entries[id]
	if e == nil {
		return r.absences.of(r.absences.ghosts[id]), true
	}
	if e.at().node != "" {
		return job.Absence{}, false
	}
	return r.absences.of(e.leaving), true
}
