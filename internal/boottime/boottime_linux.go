package boottime

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_BOOTTIME. Go's own monotonic clock stands still while the
// machine is suspended.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Not possible: every kernel that Go runs on has this clock. In the far
		// future every lease has ended, which is the safe side.
		return math.MaxInt64
	}
	return time.Duration(ts.Nano())
}
