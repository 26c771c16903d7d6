package agentpush

import "time"

// Grace is how long after its time an open offer may still be answered.
const Grace = grace

// SweepAt does what the hub does from time to time, as if it were later.
func (h *Hub) SweepAt(t time.Time) { h.sweepOnce(t.UnixNano(), true) }
