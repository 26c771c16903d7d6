package scheduler

import (
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// deadlines are the open fires of a shard by when they are to be looked at, and those
// that the node has taken up (package fair).
type deadlines struct {
	wakeups timers.Wakeups[*fire]
	// line are those for which that has come.
	line fair.Line[*fire]
	// nodeLoad is what the node has taken up, tookUp the shard's part of it.
	nodeLoad *fair.Load
	tookUp   int64
}

// reconcileAt has a fire looked at at an instant, or earlier if that was asked for
// before.
func (d *deadlines) reconcileAt(f *fire, at int64) {
	if f.ended() || f.turn.Waits() || f.wake != 0 && f.wake <= at {
		return
	}
	f.wake = at
	f.wakeup.Of = f
	d.wakeups.Set(&f.wakeup, timers.Rank{At: at, Instant: f.id.At, Period: f.e.timer.Between()})
}

// forget has nobody look at a fire any more.
func (d *deadlines) forget(f *fire) { d.wakeups.Remove(&f.wakeup) }

// nextWoken returns the next fire that is to be looked at by now.
func (d *deadlines) nextWoken(now int64) *fire {
	for d.wakeups.Top() <= now {
		f := d.wakeups.Pop()
		f.turn.Of = f
		d.line.Add(&f.e.ready, &f.turn)
	}
	for f, ok := d.line.Next(); ok; f, ok = d.line.Next() {
		if !f.ended() {
			f.wake = 0
			return f
		}
	}
	return nil
}

// takeUp counts fires as part of the node's load.
func (d *deadlines) takeUp(fires ...*fire) {
	for _, f := range fires {
		if !f.counted {
			f.counted = true
			d.tookUp++
			d.nodeLoad.Add(1)
		}
	}
}

// putDown counts a fire no more.
func (d *deadlines) putDown(f *fire) {
	if f.counted {
		f.counted = false
		d.tookUp--
		d.nodeLoad.Add(-1)
	}
}

// isFull reports whether the node takes nothing up now.
func (d *deadlines) isFull(now int64) bool { return d.nodeLoad.Full(d.tookUp, now) }

// turnWork is how many fires, and how many reports, a shard looks at before
// others have the processor: a millisecond's work, or two.
const turnWork = 64

// reconcileSome reconciles fires that are ready. It reports whether there were any.
func (s *shard) reconcileSome(now int64) bool {
	for n := range turnWork {
		f := s.nextWoken(now)
		if f == nil {
			return n > 0
		}
		s.reconcile(f, now)
		if !f.ended() {
			s.putDown(f)
		}
	}
	return true
}

// setNext puts a job at the instant that is planned next; never: there is none.
func (s *shard) setNext(e *entry, at int64) {
	e.timer.Of = e
	s.timers.Set(&e.timer, at)
}

// never is the instant of what does not come.
const never = timers.Never
