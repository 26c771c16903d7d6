package scheduler

// ready are the fires whose time to be attended to has come. They are served by
// turns: each job has one before another has its second, and every other turn is
// that of a job that has come last. So a herd that is due in one instant holds up
// neither the jobs of the instants after it, nor these the herd. The fires of a job
// come in their order. The zero value is ready for use.
type ready struct {
	// line are the jobs that wait for a turn, as they came, from head on.
	line []*entry
	head int
	// later are those that have had a turn and wait for the next; turns counts those
	// of the line's front since they were let in again.
	later []*entry
	turns int
	// jobs counts those in line and later.
	jobs int
	// last: the next turn is that of a job that has come last.
	last bool
}

// letIn is after how many turns of the front those are let in again that have had
// theirs: they wait for no longer than this, however many come.
const letIn = 1024

// add has a fire wait for a turn of its job. The fires of a job that wait are a
// ring, of which the job knows the last.
func (r *ready) add(f *fire) {
	e := f.e
	if e.ready == nil {
		f.next = f
		r.line = append(r.line, e)
		r.jobs++
	} else {
		f.next, e.ready.next = e.ready.next, f
	}
	e.ready = f
}

// any reports whether fires wait.
func (r *ready) any() bool { return r.jobs > 0 }

// next returns the fire whose turn it is; nil: none waits.
func (r *ready) next() *fire {
	if r.jobs == 0 {
		return nil
	}
	if r.head == len(r.line) || r.turns >= letIn {
		r.line = append(r.later, r.line[r.head:]...)
		r.later, r.head, r.turns = nil, 0, 0
	}
	var e *entry
	if r.last {
		e = r.line[len(r.line)-1]
		r.line[len(r.line)-1] = nil
		r.line = r.line[:len(r.line)-1]
	} else {
		e = r.line[r.head]
		r.line[r.head] = nil
		r.head++
		r.turns++
	}
	r.last = !r.last
	last := e.ready
	f := last.next
	if f == last {
		e.ready = nil
		r.jobs--
	} else {
		last.next = f.next
		r.later = append(r.later, e)
	}
	f.next = nil
	return f
}

// turnWork is how many fires, and how many reports, a shard attends to before
// others have the processor: a millisecond's work, or two.
const turnWork = 64

// attendSome attends to fires that are ready. It reports whether there were any.
func (s *shard) attendSome(now int64) bool {
	for n := range turnWork {
		f := s.nextAppointment(now)
		if f == nil {
			return n > 0
		}
		s.attend(f, now)
		if !f.ended {
			s.putDown(f)
		}
	}
	return true
}
