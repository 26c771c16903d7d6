package agentpush

import (
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/clock"
)

// A minion's clock may be wrong without its fault, so a report is not refused for
// its times. What became of the task must be true, and no instant may be one at
// which it cannot have been: not long before the task was due, and not after the
// report has come. So times are told by the clock of the minion's node: those of a
// minion whose clock is off by more than a little are set right by as much, as this
// node has measured it. What lies outside of that window nevertheless is moved to
// the nearest end. The report's reason says so.

// minionClock is what is known of the clock of a session's minion.
type minionClock struct {
	// lease bounds how far the clock of the orders' HoldUntil is behind ours. The
	// channel's mutex guards it.
	lease agentpb.Ahead
	// ahead is how far the minion's clock is ahead of ours, in nanoseconds.
	ahead atomic.Int64
	// said is the minion's wall clock as it said hello, welcomed the time that it was
	// told in answer, and welcomedAt when that was, on the monotonic clock.
	said, welcomed int64
	welcomedAt     time.Duration
	// reading is what is known of the minion's wall clock. Nil: nothing.
	reading atomic.Pointer[clock.Reading]
}

// measure notes how far a minion's clock is ahead of this node's, or more: what the
// message took on its way is not in it.
func (m *minionClock) measure(wallClock, now int64) {
	if wallClock != 0 {
		m.ahead.Store(wallClock - now)
	}
}

// window bounds the times of a task's report.
type window struct{ from, to int64 }

// windowOf returns when a task that was due at an instant can have started and
// ended, as of now. One that is due in the future has no beginning: a node whose
// clock was wrong has planned it.
func (c Config) windowOf(at, now int64) window {
	w := window{at - int64(c.MaxSkew), now + int64(c.MaxSkew)}
	if w.from > now {
		w.from = 0
	}
	return w
}

// mostOnWay is how long a message of a minion may have been on its way. On a busy
// machine, with thousands of minions that connect at once, it is seconds.
const mostOnWay = time.Minute

// offset returns how far the minion's clock is ahead of this node's, which shows now;
// 0 where it may be right, since what was measured may be the way of a message. So a
// step back by less than mostOnWay is only bounded by the window.
func (m *minionClock) offset(now int64, mono time.Duration) int64 {
	least := m.ahead.Load()
	if r := m.reading.Load(); r != nil {
		ahead := r.Origin + int64(mono) - now
		stepped := least > ahead+int64(r.Err+clock.Warn)
		if !stepped && (r.Err < clock.Warn/2 || time.Duration(ahead).Abs() > r.Err) {
			return ahead
		}
	}
	if least < 0 && least > -int64(mostOnWay) {
		return 0
	}
	return least
}

// mend returns a time that lies within the window, for one that need not. 0 stays
// what it is: none.
func (w window) mend(t, ahead int64) int64 {
	right := t - ahead
	switch {
	case t == 0:
		return t
	case time.Duration(ahead).Abs() >= clock.Warn && right >= w.from && right <= w.to:
		return right
	}
	return max(w.from, min(t, w.to))
}

// read works out where a minion's clock has its origin. The minion tells how
// far it is ahead of the welcome, reckoned from the middle of the round trip from
// its hello on. What it said then, before that, bounds half of the round trip. One
// whose clock has stepped since is off by the step, and counts no more.
func (m *minionClock) read(b *agentpb.Beat) {
	if b.GetWallClock() == 0 || m.said == 0 {
		return
	}
	then := m.welcomed + b.GetClockSkew()*int64(time.Millisecond) // on its clock, at the welcome
	half := time.Duration(then - m.said).Abs()
	m.reading.Store(&clock.Reading{Origin: then - int64(m.welcomedAt), Err: half + time.Millisecond})
}
