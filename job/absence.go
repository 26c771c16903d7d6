package job

import "time"

// Absence tells of a minion that is connected to no node.
type Absence struct {
	// Since is when it was connected last, as far as the node that tells can know:
	// one that was cut off from etcd, or has just started, counts from when its view
	// of the minions was complete.
	Since time.Time
	// For is how long ago that is, on a clock that does not step.
	For time.Duration
	// Forgotten: an operator had it forgotten since.
	Forgotten bool
}
