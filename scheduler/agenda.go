package scheduler

// agenda is a 4-ary min-heap of open fires by when they want attention: of those
// that want it together, the older instant first, and then that of the job which is
// due more seldom, as what comes last has its turn first (ready). A fire stands in it
// at most once, and not once it has ended: what is done with is not kept in memory by
// when it was to be looked after.
//
// Up and down are those of timers, written out: both heaps on one generic type took
// twice as long for each step (500 against 215 ns for a timer of a million), as a call
// of a type parameter's method is not inlined.
//
// It is not safe for concurrent use: each shard's goroutine owns one.
type agenda struct {
	items []appointment
}

// appointment repeats beside the fire what they are ordered by, so that sifting
// compares without a cache miss for each.
type appointment struct {
	at, instant, period int64
	f                   *fire
}

func (a *appointment) before(o *appointment) bool {
	switch {
	case a.at != o.at:
		return a.at < o.at
	case a.instant != o.instant:
		return a.instant < o.instant
	}
	return a.period > o.period
}

// top returns when the next fire wants attention; never: none does.
func (a *agenda) top() int64 {
	if len(a.items) == 0 {
		return never
	}
	return a.items[0].at
}

// set has a fire stand in the agenda at a time.
func (a *agenda) set(f *fire, at int64) {
	to := appointment{at: at, instant: f.id.At, period: f.e.between(), f: f}
	if f.noted == 0 {
		a.items = append(a.items, to)
		f.noted = len(a.items)
		a.up(len(a.items) - 1)
		return
	}
	i := f.noted - 1
	was := a.items[i]
	a.items[i] = to
	if to.before(&was) {
		a.up(i)
	} else {
		a.down(i)
	}
}

// pop takes the next fire out of the agenda.
func (a *agenda) pop() *fire {
	f := a.items[0].f
	a.remove(f)
	return f
}

// remove takes a fire out of the agenda, if it stands there.
func (a *agenda) remove(f *fire) {
	if f.noted == 0 {
		return
	}
	i, last := f.noted-1, len(a.items)-1
	f.noted = 0
	moved := a.items[last]
	a.items[last] = appointment{}
	a.items = a.items[:last]
	if i < last {
		a.items[i] = moved
		moved.f.noted = i + 1
		a.down(i)
		a.up(moved.f.noted - 1)
	}
	if cap(a.items) > agendaKeeps && len(a.items) < cap(a.items)/8 {
		a.items = append(make([]appointment, 0, len(a.items)*2), a.items...)
	}
}

// agendaKeeps is up to how many places an agenda keeps that it does not need: a
// herd needs many for a moment.
const agendaKeeps = 4096

func (a *agenda) up(i int) {
	it := a.items[i]
	for i > 0 {
		parent := (i - 1) / arity
		if !it.before(&a.items[parent]) {
			break
		}
		a.items[i] = a.items[parent]
		a.items[i].f.noted = i + 1
		i = parent
	}
	a.items[i] = it
	it.f.noted = i + 1
}

func (a *agenda) down(i int) {
	it, n := a.items[i], len(a.items)
	for {
		first := i*arity + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, n); c++ {
			if a.items[c].before(&a.items[least]) {
				least = c
			}
		}
		if !a.items[least].before(&it) {
			break
		}
		a.items[i] = a.items[least]
		a.items[i].f.noted = i + 1
		i = least
	}
	a.items[i] = it
	it.f.noted = i + 1
}

// attendAt asks for attention at an instant, or earlier if that was asked for
// before.
func (s *shard) attendAt(f *fire, at int64) {
	if f.ended || f.ready || f.wake != 0 && f.wake <= at {
		return
	}
	f.wake = at
	s.agenda.set(f, at)
}

// nextAppointment returns the next fire that wants attention by now.
func (s *shard) nextAppointment(now int64) *fire {
	for s.agenda.top() <= now {
		f := s.agenda.pop()
		f.ready = true
		s.turn.add(f)
	}
	for f := s.turn.next(); f != nil; f = s.turn.next() {
		f.ready = false
		if !f.ended {
			f.wake = 0
			return f
		}
	}
	return nil
}
