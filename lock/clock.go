package lock

import (
	"time"

	"github.com/carillon-cron/carillon/internal/boottime"
)

// clock tells the time since some fixed instant. It never goes back, and it
// goes on while the machine is suspended: a lease does not wait for us to wake.
type clock func() time.Duration

// wakeEvery is how often a wait for a deadline looks at the clock again. Timers
// of Go stop in suspend, the clock does not.
const wakeEvery = 100 * time.Millisecond

// untilDeadline sleeps until the clock may have reached deadline, or a while
// less, or done is closed. It returns false when done is closed.
func (c clock) untilDeadline(deadline time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(min(deadline-c(), wakeEvery))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// systemClock is the machine's: see package boottime. Where it may stand still,
// which is not on Linux, only fencing is safe.
func systemClock() clock { return boottime.Now }
