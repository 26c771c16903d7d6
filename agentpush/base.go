package agentpush

import (
	"time"

	"go.uber.org/zap"
)

// base is what all parts of a hub work with: its settings, what the cluster looks
// like, the clocks, and where they tell people of what happens.
type base struct {
	cfg       Config
	directory Directory
	// now is the time, by the clock of most where the hub is told of it; clock is
	// that of the orders' HoldUntil.
	now   func() time.Time
	clock func() time.Duration
	log   *zap.Logger
	met   *metrics
}
