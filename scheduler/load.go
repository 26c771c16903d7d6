package scheduler

import (
	"sync/atomic"
	"time"
)

// The bounds of a load, in fires.
const (
	// maxLoad is what a node takes up before it has done with some of it: what it does
	// in a few tenths of a second. What becomes due while a herd is being done waits
	// for so much at most, and then has its turn before the rest of the herd.
	maxLoad = 1 << 14
	// fairLoad is what a shard may take up however much the others have.
	fairLoad = 1 << 8
)

// load counts the fires that a node has taken up and not done with, which need
// nothing but the node, etcd and history to go on: they are planned and their time
// has not come to be attended to, or they have ended and are not in history. What
// waits for its minion, for its turn or for a later start does not count.
//
// When there are many, no more occurrences are planned (I23). What is due stays in
// the timers then, where it takes no room: one entry per job, however many of its
// instants have passed. So a node that is offered more than it can do does as much
// as it can, and what comes too late is a misfire. A nil load has no bound.
type load struct {
	held atomic.Int64
	// fullAt is when it was full last, in Unix nanoseconds.
	fullAt atomic.Int64
}

func (l *load) add(n int64) {
	if l != nil {
		l.held.Add(n)
	}
}

// full reports whether a shard that has taken up so many may take up no more now.
func (l *load) full(taken, now int64) bool {
	if l == nil || taken < fairLoad || l.held.Load() < maxLoad {
		return false
	}
	l.fullAt.Store(now)
	return true
}

// wasFull reports whether it has been full within a time.
func (l *load) wasFull(now int64, within time.Duration) bool {
	return l != nil && now-l.fullAt.Load() < int64(within)
}

// takeUp counts fires.
func (s *shard) takeUp(fires ...*fire) {
	for _, f := range fires {
		if !f.counted {
			f.counted = true
			s.tookUp++
			s.deps.load.add(1)
		}
	}
}

// putDown counts a fire no more.
func (s *shard) putDown(f *fire) {
	if f.counted {
		f.counted = false
		s.tookUp--
		s.deps.load.add(-1)
	}
}
