package worker

import "time"

// serverClock tells the servers' time, by the monotonic clock, so that a step
// of this host's clock decides nothing.
type serverClock struct {
	base, at time.Time
}

// set takes the time that a server has told in answer to something that was sent
// at sent. It was told in between, so half the way back is how far it may be off.
func (c *serverClock) set(server, sent, received time.Time) {
	c.base, c.at = server, sent.Add(received.Sub(sent)/2)
}

// skew returns how far this host's wall clock, which says now, is ahead of the
// server's. Zero: no server has told its time yet.
func (c *serverClock) skew(now time.Time) time.Duration {
	if !c.valid() {
		return 0
	}
	return now.Round(0).Sub(c.base.Add(now.Sub(c.at)))
}

// valid reports whether a server has told its time yet.
func (c *serverClock) valid() bool { return !c.at.IsZero() }

func (c *serverClock) now() time.Time {
	if !c.valid() {
		return time.Now().UTC()
	}
	return c.base.Add(time.Since(c.at))
}
