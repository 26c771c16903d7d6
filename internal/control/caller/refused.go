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

// BusyError is a request that was not looked at, as there were too many.
type BusyError struct {
	// RetryAfter is when it may come again.
	RetryAfter time.Duration
	// Why says of what there were too many. Empty: of wrong credentials.
	Why string
}

// Error implements error.
func (e *BusyError) Error() string {
	why := e.Why
	if why == "" {
		why = "too many wrong credentials came from this address"
	}
	return fmt.Sprintf("%s; try again in %s", why, e.RetryAfter.Round(time.Second)+time.Second)
}

// SlowError is a request that was given up, as its sender did not go on.
type SlowError struct {
	// Why tells it to people.
	Why string
}

// Error implements error.
func (e *SlowError) Error() string { return e.Why }
