//go:build !linux

package lock

import "time"

// systemClock falls back to Go's monotonic clock, which may stand still while
// the machine is suspended; only fencing is safe then.
func systemClock() clock {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
