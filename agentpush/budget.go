package agentpush

import (
	"sync"
	"sync/atomic"
	"time"
)

// Budgets of what a node holds in memory, or writes, for what minions have sent:
// for one of them, and for all. Within the ranges of their fields they can still
// say much, and often.
const (
	// readerBytes bounds the output that waits for one reader, outputBytes that
	// for all readers of a node.
	readerBytes = 2 << 20
	outputBytes = 128 << 20
	// textBytes bounds the texts that wait for one session's stream; the largest
	// text fits twice. allTextBytes is for all sessions.
	textBytes    = 1 << 20
	allTextBytes = 256 << 20
	// sessionSharedBytes bounds the answers to a minion's tasks that wait for its stream,
	// sharedBytes those of all sessions.
	sessionSharedBytes = 2 << 20
	sharedBytes        = 64 << 20
	// waitingBytes bounds the reports of one minion that wait for an owner of
	// their shards, allWaitingBytes those of all, and linkReportBytes those that
	// wait for one peer.
	waitingBytes    = 4 << 20
	allWaitingBytes = 64 << 20
	linkReportBytes = 64 << 20
	// describeBurst descriptions of one minion are stored at once, then one every
	// describeEvery, the newest. describeRate is how many bytes a node stores per
	// second for all, describeAhead how many at once.
	describeBurst = 3
	describeEvery = time.Minute
	describeRate  = 4 << 20
	describeAhead = 16 << 20
	// saidBurst is how often a minion's word on itself (labels and facts; what
	// troubles it) counts at once, then once every saidEvery: the newest.
	saidBurst = 8
	saidEvery = 5 * time.Second
)

// budget counts bytes that are held. The zero value holds any number.
type budget struct {
	held  atomic.Int64
	limit int64
}

// take holds n bytes if they fit.
func (b *budget) take(n int) bool {
	if held := b.held.Add(int64(n)); b.limit > 0 && held > b.limit {
		b.held.Add(int64(-n))
		return false
	}
	return true
}

// give lets go of n bytes.
func (b *budget) give(n int) { b.held.Add(int64(-n)) }

// allowance lets something happen burst times at once, and once per every from
// then on. Its user locks it.
type allowance struct {
	burst float64
	every time.Duration
	left  float64
	at    time.Time
}

func newAllowance(burst int, every time.Duration, now time.Time) allowance {
	return allowance{burst: float64(burst), every: every, left: float64(burst), at: now}
}

// fill counts the time that has passed.
func (a *allowance) fill(now time.Time) {
	if passed := now.Sub(a.at); passed > 0 {
		a.left = min(a.burst, a.left+float64(passed)/float64(a.every))
		a.at = now
	}
}

// use reports whether it may happen now, and counts it.
func (a *allowance) use(now time.Time) bool {
	a.fill(now)
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// next is when it may happen again, as far as is known by now.
func (a *allowance) next() time.Time {
	return a.at.Add(time.Duration(max(1-a.left, 0) * float64(a.every)))
}

// full reports whether as much may happen as ever.
func (a *allowance) full(now time.Time) bool {
	a.fill(now)
	return a.left >= a.burst
}

// weighed are bytes that wait, by minion. The zero value is not ready.
type weighed struct {
	mu sync.Mutex
	// mu guards what follows.
	of      map[string]int
	all     int
	most    int
	mostAll int
}

func newWeighed(most, mostAll int) *weighed {
	return &weighed{of: map[string]int{}, most: most, mostAll: mostAll}
}

// take counts n bytes of a minion if they fit.
func (w *weighed) take(minion string, n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[minion]+n > w.most || w.all+n > w.mostAll {
		return false
	}
	w.of[minion] += n
	w.all += n
	return true
}

// give lets go of n bytes of a minion.
func (w *weighed) give(minion string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all -= n
	if w.of[minion] -= n; w.of[minion] <= 0 {
		delete(w.of, minion)
	}
}
