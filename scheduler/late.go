package scheduler

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// lateReports takes what minions report about fires that are closed: one of them may have
// the answer that its record lacks. Any goroutine may use it.
type lateReports struct {
	records Records
	history Recorder
	minions Minions
	spare   *bestEffort
	log     *zap.Logger
}

// take takes a final report about a fire that is closed. The record is mended if
// it says that nobody knew; then the minion may forget.
func (l *lateReports) take(r *job.Report) {
	report := *r
	l.spare.do(func(ctx context.Context) {
		run, err := l.records.Get(ctx, report.Task.Fire.RunID())
		if base := report.Task.Fire; base.Share != 0 && errors.Is(err, job.ErrNotFound) {
			base.Share = 0 // the shares were one run
			run, err = l.records.Get(ctx, base.RunID())
		}
		if err != nil && !errors.Is(err, job.ErrNotFound) {
			l.log.Debug("late report waits", zap.Stringer("task", report.Task), zap.Error(err))
			return // not acknowledged: it comes again
		}
		ack := func() { l.minions.Ack([]job.TaskID{report.Task}) }
		if err != nil || !mend(&run, &report) {
			ack()
			return
		}
		l.history.Record(run, func(err error) {
			if err == nil {
				ack()
			}
		})
	})
}

// mend puts a late report into a run's record. It reports whether anything
// changed.
func mend(run *job.Run, r *job.Report) bool {
	changed := false
	if r.Returned { // it was too late for a start
		if r.Token != run.Token {
			return false // another owner may have ordered it since
		}
		known := *r
		known.Known, known.State = true, job.StateExpired
		r = &known
	}
	for i := range run.Tasks {
		t := &run.Tasks[i]
		if t.Minion == r.Task.Minion && t.Attempt == r.Task.Attempt && (t.Share == "" || job.ShareOf(t.Share) == r.Task.Fire.Share) &&
			(t.State == job.StateIndeterminate || t.State == job.StateDeliveryTimeout) && t.State != r.State {
			share := t.Share
			*t = taskRecord(r)
			t.Share = share
			changed = true
		}
	}
	if !changed {
		return false
	}
	reports := make([]*job.Report, len(run.Tasks))
	for i, t := range run.Tasks {
		reports[i] = &job.Report{Task: job.TaskID{Minion: t.Minion}, State: t.State, Reason: t.Reason}
	}
	run.State, run.Reason = verdictOf(reports)
	spanOf(run)
	return true
}
