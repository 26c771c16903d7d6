//go:build !linux

package boottime

import "time"

var start = time.Now() // what the clock counts from

// Now falls back to Go's monotonic clock, which may stand still while the machine
// is suspended, and counts from this process's start.
func Now() time.Duration { return time.Since(start) }
