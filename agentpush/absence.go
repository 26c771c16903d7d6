package agentpush

import (
	"sync/atomic"
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

// absences is how minions left that are connected nowhere, and since when that is
// known. The roster's mu guards it.
type absences struct {
	// count counts what Hub.Absences tells of; it needs no lock.
	count atomic.Uint64
	// current is since when all that is fed is complete; zero: it is not yet.
	current time.Time
	// ghosts are how minions left of which nothing else is known.
	ghosts map[job.MinionID]leaving
}

// haunt keeps how a minion left of which nothing else is known.
func (a *absences) haunt(id job.MinionID, l leaving) {
	if l == (leaving{}) {
		return
	}
	if len(a.ghosts) >= mostGhosts {
		for old, l := range a.ghosts {
			if time.Since(l.left) > ghostKeep {
				delete(a.ghosts, old)
			}
		}
	}
	a.ghosts[id] = l
}

// back returns how a minion left of which something is known again.
func (a *absences) back(id job.MinionID) leaving {
	l := a.ghosts[id]
	delete(a.ghosts, id)
	return l
}

// of tells since when a minion is connected nowhere that left so.
func (a *absences) of(l leaving) job.Absence {
	now := time.Now()
	since := now
	if !a.current.IsZero() {
		since = a.current
		if l.left.After(since) {
			since = l.left
		}
	}
	return job.Absence{Since: since.UTC(), For: now.Sub(since), Forgotten: l.forgotten}
}
