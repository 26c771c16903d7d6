package agentpush

import (
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// whereabouts is where a minion is connected.
type whereabouts struct {
	// here is its session at this node, without a node: it has none.
	here place
	// places are where peers say that it is.
	places []place
}

// place is a session of a minion.
type place struct {
	bucketKey
	session int64
	// trouble is why it gets no orders there, since then; empty: it does.
	trouble string
	since   time.Time
	opened  time.Time // since when it is connected there; zero: it is not known
}

// bucketKey names a part of the minions that are connected to a node.
type bucketKey struct {
	node   job.NodeID
	bucket int
}

// at returns the place of the minion's highest session; without a node: it has none.
func (w *whereabouts) at() place { return highest(w.here, w.places) }

// nowhere reports whether no session of the minion is known.
func (w *whereabouts) nowhere() bool { return w.here.node == "" && len(w.places) == 0 }

// replace puts a session in place of the one that a bucket had; session 0: it has
// none any more.
func (w *whereabouts) replace(key bucketKey, p Present) {
	w.places = slices.DeleteFunc(w.places, func(p place) bool { return p.bucketKey == key })
	if p.Session != 0 {
		w.places = append(w.places, place{key, p.Session, p.Trouble, p.Since, p.Opened})
	}
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

// locations tells where minions are connected.
type locations struct{ *roster }

// node returns the node at which a minion is connected, empty when at none.
func (l locations) node(id job.MinionID) job.NodeID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e := l.entries[id]; e != nil {
		return e.at().node
	}
	return ""
}

// session returns the highest session that is known of a minion.
func (l locations) session(id job.MinionID) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e := l.entries[id]; e != nil {
		return e.at().session
	}
	return 0
}

// elsewhere returns the peer that has the minion's highest session, and that
// session. No node: no peer has one.
func (l locations) elsewhere(id job.MinionID) (node job.NodeID, session int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.entries[id]
	if e == nil {
		return "", 0
	}
	at := highest(place{}, e.places)
	return at.node, at.session
}

// count returns how many minions are known, and how many are connected anywhere.
func (l locations) count() (known, connected int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, e := range l.entries {
		if e.view != nil {
			known++
		}
		if e.at().node != "" {
			connected++
		}
	}
	return known, connected
}
