package scheduler

import (
	"time"

	"github.com/carillon-cron/carillon/schedule"
)

// PlanTimer is a shard's timer heap on its own: no etcd, no minions. It is what
// the benchmarks measure. It is not safe for concurrent use.
type PlanTimer struct {
	timers timers
}

// Add puts a schedule into the timer; its first instant is the one after t.
func (p *PlanTimer) Add(set schedule.Set, t time.Time) {
	e := &entry{set: set}
	p.timers.set(e, e.nextAfter(t.UnixNano()))
}

// Fire calls fn for all that is due at now and returns when the next is due;
// false when nothing ever is.
func (p *PlanTimer) Fire(now time.Time, fn func()) (time.Time, bool) {
	for {
		e, at, ok := p.timers.top()
		if !ok {
			return time.Time{}, false
		}
		if at > now.UnixNano() {
			return time.Unix(0, at), true
		}
		fn()
		p.timers.set(e, e.nextAfter(at))
	}
}
