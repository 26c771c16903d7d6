package scheduler

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// onJobs applies a batch of the job view.
func (s *shard) onJobs(ctx context.Context, b etcdkv.Batch) {
	if b.Relist {
		there := make(map[job.Key]bool, len(b.Events))
		for i := range b.Events {
			if _, key, err := s.cfg.Keys.ParseJob(b.Events[i].Key); err == nil {
				there[key] = true
			}
		}
		for key := range s.jobs {
			if !there[key] {
				s.vanished(ctx, key)
			}
		}
	}
	if !s.listed {
		s.calendarsRev = s.deps.Cluster.CalendarsRev()
		s.calendarsDone = s.calendarsRev
	}
	for i := range b.Events {
		if s.listed && b.Events[i].Value != nil && b.Events[i].ModRevision <= s.jobsRev {
			continue // read anew, and known
		}
		s.onJob(ctx, &b.Events[i])
	}
	s.jobsRev = max(s.jobsRev, b.Rev)
	s.triggers.fresh = s.triggers.fresh || len(s.triggers.all) > 0
	s.count.Store(int64(len(s.jobs)))
	if !s.listed {
		s.listed = true
		s.readMoved(ctx)
	}
}

func (s *shard) onJob(ctx context.Context, ev *etcdkv.Event) {
	_, key, err := s.cfg.Keys.ParseJob(ev.Key)
	if err != nil {
		s.log.Warn("foreign key among the jobs", zap.String("key", ev.Key))
		return
	}
	if ev.Value == nil {
		if s.jobs[key] == nil {
			s.asides.note(key, job.UID{}, "") // it could not be read
		}
		s.vanished(ctx, key)
		return
	}
	e, from, err := newEntry(ev.Key, ev.Value, s.deps.Schedules)
	if err != nil {
		s.drop(key)
		s.asides.note(key, job.UID{}, "it cannot be read, and does not fire: "+err.Error())
		return
	}
	old := s.jobs[key]
	back := false
	if m := s.moved[e.uid]; m != nil {
		old, back = m.e, true
		delete(s.moved, e.uid)
	}
	switch {
	case old != nil && old.uid == e.uid:
		// An edit: what was planned under the old spec stays planned. What was
		// due while the job was elsewhere was planned there, up to its After.
		if from = max(from, old.done); !back {
			from = max(from, s.replanFrom(old))
		}
		e.done, e.own, e.shares, e.migrating = old.done, old.own, old.shares, old.migrating
		s.setNext(old, never)
		s.adopt(old, e)
	case old != nil:
		s.vanished(ctx, key) // deleted and created again: another job
	case !s.synced && ev.CreateRevision <= s.state.JobsRev:
		from = max(from, s.state.Cursor.UnixNano())
	}
	s.jobs[key] = e
	s.watches.note(e, true)
	s.starts.note(e, true)
	if e.Optional != nil && len(e.Optional.Calendars) > 0 {
		s.anyCalendars, e.Optional.Since = true, from
	}
	s.setNext(e, s.nextAfter(e, from))
	s.noteAside(e)
	if e.from != nil && (old == nil || old.uid != e.uid) {
		s.cameFrom(ctx, e, *e.from)
	}
}

// entry returns a job of the shard, or nil if it has none of that name and UID.
func (s *shard) entry(key job.Key, uid job.UID) *entry {
	if e := s.jobs[key]; e != nil && e.uid == uid {
		return e
	}
	return nil
}

// adopt makes the open fires of a job's old entry those of its new one.
func (s *shard) adopt(old, e *entry) {
	if !old.open() {
		return
	}
	e.recording = old.recording
	for _, f := range s.fires {
		if f.e == old {
			f.e, f.decoded, f.work, f.held, f.lostAfter = e, nil, nil, nil, 0
		}
	}
}

// drop forgets a job that was deleted; its open fires end by themselves.
func (s *shard) drop(key job.Key) {
	e := s.jobs[key]
	if e == nil {
		return
	}
	delete(s.jobs, key)
	s.setNext(e, never)
	s.watches.note(e, false)
	s.starts.note(e, false)
	s.forget(e)
}

// forget ends what of a deleted job has not started.
func (s *shard) forget(e *entry) {
	e.Gone = true
	s.asides.note(e.key, e.uid, "")
	e.queues(func(l *overlapQueue) {
		for _, f := range slices.Clone(l.waiting) {
			s.end(f, job.StateCancelled, whyNotStarted)
		}
	})
	if !e.busy() {
		return
	}
	for _, f := range s.fires {
		if f.e == e && f.rollout != nil && !f.ended() {
			s.reconcileAt(f, s.deps.now()) // what waits in it is not started any more
		}
	}
}
