package scheduler

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// queueLimit is how many occurrences of the job may wait.
func (s *shard) queueLimit(e *entry) int {
	if e.overlap == job.OverlapQueueOne {
		return 1
	}
	spec, err := s.specs.of(e)
	if err != nil {
		return 0
	}
	return spec.EffectiveOverlapLimit()
}

// supersede does what the overlap policies replace and replace-after-grace
// want once a fire that waits is committed: those that waited before it are
// skipped, and the runs under way are ended.
func (s *shard) supersede(f *fire) {
	e := f.e
	if e.overlap != job.OverlapReplace && e.overlap != job.OverlapReplaceAfterGrace {
		return
	}
	l := f.queue()
	for len(l.waiting) > 0 && l.waiting[0] != f && inOrder(l.waiting[0], f) < 0 {
		s.end(l.waiting[0], job.StateSkipped, fmt.Sprintf("superseded by the occurrence at %s while it waited; overlap policy %q", f.id.Time(), e.overlap))
	}
	spec, err := s.specs.of(e)
	if err != nil {
		return
	}
	now := s.deps.now()
	for _, o := range s.fires {
		if o.e == e && o.id.Share == f.id.Share && o.phase.Runs() && o.endAt == 0 {
			o.endAt = max(now, f.id.At) + int64(spec.EffectiveOverlapGrace())
			o.endWhy = fmt.Sprintf("replaced by the occurrence at %s; overlap policy %q", f.id.Time(), e.overlap)
			s.reconcileAt(o, o.endAt)
		}
	}
}

// cancel ends a run: what has not been sent is not, and minions end what they
// run. It is asked for again until they have answered.
func (s *shard) cancel(f *fire, now int64) {
	switch {
	case f.phase.IsEnding(): // and asked for again
	case f.phase.Runs():
		s.proceed(f, phase.FireEnding)
	default:
		s.proceed(f, phase.FireDropped)
	}
	var refs []job.Ref
	for _, t := range f.tasks {
		switch {
		case f.ended() || t.final():
		case t.phase == phase.Waiting:
			s.finish(f, t, now, job.StateCancelled, f.endWhy)
		default:
			refs = append(refs, s.ref(f.taskID(t)))
		}
	}
	if len(refs) > 0 {
		s.deps.Minions.Cancel(refs, f.endWhy)
		f.endAt = now + int64(askAfter)
		s.reconcileAt(f, f.endAt)
	}
}
