package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// slotPage is how many slots are read at a time.
const slotPage = 64

// load reads the shard's state and open slots. Since the grant only this owner
// writes them.
func (s *shard) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	key := s.cfg.Keys.State(s.id)
	resp, err := s.deps.Client.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 1 {
		s.stateRev = resp.Kvs[0].ModRevision
		if s.state, err = etcdkv.Decode[etcdkv.ShardState](key, resp.Kvs[0].Value); err != nil {
			return err
		}
		s.admission.Resume(s.state.Mutex, s.state.MutexLease)
		s.turnBack(s.deps.now())
		s.planned = s.state.Cursor.UnixNano()
		ring := s.state.Ring
		s.ring.Store(&ring)
		s.noteFlap(s.deps.now())
	}
	if err := s.outbox.load(ctx); err != nil {
		return err
	}
	if err := s.notices.load(ctx, s.deps.Client, s.cfg.Keys.Troubles(s.id)); err != nil {
		return err
	}
	prefix := s.cfg.Keys.Slots(s.id)
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		resp, err := s.deps.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(slotPage))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if err := s.loadSlot(string(kv.Key), kv.Value); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// loadTimeout bounds the reading of a shard at its take-over.
const loadTimeout = 30 * time.Second

// unsentSlot reports whether nobody has sent the orders of a slot: it was committed
// in the very transaction that passed the lock to this owner (I10), which has not
// begun with the shard before under this token.
func (s *shard) unsentSlot(seq uint64) bool {
	return s.state.Unsent == seq && s.stateRev == s.own.Token().Revision && s.term == 1
}

func (s *shard) loadSlot(key string, value []byte) error {
	_, rest, err := s.cfg.Keys.ParseShardKey(key)
	if err != nil {
		return err
	}
	seq, err := etcdkv.ParseSlot(rest)
	if err != nil {
		return err
	}
	v, err := etcdkv.DecodeSlot(value)
	if err != nil {
		return fmt.Errorf("slot %s: %w", key, err)
	}
	fresh := s.unsentSlot(seq)
	sl := &slot{seq: seq, committedAt: v.CommittedAt, node: v.Node, stored: len(v.Entries), open: len(v.Entries)}
	for i := range v.Entries {
		e := &v.Entries[i]
		how, known := storedPhase(e.State)
		if !known {
			return fmt.Errorf("slot %s: entry %d has state %d, which this release does not know", key, i, e.State)
		}
		f := &fire{
			id: e.Fire, share: e.Share, slot: sl, phase: how, reason: e.Reason, count: e.Count, until: e.Until,
			recovered: !fresh, committedAt: v.CommittedAt, cause: e.Cause, params: e.Params, sensitive: e.Sensitive,
			redo: e.Redo, promoted: e.Promoted, stopped: e.Stopped, canaries: e.Canaries, rules: e.Rollout, hosts: e.Hosts,
			attempts: e.Attempts, leftOut: e.LeftOut, bounds: e.Bounds, subject: e.Subject, after: e.After,
		}
		for _, t := range e.Tasks {
			next := &task{minion: t.Minion, share: t.Share, attempt: t.Attempt, notBefore: t.NotBefore, saved: t.Minion != "", inherited: !fresh}
			if !fresh {
				next.phase = phase.Unknown
			}
			next.notBefore = s.rightBegin(next.notBefore, v.CommittedAt)
			if t.State != "" {
				next.report, next.phase = s.unsent(f, next, t.State, t.Reason), phase.Ended
			}
			f.tasks = append(f.tasks, next)
		}
		if len(f.tasks) > 0 && f.tasks[0].attempt == 1 {
			f.notBefore = f.tasks[0].notBefore
		}
		if len(f.tasks) == 0 {
			f.tasks = []*task{{attempt: 1}}
		}
		sl.maxAt = max(sl.maxAt, e.Fire.At, e.Until)
		f.place = len(sl.fires)
		sl.fires = append(sl.fires, f)
	}
	s.slots[seq] = sl
	if sl.open == 0 {
		s.finishSlot(sl)
	}
	return nil
}

// recover goes on with the open fires of earlier owners, once the jobs are known.
func (s *shard) recover() {
	now := s.deps.now()
	s.gone.began = now
	s.gone.look()
	byUID := make(map[job.UID]*entry, len(s.slots))
	if len(s.slots) > 0 {
		for _, e := range s.jobs {
			byUID[e.uid] = e
		}
	}
	for uid, m := range s.moved {
		byUID[uid] = m.e
	}
	open := 0
	for _, sl := range s.slots {
		for _, f := range sl.fires {
			open++
			s.recoverFire(f, byUID, now)
		}
	}
	s.promoteWaiting()
	s.notices.forgetOthers(s.jobs)
	s.ahead.queuePast(s.jobs)
	level := zap.InfoLevel
	if len(s.jobs) == 0 && open == 0 {
		level = zap.DebugLevel // a cluster has many shards, and of an empty one there is nothing to tell
	}
	s.log.Log(level, "shard taken", zap.Int("jobs", len(s.jobs)), zap.Int("open_fires", open),
		zap.Time("cursor", s.state.Cursor))
}

func (s *shard) recoverFire(f *fire, byUID map[job.UID]*entry, now int64) {
	e := byUID[f.id.Job]
	if e == nil {
		e = orphanEntry(f.id.Job)
		byUID[f.id.Job] = e
	}
	f.e = e
	s.fires[f.id] = f
	if f.capped() {
		s.admission.Sweep()
	}
	if e.key == nameless {
		s.orphan(f, now)
		return
	}
	s.resume(f, now)
}

// resume goes on with a fire whose job is known.
func (s *shard) resume(f *fire, now int64) {
	e := f.e
	s.joinGate(f)
	f.giveUp = max(now, f.due()) + int64(s.cfg.MaxMessageExpired)
	// I3: what a slot beyond the cursor holds is planned already.
	if last := max(f.id.At, f.until); f.id.Trigger == job.TriggerSchedule && last > e.done && !s.before(last) {
		e.done = last
		if e.timer.Next <= last {
			s.setNext(e, s.nextAfter(e, last))
		}
	}
	s.opened(f)
	switch f.entryState() {
	case etcdkv.EntryOpen:
		l := f.queue()
		l.open++
		begun := false // as far as can be known
		for _, t := range f.tasks {
			if t.minion == "" && t.phase == phase.Unknown {
				s.become(t, phase.Waiting) // nobody can have ordered it
			}
			f.doubtful = f.doubtful || t.phase == phase.Unknown && !f.promoted && f.stopped == ""
			begun = begun || t.phase != phase.Waiting || t.attempt > 1
		}
		if begun && f.due() <= now {
			s.letRun(f) // others are asked of the overlap policy, as when they are new
		}
		if f.recovered && s.turns != nil && slices.ContainsFunc(f.tasks, func(t *task) bool { return t.phase == phase.Unknown }) {
			s.admission.Admit(s.asker(f)) // until its minions say that they have not started it
		}
	case etcdkv.EntryQueued:
		switch {
		case f.ended(): // it had not started by its deadline
		case e.Gone:
			s.end(f, job.StateCancelled, whyNotStarted)
		default:
			f.queue().wait(f)
		}
	case etcdkv.EntrySkipped, etcdkv.EntryMissed:
	}
}

// promoteWaiting starts queued fires whose earlier run ended with the last
// owner, and goes on with replacing runs.
func (s *shard) promoteWaiting() {
	for _, f := range s.fires {
		if f.phase == phase.FireHeldBack {
			s.supersede(f)
		}
		if f.phase == phase.FireHeldBack {
			s.nextInQueue(f.queue())
		}
	}
}
