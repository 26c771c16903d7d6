package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// verdict derives a run's state and reason from its tasks'. Minions that were
// uncontrollable do not make a run fail in which another succeeded: the reason
// tells of them.
func verdict(tasks []*task) (job.State, string) {
	reports := make([]*job.Report, len(tasks))
	for i, t := range tasks {
		reports[i] = t.report
	}
	return verdictOf(reports)
}

func verdictOf(reports []*job.Report) (job.State, string) {
	worst := reports[0]
	count := map[job.State]int{}
	for _, r := range reports {
		count[r.State]++
		if r.State.WorseThan(worst.State) {
			worst = r
		}
	}
	state := worst.State
	if state == job.StateUncontrollable && count[job.StateSucceeded] > 0 {
		state = job.StateSucceeded
	}
	if len(reports) == 1 || count[job.StateSucceeded] == len(reports) {
		return state, worst.Reason
	}
	text := fmt.Sprintf("%s on %d of %d minions", worst.State, count[worst.State], len(reports))
	if worst.Reason != "" {
		text += fmt.Sprintf(", first %s: %s", worst.Task.Minion, worst.Reason)
	}
	return state, text
}

// end closes a fire: its run is recorded, the job's next fire may go on.
func (s *shard) end(f *fire, state job.State, reason string) {
	if f.ended() {
		return
	}
	wasOpen, ran := f.isOpen(), f.phase.Runs()
	s.proceed(f, phase.FireEnded)
	s.deadlines.forget(f)
	s.takeUp(f)
	f.e.recording++
	s.met.inFlight.Dec()
	s.met.endedAs(state)
	run := s.runOf(f, state, reason)
	f.run = &run
	s.pingEnd(f, state, reason)
	s.record(f)
	s.endAdmission(f)
	s.countFailure(f, f.outcome(state))
	l := f.queue()
	if !wasOpen {
		l.leave(f)
		return
	}
	l.open--
	if ran {
		l.running--
	}
	s.nextInQueue(l)
}

// record writes the run to history; then the fire is closed and its minions may
// forget it (I8).
func (s *shard) record(f *fire) {
	if !f.recovered || !slices.ContainsFunc(f.tasks, (*task).recalled) {
		s.writeRecord(f)
		return
	}
	// A minion has been told to forget a task, so an earlier owner has recorded the
	// run, and died before it could close it. That record says more.
	id := f.run.RunID
	asked := s.deps.bestEffort.do(func(ctx context.Context) {
		found, err := s.deps.Records.Get(ctx, id)
		s.do(func() {
			switch {
			case err == nil && found.State.Final():
				f.run = &found
				s.close(f)
			case err == nil || errors.Is(err, job.ErrNotFound):
				s.writeRecord(f)
			default:
				s.log.Warn("whether a run is recorded is not known yet", zap.String("run", string(id)), zap.Error(err))
				s.recordLater(f)
			}
		})
	})
	if !asked {
		s.recordLater(f)
	}
}

// recalled reports whether the task ended by what its minion remembers of it: its
// own report it repeats until it may forget it.
func (t *task) recalled() bool {
	r := t.report
	return r != nil && r.Known && !r.Spooled && (r.State.Started() || r.State == job.StateCancelled)
}

func (s *shard) recordLater(f *fire) {
	time.AfterFunc(recordRetry, func() { s.do(func() { s.record(f) }) })
}

// writeRecord has history keep the run.
func (s *shard) writeRecord(f *fire) {
	s.deps.History.Record(*f.run, func(err error) {
		s.do(func() {
			if err == nil {
				s.close(f)
				return
			}
			s.log.Warn("run not recorded, will be tried again", zap.String("run", string(f.run.RunID)), zap.Error(err))
			s.recordLater(f)
		})
	})
}

// close takes a recorded fire out of its slot.
func (s *shard) close(f *fire) {
	var acks []job.TaskID
	for _, t := range f.tasks {
		if t.report != nil && t.report.Spooled {
			acks = append(acks, f.taskID(t))
		}
	}
	if len(acks) > 0 {
		s.deps.Minions.Ack(acks)
	}
	s.putDown(f)
	f.e.recording--
	s.leaveSlot(f)
}

// leaveSlot takes a fire that is in history out of its slot.
func (s *shard) leaveSlot(f *fire) {
	delete(s.fires, f.id)
	s.ahead.end(f)
	s.leaveGate(f)
	if s.notices.ended(f) {
		return // it leaves with the write that has it told
	}
	s.quitSlot(f)
}

// quitSlot has a fire leave its slot of which people are told, if they are.
func (s *shard) quitSlot(f *fire) {
	sl := f.slot
	if f.ends = s.endsFor(f); len(f.ends) > 0 {
		sl.tell = append(sl.tell, f)
		s.touch(sl)
		return
	}
	s.release(f)
	if sl.open == 0 {
		s.finishSlot(sl)
		return
	}
	if f.isRemembered() {
		s.shrinkLater(sl)
	} else {
		s.touch(sl) // the next owner would find it open, and begin it
	}
}

// isRemembered reports whether an owner that finds the ended fire in a slot comes to
// know that it has ended: each of its minions remembers its task, or the entry says so.
func (f *fire) isRemembered() bool {
	if f.was == phase.FireSkipped || f.was == phase.FireMissed {
		return true
	}
	return !slices.ContainsFunc(f.tasks, func(t *task) bool { return t.report == nil || !t.report.Spooled })
}
