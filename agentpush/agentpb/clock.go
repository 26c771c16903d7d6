package agentpb

import "time"

// maxDrift is how much faster one machine's monotonic clock may run than
// another's. What keeps clocks in time slews them by no more.
const maxDrift = 0.0005

// Ahead bounds how far this process's monotonic clock is ahead of another's, by
// what the other tells of its own. The zero value knows nothing. It is not safe
// for use by several goroutines.
//
// A clock that was read before a message was sent, and ours, read after it has
// come, are further apart than they were at one moment, by what the message took.
// So the least difference of all messages is a bound, that ages by the drift.
type Ahead struct {
	known bool
	by    time.Duration
	at    time.Duration // on our clock
}

// Heard takes what the other's clock showed when it sent a message, and what ours
// shows after that message has come.
func (a *Ahead) Heard(theirs, ours time.Duration) {
	if theirs == 0 {
		return // of a release that tells none
	}
	by := ours - theirs
	if old, ok := a.Bound(ours); ok {
		by = min(by, old)
	}
	*a = Ahead{true, by, ours}
}

// Bound returns how far our clock, which shows now, is ahead of the other's, at
// most. It reports false while that is not known.
func (a *Ahead) Bound(now time.Duration) (time.Duration, bool) {
	return a.by + time.Duration(float64(now-a.at)*maxDrift), a.known
}

// Translate brings an end of a lease to the reader's clock: ahead is what the
// sender knows of the two clocks, absent when it knows nothing. The result is
// never later than the end, and never zero when there is one.
func Translate(until int64, ahead *int64) int64 {
	if until == 0 || ahead == nil {
		return 0
	}
	return max(until-*ahead, 1)
}
