package scheduler

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
	"github.com/carillon-cron/carillon/scheduler/plan"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// A fire is orphaned when a slot holds it, and nothing tells of its job: the record
// of the job's deletion was removed because all its fires were in history, and
// the slot was not written again yet; or a release that left no such record
// deleted the job. In the first case history has the run, and the fire only
// leaves its slot. In the second it ends by what its minions report, or as
// indeterminate; its record cannot name the job.

// nameless is the name of a job of which nothing is known but its UID.
var nameless = job.Key{Namespace: "-", Name: "-"}

// orphanEntry stands for a job of which nothing is known.
func orphanEntry(uid job.UID) *entry {
	return &entry{key: nameless, uid: uid, Timing: plan.Timing{Gone: true}, timer: timers.Timer[*entry]{Next: never}, decoded: &job.Spec{}}
}

// orphan has history asked about a fire of which no more is known.
func (s *shard) orphan(f *fire, now int64) {
	s.proceed(f, phase.FireOrphaned)
	s.met.inFlight.Inc()
	s.reconcileAt(f, now)
}

// reconcileOrphan asks history, and again later, should there be no answer.
func (s *shard) reconcileOrphan(f *fire, now int64) {
	s.reconcileAt(f, now+int64(recordRetry))
	id := f.id.RunID()
	s.deps.bestEffort.do(func(ctx context.Context) {
		run, err := s.deps.Records.Get(ctx, id)
		if err != nil && !errors.Is(err, job.ErrNotFound) {
			s.log.Warn("whether a run is recorded is not known yet", zap.String("run", string(id)), zap.Error(err))
			return
		}
		s.do(func() { s.foundOrphan(f, &run, err == nil && run.State.Final()) })
	})
}

// foundOrphan goes on with an orphaned fire, now that it is known whether history has it.
func (s *shard) foundOrphan(f *fire, run *job.Run, recorded bool) {
	if f.phase != phase.FireOrphaned {
		return // an earlier answer
	}
	s.met.inFlight.Dec()
	if !recorded {
		s.proceed(f, f.was)
		if f.isOpen() {
			s.log.Warn("a run of a job that nothing is known of ends as its minions say", zap.String("run", string(f.id.RunID())))
		}
		s.resume(f, s.deps.now())
		return
	}
	s.proceed(f, phase.FireEnded)
	f.run = run
	s.deadlines.forget(f)
	f.e.key = run.Key() // so that those are told who wait for its end
	s.endAdmission(f)
	s.leaveSlot(f)
}
