package agentpush

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// leaving is how a minion left.
type leaving struct {
	// left is when it was seen to be connected nowhere any more; zero: it is
	// connected, or never was while this node lives. forgotten: it was known, and
	// an operator had it forgotten.
	left      time.Time
	forgotten bool
}

// Ghosts that are older than ghostKeep go when there are more than mostGhosts.
const (
	ghostKeep  = 24 * time.Hour
	mostGhosts = 1000
)

// haunt keeps how a minion left of which nothing else is known. mu is held.
func (i *Inventory) haunt(id job.MinionID, l leaving) {
	if l == (leaving{}) {
		return
	}
	if len(i.ghosts) >= mostGhosts {
		for old, l := range i.ghosts {
			if time.Since(l.left) > ghostKeep {
				delete(i.ghosts, old)
			}
		}
	}
	i.ghosts[id] = l
}

// SetCurrent takes that what the cluster's state says of minions is complete and
// current from now on. Before, minions may have come that were not seen here: an
// etcd that cannot be reached is no absence of theirs. So none counts as absent
// for longer than since then. Until the first call none counts at all.
func (i *Inventory) SetCurrent() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = time.Now()
	i.absences.Add(1)
}

// absence tells whether a minion is connected to no node, and since when.
func (i *Inventory) absence(id job.MinionID) (job.Absence, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	e := i.entries[id]
	if e != nil && i.whereabouts(e).node != "" {
		return job.Absence{}, false
	}
	l := i.ghosts[id]
	if e != nil {
		l = e.leaving
	}
	now := time.Now()
	since := now
	if !i.current.IsZero() {
		since = i.current
		if l.left.After(since) {
			since = l.left
		}
	}
	return job.Absence{Since: since.UTC(), For: now.Sub(since), Forgotten: l.forgotten}, true
}
