package fair

import (
	"sync/atomic"
	"time"
)

// The bounds of a load, in fires.
const (
	// MaxLoad is what a node takes up before it has done with some of it: what it does
	// in a few tenths of a second. What becomes due while a herd is being done waits
	// for so much at most, and then has its turn before the rest of the herd.
	MaxLoad = 1 << 14
	// ShardLoad is what a shard may take up however much the others have.
	ShardLoad = 1 << 8
)

// Load counts the fires that a node has taken up and not done with, which need
// nothing but the node, etcd and history to go on: they are planned and their time
// has not come to be looked at, or they have ended and are not in history. What
// waits for its minion, for its turn or for a later start does not count.
//
// When there are many, no more occurrences are planned. What is due stays in the
// timers then, where it takes no room: one entry per job, however many of its
// instants have passed. So a node that is offered more than it can do does as much
// as it can, and what comes too late is a misfire.
//
// The zero value counts nothing; a nil Load has no bound. It may be used by many
// goroutines.
type Load struct {
	held atomic.Int64
	// fullAt is when it was full last, in Unix nanoseconds.
	fullAt atomic.Int64
}

// Add counts n fires, or so many less.
func (l *Load) Add(n int64) {
	if l != nil {
		l.held.Add(n)
	}
}

// Held returns how many it counts.
func (l *Load) Held() int64 {
	if l == nil {
		return 0
	}
	return l.held.Load()
}

// Full reports whether a shard that has taken up so many may take up no more now, in
// Unix nanoseconds.
func (l *Load) Full(taken, now int64) bool {
	if l == nil || taken < ShardLoad || l.held.Load() < MaxLoad {
		return false
	}
	l.fullAt.Store(now)
	return true
}

// WasFull reports whether it has been full within a time.
func (l *Load) WasFull(now int64, within time.Duration) bool {
	return l != nil && now-l.fullAt.Load() < int64(within)
}
