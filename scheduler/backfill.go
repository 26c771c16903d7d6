package scheduler

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
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

// backfills are those of a shard's jobs.
type backfills struct {
	cluster *cluster.View
	keys    etcdkv.Keys
	now     func() int64
	// entry returns a job of the shard, or nil.
	entry func(job.Key, job.UID) *entry

	all map[string]*backfilled
}

// tend takes note of backfills that came or went.
func (k *backfills) tend() {
	entries := k.cluster.Backfills()
	for _, b := range k.all {
		if _, ok := entries[k.keys.Backfill(b.ID)]; !ok && !b.busy {
			delete(k.all, b.ID)
		}
	}
	for _, en := range entries {
		b := k.all[en.Value.ID]
		if k.entry(en.Value.Key, en.Value.Job) == nil {
			continue
		}
		if b == nil {
			b = &backfilled{share: max(job.ShareOf(job.NodeID(en.Value.ID)), 1)}
			k.all[en.Value.ID] = b
		}
		if en.ModRevision > b.rev && !b.busy {
			b.Backfill, b.rev = en.Value, en.ModRevision
			b.next = k.nextOf(b)
		}
	}
}

// nextOf returns the instant of a backfill that is next, or never.
func (k *backfills) nextOf(b *backfilled) int64 {
	from := b.From
	if b.Done.After(from) {
		from = b.Done
	}
	e := k.entry(b.Key, b.Job)
	if e == nil {
		return never
	}
	next, ok := e.Set.Next(from)
	if !ok || next.After(b.To) {
		return never
	}
	return next.UnixNano()
}

// ready reports whether the backfill may go on.
func (k *backfills) ready(b *backfilled, now int64) bool {
	e := k.entry(b.Key, b.Job)
	return !b.busy && !b.over && e != nil &&
		(b.Overlap || e.queue(b.share).open == 0) && (b.started == 0 || now >= b.started+int64(b.Every))
}

// due reports whether a backfill may go on.
func (k *backfills) due(now int64) bool {
	if len(k.all) == 0 && len(k.cluster.Backfills()) == 0 {
		return false
	}
	k.tend()
	for _, b := range k.all {
		if k.ready(b, now) {
			return true
		}
	}
	return false
}

// planBackfills plans the next run of each backfill that may go on.
func (s *shard) planBackfills(b *batch, now int64) {
	for _, bf := range s.backfills.all {
		if !s.backfills.ready(bf, now) || len(b.backfills) >= maxTriggers/4 || s.full(b) {
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
			cause: "backfill " + bf.ID, params: bf.Params, sensitive: bf.Sensitive, bounds: bf.Bounds, subject: bf.Subject, notBefore: now,
		}
		if bf.By != "" {
			f.cause += " by " + bf.By
		}
		s.planFire(b, f, now)
		bf.Done, bf.started = time.Unix(0, bf.next).UTC(), now
		bf.next = s.backfills.nextOf(bf)
	}
}

// gather adds to a commit how far backfills have come. The commit fails
// when one was ended meanwhile; the shard then starts again from what is stored.
func (k *backfills) gather(w *write, b *batch) error {
	for _, bf := range b.backfills {
		key := k.keys.Backfill(bf.ID)
		w.backfills = append(w.backfills, bf)
		w.cmps = append(w.cmps, clientv3.Compare(clientv3.ModRevision(key), "=", bf.rev))
		if bf.next == never {
			bf.over = true
			ended := bf.Told()
			ended.EndedAt = time.Unix(0, k.now()).UTC()
			text, err := etcdkv.Encode(ended)
			if err != nil {
				return err
			}
			w.planned = append(w.planned, clientv3.OpDelete(key), clientv3.OpPut(k.keys.EndedBackfill(bf.ID), text))
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
