package scheduler

import "github.com/carillon-cron/carillon/scheduler/timers"

// attendAt asks for attention at an instant, or earlier if that was asked for
// before.
func (s *shard) attendAt(f *fire, at int64) {
	if f.ended() || f.turn.Waits() || f.wake != 0 && f.wake <= at {
		return
	}
	f.wake = at
	f.wakeup.Of = f
	s.wakeups.Set(&f.wakeup, timers.Rank{At: at, Instant: f.id.At, Period: f.e.timer.Between()})
}

// nextWoken returns the next fire that wants attention by now.
func (s *shard) nextWoken(now int64) *fire {
	for s.wakeups.Top() <= now {
		f := s.wakeups.Pop()
		f.turn.Of = f
		s.line.Add(&f.e.ready, &f.turn)
	}
	for f, ok := s.line.Next(); ok; f, ok = s.line.Next() {
		if !f.ended() {
			f.wake = 0
			return f
		}
	}
	return nil
}

// turnWork is how many fires, and how many reports, a shard attends to before
// others have the processor: a millisecond's work, or two.
const turnWork = 64

// attendSome attends to fires that are ready. It reports whether there were any.
func (s *shard) attendSome(now int64) bool {
	for n := range turnWork {
		f := s.nextWoken(now)
		if f == nil {
			return n > 0
		}
		s.attend(f, now)
		if !f.ended() {
			s.putDown(f)
		}
	}
	return true
}

// takeUp counts fires as part of the node's load.
func (s *shard) takeUp(fires ...*fire) {
	for _, f := range fires {
		if !f.counted {
			f.counted = true
			s.tookUp++
			s.deps.load.Add(1)
		}
	}
}

// putDown counts a fire no more.
func (s *shard) putDown(f *fire) {
	if f.counted {
		f.counted = false
		s.tookUp--
		s.deps.load.Add(-1)
	}
}

// setNext puts a job at the instant that is planned next; never: there is none.
func (s *shard) setNext(e *entry, at int64) {
	e.timer.Of = e
	s.timers.Set(&e.timer, at)
}

// never is the instant of what does not come.
const never = timers.Never
