package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A job may wait for the ends of other jobs' runs. When such a run is in
// history, the transaction that takes it out of its slot leaves a note of its
// end; a second one turns each note into a trigger of the job that waits, in
// that job's shard. Both are atomic, so that every end is told once, whoever
// crashes. A job that waits for all of several has one trigger for each, which
// lie there until all are; the start takes them all.

// endsFor returns whom to tell of the end of a fire.
func (s *shard) endsFor(f *fire) []etcdkv.Ended {
	waiters := s.deps.Cluster.Waiters(f.e.key)
	if len(waiters) == 0 {
		return nil
	}
	var out []etcdkv.Ended
	for _, w := range waiters {
		if w.On.Meets(f.outcome(f.run.State)) {
			out = append(out, etcdkv.Ended{
				From: w.From, To: w.To, Joined: w.Joined, RunID: f.run.RunID, State: f.run.State, At: time.Unix(0, s.deps.now()).UTC(),
			})
		}
	}
	return out
}

// note takes what a slot has to tell out of it, for one write. It returns the
// key and the value of the note; the key is empty when there is nothing to tell.
func (s *shard) note(sl *slot) (key, value string, err error) {
	if len(sl.tell) == 0 {
		return "", "", nil
	}
	n := etcdkv.EndedRuns{Schema: etcdkv.Schema}
	for len(sl.tell) > 0 && (len(n.Runs) == 0 || len(n.Runs)+len(sl.tell[0].ends) <= maxNotes) {
		n.Runs = append(n.Runs, sl.tell[0].ends...)
		s.release(sl.tell[0])
		sl.tell = sl.tell[1:]
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", "", fmt.Errorf("new note id: %w", err)
	}
	value, err = etcdkv.Encode(n)
	return s.cfg.Keys.EndedRuns(s.id, id.String()), value, err
}

// release takes a fire out of its slot.
func (s *shard) release(f *fire) {
	f.slot.fires[f.place] = nil
	f.slot.open--
}

// joined are the triggers of a job that waits for all of several.
type joined struct {
	e *entry
	// latest is the trigger that came last; keys are those of all of them.
	latest etcdkv.Trigger
	keys   map[job.Key]string
}

// join puts a trigger aside that waits for others. It reports whether it does.
func (s *shard) join(all map[job.UID]*joined, key string, t *etcdkv.Trigger) bool {
	if t.Fire.Trigger != job.TriggerAfter || t.From == (job.Key{}) {
		return false
	}
	e := s.jobs[t.Key]
	if e == nil || e.uid != t.Fire.Job || len(e.waitsFor()) < 2 || s.cfg.Keys.JoinedTrigger(s.id, e.uid, t.From) != key {
		return false
	}
	j := all[e.uid]
	if j == nil {
		j = &joined{e: e, keys: map[job.Key]string{}}
		all[e.uid] = j
	}
	j.keys[t.From] = key
	if t.Fire.At > j.latest.Fire.At {
		j.latest = *t
	}
	return true
}

// planJoined starts jobs all of whose conditions are met.
func (s *shard) planJoined(b *batch, all map[job.UID]*joined, now int64) {
	for _, j := range all {
		if len(b.triggers)+len(j.keys) > maxTriggers && len(b.triggers) > 0 {
			s.triggers.fresh = true // in the next commit
			continue
		}
		if slices.ContainsFunc(j.e.waitsFor(), func(k job.Key) bool { return j.keys[k] == "" }) {
			continue
		}
		t := j.latest
		t.Cause = fmt.Sprintf("all %d jobs ended; the last: %s", len(j.e.waitsFor()), t.Cause)
		first := true
		for _, key := range j.keys {
			if first {
				s.planTrigger(b, key, t, now)
				first = false
				continue
			}
			s.triggers.take(b, key)
		}
	}
}
