package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// The kinds of alerts, as metrics name them.
const (
	alertLate     = "late"
	alertDeadline = "deadline"
	alertMissed   = "missed"
	alertPaused   = "paused"
	alertLong     = "long-running"
	// alertDropped counts those that nobody was told of, as too much was to be told.
	alertDropped = "dropped"
)

// watchTimes tells of a fire that is late, or has not ended by its deadline, and
// has it looked at when the next of these is due.
func (s *shard) watchTimes(f *fire, spec *job.Spec, now int64) {
	s.watchLength(f, now)
	if spec.LateAfter > 0 && !f.toldLate && f.dispatchedAt == 0 {
		if at := f.due() + int64(spec.LateAfter); now >= at {
			f.toldLate = true
			s.notices.alert(f, alertLate, job.AlertLate, fmt.Sprintf("late: not started within %v of its scheduled time", time.Duration(now-f.id.At).Round(time.Millisecond)))
		} else {
			s.reconcileAt(f, at)
		}
	}
	if spec.Deadline > 0 && !f.toldDeadline {
		if at := f.id.At + int64(spec.Deadline); now >= at {
			f.toldDeadline = true
			s.notices.alert(f, alertDeadline, job.AlertDeadline, fmt.Sprintf("deadline: had not ended %v after its instant", time.Duration(spec.Deadline)))
			if spec.EffectiveOnDeadline() == job.DeadlineCancel {
				s.overdue(f, spec, now)
			}
		} else {
			s.reconcileAt(f, at)
		}
	}
}

// outcome is the state by which others judge a run's end: one that was cancelled
// because of its deadline has failed.
func (f *fire) outcome(state job.State) job.State {
	if state == job.StateCancelled && f.overdue {
		return job.StateFailed
	}
	return state
}

// overdue ends a fire that has not ended by its deadline.
func (s *shard) overdue(f *fire, spec *job.Spec, now int64) {
	why := fmt.Sprintf("had not ended by its deadline, %v after its instant", time.Duration(spec.Deadline))
	if f.phase == phase.FireHeldBack {
		f.overdue = true
		s.end(f, job.StateCancelled, why)
		return
	}
	if f.endAt == 0 || f.endAt > now {
		f.endAt, f.endWhy, f.overdue = now, why, true
	}
}

// watchLength tells of a fire that goes on for longer than somebody wants.
func (s *shard) watchLength(f *fire, now int64) {
	all := s.deps.Cluster.Notifiers()
	if f.toldLong || !all.Any(job.AlertLongRunning) || !f.phase.Runs() {
		return
	}
	limit := all.For(f.e.key, f.e.labelsOf).RunsFor()
	if limit == 0 {
		return
	}
	if at := max(f.dispatchedAt, f.due()) + int64(limit); now < at {
		s.reconcileAt(f, at)
		return
	}
	f.toldLong = true
	s.notices.alert(f, alertLong, job.AlertLongRunning, fmt.Sprintf("long-running: goes on for more than %v", limit))
}
