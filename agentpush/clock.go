package agentpush

import (
	"fmt"
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

// measure notes how far a minion's clock is ahead of this node's, or more: what the
// message took on its way is not in it.
func (s *session) measure(wallClock, now int64) {
	if wallClock != 0 {
		s.ahead.Store(wallClock - now)
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
func (s *session) offset(now int64, mono time.Duration) int64 {
	least := s.ahead.Load()
	if r := s.reading.Load(); r != nil {
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

// mend sets the times of a report right.
func (h *Hub) mend(r *agentpb.Report, ahead, now int64) {
	w := h.cfg.windowOf(r.GetTask().GetAt(), now)
	started, ended := w.mend(r.GetStartedAt(), ahead), w.mend(r.GetEndedAt(), ahead)
	if ended != 0 && ended < started {
		ended = started
	}
	if started == r.GetStartedAt() && ended == r.GetEndedAt() {
		return
	}
	r.StartedAt, r.EndedAt = started, ended
	note := fmt.Sprintf("its times were set right: the minion's clock is %v off", time.Duration(ahead).Round(time.Millisecond))
	if r.GetReason() != "" {
		note = "; " + note
	}
	r.Reason = agentpb.Cut(r.GetReason(), agentpb.MaxReason-len(note)) + note
}
