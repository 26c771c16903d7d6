package agentpush

import (
	"github.com/carillon-cron/carillon/job"
)

// locals are the minions with a session at this node: what it says of them is known
// at once, and better than by what is written of it.
type locals struct{ *roster }

// open takes what a minion says of itself in a session that begins.
func (l locals) open(m job.Minion, epoch int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Whatever was held against an earlier session is not held against this one.
	l.change(m.ID, func(e *entry) {
		e.local, e.here = &m, place{bucketKey: bucketKey{node: l.node}, session: epoch, opened: m.Since}
	})
}

// close forgets a session that has ended, unless a later one has begun.
func (l locals) close(id job.MinionID, epoch int64) {
	l.mu.Lock()
	_, out := l.change(id, func(e *entry) {
		if e.here.session == epoch {
			e.local, e.here = nil, place{}
		}
	})
	l.mu.Unlock()
	if out {
		l.out(id)
	}
}

// redescribe replaces labels and facts of a minion in its session here.
func (l locals) redescribe(id job.MinionID, epoch int64, labels, facts map[string]string) (m job.Minion, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(id, func(e *entry) {
		if e.local == nil || e.here.session != epoch {
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
func (l locals) setTrouble(p Present) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(p.ID, func(e *entry) {
		if e.local != nil && e.here.session == p.Session {
			e.here.trouble, e.here.since = p.Trouble, p.Since
		}
	})
}

// setRunning takes how many tasks a minion says that it runs.
func (l locals) setRunning(id job.MinionID, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[id]; e != nil && e.local != nil {
		e.local.Running = n
		if e.view != nil {
			e.view.Running = n
		}
	}
}

// running returns how many tasks a minion with a session here runs, as it has
// said last.
func (l locals) running(id job.MinionID) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e := l.entries[id]; e != nil && e.local != nil {
		return e.local.Running
	}
	return 0
}
