package scheduler

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A backfill runs the instants of a job's schedule again that lie in a window,
// one at a time unless it says otherwise, and not faster than it says. How far
// it has come is stored with the commit of each run. Its runs have an overlap queue
// of their own: they do not hold up those of the schedule.

// backfilled is how far a backfill has come, as this owner knows.
type backfilled struct {
	etcdkv.Backfill

	share uint32
	// rev is the mod revision of what is stored.
	rev int64
	// next is the instant that is next; never: none.
	next int64
	// started is when the last run was planned.
	started int64
	// busy: a commit of it is under way; over: it has ended.
	busy, over bool
}

// tendBackfills takes note of backfills that came or went.
func (s *shard) tendBackfills() {
	entries := s.deps.Cluster.Backfills()
	for _, b := range s.backfilled {
		if _, ok := entries[s.cfg.Keys.Backfill(b.ID)]; !ok && !b.busy {
			delete(s.backfilled, b.ID)
		}
	}
	for _, en := range entries {
		b := s.backfilled[en.Value.ID]
		if e := s.jobs[en.Value.Key]; e == nil || e.uid != en.Value.Job {
			continue
		}
		if b == nil {
			b = &backfilled{share: max(job.ShareOf(job.NodeID(en.Value.ID)), 1)}
			s.backfilled[en.Value.ID] = b
		}
		if en.ModRevision > b.rev && !b.busy {
			b.Backfill, b.rev = en.Value, en.ModRevision
			b.next = s.nextOf(b)
		}
	}
}

// nextOf returns the instant of a backfill that is next, or never.
func (s *shard) nextOf(b *backfilled) int64 {
	from := b.From
	if b.Done.After(from) {
		from = b.Done
	}
	e := s.jobs[b.Key]
	if e == nil || e.uid != b.Job {
		return never
	}
	next, ok := e.Set.Next(from)
	if !ok || next.After(b.To) {
		return never
	}
	return next.UnixNano()
}

// ready reports whether the backfill may go on.
func (s *shard) ready(b *backfilled, now int64) bool {
	e := s.jobs[b.Key]
	return !b.busy && !b.over && e != nil && e.uid == b.Job &&
		(b.Overlap || e.queue(b.share).open == 0) && (b.started == 0 || now >= b.started+int64(b.Every))
}

// backfillDue reports whether a backfill may go on.
func (s *shard) backfillDue(now int64) bool {
	if len(s.backfilled) == 0 && len(s.deps.Cluster.Backfills()) == 0 {
		return false
	}
	s.tendBackfills()
	for _, b := range s.backfilled {
		if s.ready(b, now) {
			return true
		}
	}
	return false
}

// planBackfills plans the next run of each backfill that may go on.
func (s *shard) planBackfills(b *batch, now int64) {
	for _, bf := range s.backfilled {
		if !s.ready(bf, now) || len(b.backfills) >= maxTriggers/4 || s.full(b) {
			continue
		}
		b.backfillsBefore = append(b.backfillsBefore, *bf)
		bf.busy = true
		b.backfills = append(b.backfills, bf)
		if bf.next == never {
			continue // over
		}
		f := &fire{
			id: job.FireID{Job: bf.Job, At: bf.next, Trigger: job.TriggerBackfill, Share: bf.share}, e: s.jobs[bf.Key],
			cause: "backfill " + bf.ID, params: bf.Params, notBefore: now,
		}
		if bf.By != "" {
			f.cause += " by " + bf.By
		}
		s.planFire(b, f, now)
		bf.Done, bf.started = time.Unix(0, bf.next).UTC(), now
		bf.next = s.nextOf(bf)
	}
}

// gatherBackfills adds to a commit how far backfills have come. The commit fails
// when one was ended meanwhile; the shard then starts again from what is stored.
func (s *shard) gatherBackfills(w *write, b *batch) error {
	for _, bf := range b.backfills {
		key := s.cfg.Keys.Backfill(bf.ID)
		w.backfills = append(w.backfills, bf)
		w.cmps = append(w.cmps, clientv3.Compare(clientv3.ModRevision(key), "=", bf.rev))
		if bf.next == never {
			bf.over = true
			ended := bf.Backfill
			ended.EndedAt = time.Unix(0, s.deps.now()).UTC()
			text, err := etcdkv.Encode(ended)
			if err != nil {
				return err
			}
			w.planned = append(w.planned, clientv3.OpDelete(key), clientv3.OpPut(s.cfg.Keys.EndedBackfill(bf.ID), text))
			continue
		}
		text, err := etcdkv.Encode(bf.Backfill)
		if err != nil {
			return err
		}
		w.planned = append(w.planned, clientv3.OpPut(key, text))
	}
	return nil
}
