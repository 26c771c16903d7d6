package scheduler

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// A job moves to another shard when its group changes. The move is one
// transaction (package control): the job's key goes, the same job appears in
// the new shard with After at the old shard's cursor, a record of the move is
// put into the old shard, and the old shard's state gets a new claim, so that a
// commit of its owner that is under way fails and the owner starts again. So
// every occurrence is either committed in the old shard or planned in the new
// one. Fires that are open in the old shard end there. If there are any, or
// starts that wait, the record is made: it holds the spec for them, and until it
// is removed the new owner counts the job as running.
//
// A job that is deleted leaves a record, too, in the same transaction: a later
// owner knows by it what the job's open fires are of. What of it has not started
// is cancelled; what minions have, ends as they say. What was due before, and is
// not committed, is committed as skipped, with that as the reason.

// movedOut is a job that was moved out of the shard, or deleted, and may have
// open fires in it.
type movedOut struct {
	e *entry
	// record is the key of the record that has been read; empty: which of both
	// happened is being asked.
	record string
	// deleted: it was deleted.
	deleted bool
	// removing: the deletion of the record is in a commit.
	removing bool
	// at is when it was deleted; 0: not known, or it was moved. created is the
	// create revision of its key.
	at, created int64
	// next is the instant that was to be planned next of it; all before are planned.
	next int64
}

// movedJobs are the jobs that were moved out of a shard, or deleted, and may have open
// fires in it.
type movedJobs map[job.UID]*movedOut

// arrivedEvery is how often the new owner looks whether the record is gone.
const arrivedEvery = 100 * time.Millisecond

// readMoved reads the records of jobs that are gone, and goes on with the
// shard's open fires. The jobs have been listed before: one that was deleted
// before has its record, unless nothing of it is open.
func (s *shard) readMoved(ctx context.Context) {
	s.wg.Go(func() {
		for try := 0; ; try++ {
			found, err := s.records.all(ctx)
			if err == nil {
				s.do(func() { s.taken(found) })
				return
			}
			s.log.Warn("records of jobs that are gone cannot be read, trying again", zap.Error(err))
			if !pause(ctx, try) {
				return
			}
		}
	})
}

// pause waits before another try. It reports false when ctx has ended.
func pause(ctx context.Context, try int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(min(time.Duration(try+1)*50*time.Millisecond, time.Second)):
		return true
	}
}

// taken begins with the shard's work, once all that is open can be told.
func (s *shard) taken(found []*movedOut) {
	for _, m := range found {
		if e := s.jobs[m.e.key]; e != nil && e.uid == m.e.uid {
			continue // it is yet to vanish from the view
		}
		if s.moved[m.e.uid] == nil { // else it has vanished just now, and is asked about
			s.moved[m.e.uid] = m
			from := m.next - 1
			if m.created <= s.state.JobsRev {
				from = max(from, s.state.Cursor.UnixNano())
			}
			s.hold(m, from)
		}
	}
	s.synced = true
	if s.loaded != nil {
		s.loaded(len(s.jobs))
	}
	s.recover()
}

// vanished handles a job whose key is gone: it was deleted, or moved away. Its
// open fires wait for the answer; there is none to wait for when it has none.
func (s *shard) vanished(ctx context.Context, key job.Key) {
	e := s.jobs[key]
	if e == nil {
		return
	}
	delete(s.jobs, key)
	next := e.timer.Next
	s.setNext(e, never)
	s.watches.note(e, false)
	s.starts.note(e, false)
	s.moved[e.uid] = &movedOut{e: e, next: next}
	s.askGone(ctx, e)
}

// lookUpGone asks whether a job whose key is gone was moved or deleted.
func (s *shard) lookUpGone(ctx context.Context, e *entry) {
	s.wg.Go(func() {
		if found, ok := s.records.of(ctx, e.uid); ok {
			s.do(func() { s.vanish(e, found) })
		}
	})
}

// vanish ends the wait of vanished; without a record the job was deleted.
func (s *shard) vanish(e *entry, found goneRecord) {
	m := s.moved[e.uid]
	if m == nil || m.e != e {
		return // it has come back meanwhile
	}
	m.record, m.deleted = found.key, found.deleted
	if m.record == "" {
		delete(s.moved, e.uid)
	}
	if m.record == "" || m.deleted {
		s.forget(e)
	}
	if m.deleted && !found.at.IsZero() {
		m.at = found.at.UnixNano()
		s.hold(m, m.next-1)
	}
}

// upTo returns up to where all is planned of the jobs of which it is being
// asked whether they were moved or deleted: the cursor must not pass it (I4).
func (j movedJobs) upTo(cursor int64) int64 {
	for _, m := range j {
		if m.record == "" {
			cursor = min(cursor, m.next-1)
		}
	}
	return cursor
}

// over reports whether the record may be removed: all of the job is in history. A start by hand that waited
// when the job was moved is seen before this owner learns of the move: the
// owner starts again because of it, and reads the triggers.
func (m *movedOut) over() bool {
	return m.record != "" && !m.removing && !m.e.open() && m.e.timer.Next == never
}

// anyOver reports whether a record may be removed.
func (j movedJobs) anyOver() bool {
	for _, m := range j {
		if m.over() {
			return true
		}
	}
	return false
}

// gather removes the records of jobs that have nothing open here any more.
func (j movedJobs) gather(w *write) {
	for uid, m := range j {
		if !m.over() || w.size() >= maxHousekeeping || m.deleted && slices.ContainsFunc(w.fires, func(f *fire) bool { return f.e == m.e }) {
			continue
		}
		m.removing = true
		w.ops = append(w.ops, clientv3.OpDelete(m.record))
		w.unmoved = append(w.unmoved, uid)
	}
}

// cameFrom watches over the fires that a job may have open in the shard that it
// came from: until they have ended, the job counts as running.
func (s *shard) cameFrom(ctx context.Context, e *entry, from job.ShardID) {
	e.migrating = true
	uid := e.uid
	s.wg.Go(func() {
		for {
			bounded, cancel := context.WithTimeout(ctx, commitTimeout)
			resp, err := s.deps.Client.Get(bounded, s.cfg.Keys.MovedJob(from, uid), clientv3.WithCountOnly())
			cancel()
			if err == nil && resp.Count == 0 {
				s.do(func() { s.arrived(uid) })
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(arrivedEvery):
			}
		}
	})
}

// arrived notes that nothing of a moved job is open in its former shard.
func (s *shard) arrived(uid job.UID) {
	for _, e := range s.jobs {
		if e.uid == uid && e.migrating {
			e.migrating = false
			e.queues(s.nextInQueue)
		}
	}
}
