package scheduler

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
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

// movedOut is a job that was moved out of the shard and may have open fires in it.
type movedOut struct {
	e *entry
	// sure: the record has been read; otherwise the job may be deleted.
	sure bool
	// removing: the deletion of the record is in a commit.
	removing bool
}

// arrivedEvery is how often the new owner looks whether the record is gone.
const arrivedEvery = 100 * time.Millisecond

// loadMoved reads the records of moves.
func (s *shard) loadMoved(ctx context.Context) error {
	resp, err := s.deps.Client.Get(ctx, s.cfg.Keys.Moved(s.id), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		r, err := etcdkv.Decode[etcdkv.MovedJob](string(kv.Key), kv.Value)
		if err != nil {
			return err
		}
		value, err := etcdkv.Encode(etcdkv.StoredJob{Schema: etcdkv.Schema, Job: r.Job})
		if err != nil {
			return err
		}
		e, _, err := newEntry(string(kv.Key), []byte(value), s.deps.Schedules)
		if err != nil {
			s.log.Error("record of a moved job cannot be read", zap.String("key", string(kv.Key)), zap.Error(err))
			continue
		}
		s.moved[e.uid] = &movedOut{e: e, sure: true}
	}
	return nil
}

// vanished handles a job whose key is gone: it was deleted, or moved away. Its
// open fires wait for the answer; there is none to wait for when it has none.
func (s *shard) vanished(ctx context.Context, key job.Key) {
	e := s.jobs[key]
	if e == nil {
		return
	}
	delete(s.jobs, key)
	s.timers.set(e, never)
	s.noteWatcher(e, false)
	s.moved[e.uid] = &movedOut{e: e}
	s.wg.Go(func() {
		for try := 0; ; try++ {
			bounded, cancel := context.WithTimeout(ctx, commitTimeout)
			resp, err := s.deps.Client.Get(bounded, s.cfg.Keys.MovedJob(s.id, e.uid))
			cancel()
			if err == nil {
				s.do(func() { s.vanish(e, len(resp.Kvs) > 0) })
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(time.Duration(try+1)*50*time.Millisecond, time.Second)):
			}
		}
	})
}

// vanish ends the wait of vanished.
func (s *shard) vanish(e *entry, moved bool) {
	m := s.moved[e.uid]
	if m == nil || m.e != e {
		return // it has come back meanwhile
	}
	if moved {
		m.sure = true
		return
	}
	delete(s.moved, e.uid)
	s.forget(e)
}

// over reports whether the record may be removed. A start by hand that waited
// when the job was moved is seen before this owner learns of the move: the
// owner starts again because of it, and reads the triggers.
func (m *movedOut) over() bool { return m.sure && !m.removing && !m.e.busy() }

// anyOver reports whether a record may be removed.
func (s *shard) anyOver() bool {
	if !s.triggersRead {
		return false
	}
	for _, m := range s.moved {
		if m.over() {
			return true
		}
	}
	return false
}

// gatherMoved removes records of moves whose job has nothing open here any more.
func (s *shard) gatherMoved(w *write) {
	if !s.triggersRead {
		return
	}
	for uid, m := range s.moved {
		if !m.over() || len(w.ops) >= maxHousekeeping {
			continue
		}
		m.removing = true
		w.ops = append(w.ops, clientv3.OpDelete(s.cfg.Keys.MovedJob(s.id, uid)))
		w.unmoved = append(w.unmoved, uid)
	}
}

// cameFrom watches over the fires that a job may have open in the shard that it
// came from: until they have ended, the job counts as running.
func (s *shard) cameFrom(ctx context.Context, e *entry, from job.ShardID) {
	e.foreign = true
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
		if e.uid == uid && e.foreign {
			e.foreign = false
			e.lanes(func(l *lane) {
				if w := l.first(); w != nil && l.active == 0 {
					s.promote(w)
				}
			})
		}
	}
}
