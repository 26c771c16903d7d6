package scheduler

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// What an owner knows of jobs, pauses, groups and calendars comes to it by watches, which may
// be late, or hang while its commits go on. So who edits when a job is due, deletes
// it, or pauses something, writes besides the key of edits of what was edited, in
// the same transaction, and a commit that plans compares that this key is not newer
// than the view that it was planned from. A commit that is behind fails. Its plan is
// taken back, and made anew once the view has come so far: from the revision of an
// edit on, nothing is committed without it (I25). No clock has a part in that.

// view is of which revisions the views are that a plan is made from. Calendars are
// never where no job of the shard has any.
type view struct{ jobs, pauses, groups, calendars int64 }

// isBehind reports whether the view lacks what another has.
func (v view) isBehind(o view) bool {
	return v.jobs < o.jobs || v.pauses < o.pauses || v.groups < o.groups || v.calendars < o.calendars
}

// errBehind is the error of a commit whose view lacks an edit.
type errBehind struct{ need view }

func (e *errBehind) Error() string {
	return fmt.Sprintf("an edit of revision %d, a pause of %d, a group's edit of %d, or a calendar's of %d is not in view yet",
		e.need.jobs, e.need.pauses, e.need.groups, e.need.calendars)
}

// views returns of which revisions the shard's views are. What is read of them
// afterwards is as new, or newer.
func (s *shard) views() view {
	c := s.deps.Cluster
	v := view{jobs: s.jobsRev, pauses: c.PausesRev(), groups: c.GroupsRev(), calendars: never}
	if s.anyCalendars {
		v.calendars = s.calendarsDone
	}
	return v
}

// Pauses around a view that is behind.
const (
	// behindEvery is how often it is looked whether it still is.
	behindEvery = int64(10 * time.Millisecond)
	// refreshAfter is for how long it may be before it is read anew, by other
	// connections, and refreshEvery how often then.
	refreshAfter = int64(200 * time.Millisecond)
	refreshEvery = int64(time.Second)
	// unreadyAfter is for how long it may be before the node says that it is not ready.
	unreadyAfter = int64(2 * time.Second)
)

// isBehind reports whether the shard plans nothing because its view lacks an edit
// that it knows of, and has the views read anew if that takes long.
func (s *shard) isBehind(now int64) bool {
	if s.need == (view{}) {
		return false
	}
	if !s.views().isBehind(s.need) {
		if s.refreshed != 0 {
			s.log.Info("the view has come so far", zap.Duration("after", time.Duration(now-s.behind.Load())))
		}
		s.need, s.refreshed = view{}, 0
		s.behind.Store(0)
		s.met.behind.Dec()
		return false
	}
	if now >= s.behind.Load()+refreshAfter && now >= s.refreshed+refreshEvery {
		s.refreshed = now
		s.log.Warn("nothing is planned until the view of jobs and pauses has come to an edit that was made: they are read anew",
			zap.Duration("since", time.Duration(now-s.behind.Load())), zap.Int64("jobs", s.jobsRev), zap.Error(&errBehind{s.need}))
		v := s.views()
		if v.jobs < s.need.jobs {
			s.rereadJobs.Ask()
		}
		c := s.deps.Cluster
		c.Reread(v.pauses < s.need.pauses, v.groups < s.need.groups, c.CalendarsRev() < s.need.calendars)
	}
	return true
}

// behind counts the node's shards that have been behind for long.
func (e *Engine) behind() (n int) {
	now := e.deps.now()
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.shards {
		if since := s.behind.Load(); since != 0 && now > since+unreadyAfter {
			n++
		}
	}
	return n
}

// reached returns how far the cursor may be put: nowhere while the view is behind.
func (s *shard) reached() int64 {
	if s.need != (view{}) {
		return s.state.Cursor.UnixNano()
	}
	return max(s.planned, s.state.Cursor.UnixNano())
}

// fellBehind takes a commit's plan back that lacks an edit, and stores what else
// was in the commit.
func (s *shard) fellBehind(w *write, err *errBehind) (*write, error) {
	if w.batch != nil && !s.unplan(w) {
		return nil, fmt.Errorf("commit of shard %d: a run of it has ended before it was committed: %w", s.id, err)
	}
	now := s.deps.now()
	s.met.behindCommits.Inc()
	if s.need == (view{}) {
		s.behind.Store(now)
		s.met.behind.Inc()
	}
	s.need = err.need
	rest := &write{unmoved: w.unmoved, rewritten: w.rewritten, deleted: w.deleted, notes: w.notes, ops: w.ops}
	for _, sl := range w.rewritten {
		rest.saved = append(rest.saved, unsaved(sl.fires)...)
	}
	s.ringDirty = s.ringDirty || w.state != nil
	if len(rest.ops) == 0 {
		return nil, nil // there is nothing else
	}
	return rest, s.gatherState(rest, s.state.Cursor.UnixNano())
}

// planned is an entry as it was before a plan.
type planned struct {
	e          *entry
	next, done int64
}

// unplan takes a plan back. It is false when that cannot be, because a fire of it
// has ended meanwhile: the shard then begins anew.
func (s *shard) unplan(w *write) bool {
	b := w.batch
	for _, f := range b.fires {
		if f.ended() {
			return false
		}
	}
	for _, f := range b.fires {
		l := f.queue()
		switch f.entryState() {
		case etcdkv.EntryOpen:
			l.open--
			s.halt(f)
		case etcdkv.EntryQueued:
			l.leave(f)
		case etcdkv.EntrySkipped, etcdkv.EntryMissed:
		}
		s.putDown(f)
		s.proceed(f, phase.FireEnded)
		s.deadlines.forget(f)
	}
	if w.slot != nil {
		delete(s.dirty, w.slot)
		w.slot.dirty = false
	}
	for i := len(b.before) - 1; i >= 0; i-- {
		p := b.before[i]
		p.e.done = p.done
		s.setNext(p.e, p.next)
	}
	s.triggers.takeBack(b)
	for i, bf := range b.backfills {
		*bf = b.backfillsBefore[i]
	}
	s.planned = b.plannedBefore
	return true
}

// asBehind returns the error if it is that of a commit that is behind.
func asBehind(err error) *errBehind {
	var behind *errBehind
	errors.As(err, &behind)
	return behind
}
