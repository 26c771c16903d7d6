package caller

import (
	"fmt"
	"time"
)

// RefusedError is a credential that is not good. Its text says why, as far as who
// shows it may know, and repeats nothing of it.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// BusyError is a credential that was not looked at, as too many were wrong.
type BusyError struct {
	// RetryAfter is when it may be shown again.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("too many wrong credentials came from this address; try again in %s", e.RetryAfter)
}
