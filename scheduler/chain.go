package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A job may wait for the ends of other jobs' runs. When such a run is in
// history, the transaction that takes it out of its slot leaves a note of its
// end; a second one turns each note into a trigger of the job that waits, in
// that job's shard. Both are atomic, so that every end is told once, whoever
// crashes. A job that waits for all of several has one trigger for each, which
// lie there until all are; the start takes them all.

// Bounds of telling: notes in one value, and triggers in one transaction.
const (
	maxNotes = 2000
	maxTold  = 40
	// tellRetry is the pause after a try that failed.
	tellRetry = 200 * time.Millisecond
)

// endsFor returns whom to tell of the end of a fire.
func (s *shard) endsFor(f *fire) []etcdkv.Ended {
	edges := s.deps.Cluster.Waiters(f.e.key)
	if len(edges) == 0 {
		return nil
	}
	var out []etcdkv.Ended
	for _, e := range edges {
		if e.On.Meets(f.outcome(f.run.State)) {
			out = append(out, etcdkv.Ended{
				From: e.From, To: e.To, Joined: e.Joined, RunID: f.run.RunID, State: f.run.State, At: time.Unix(0, s.deps.now()).UTC(),
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

// loadNotes tells what an earlier owner has left to tell.
func (s *shard) loadNotes(ctx context.Context) error {
	resp, err := s.deps.Client.Get(ctx, s.cfg.Keys.Ended(s.id), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		s.toTell = append(s.toTell, string(kv.Key))
	}
	return nil
}

// tellNext begins to tell the next note, one at a time.
func (s *shard) tellNext(ctx context.Context) {
	if s.telling || len(s.toTell) == 0 {
		return
	}
	key := s.toTell[0]
	s.toTell, s.telling = s.toTell[1:], true
	s.wg.Go(func() {
		for ctx.Err() == nil {
			err := s.tell(ctx, key)
			if err == nil {
				break
			}
			s.log.Warn("end of a run not told yet", zap.String("key", key), zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(tellRetry):
			}
		}
		s.do(func() { s.telling = false })
	})
}

// tell turns a note into triggers.
func (s *shard) tell(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for {
		resp, err := s.deps.Client.Get(ctx, key)
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		kv := resp.Kvs[0]
		n, err := etcdkv.Decode[etcdkv.EndedRuns](key, kv.Value)
		if err != nil {
			s.log.Error("note cannot be read and is dropped", zap.Error(err))
			n.Runs = nil
		}
		part := n.Runs[:min(len(n.Runs), maxTold)]
		n.Runs = n.Runs[len(part):]
		cmps := []clientv3.Cmp{s.own.Fence(), clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)}
		ops := []clientv3.Op{clientv3.OpDelete(key)}
		if len(n.Runs) > 0 {
			text, err := etcdkv.Encode(n)
			if err != nil {
				return err
			}
			ops[0] = clientv3.OpPut(key, text)
		}
		var put []string
		for i := range part {
			cmp, trigger, value, err := s.afterTrigger(ctx, &part[i], i)
			if err != nil {
				return err
			}
			if trigger == "" || slices.Contains(put, trigger) {
				continue // there is no such job any more, or it is told of this one already
			}
			put = append(put, trigger)
			cmps = append(cmps, cmp)
			ops = append(ops, clientv3.OpPut(trigger, value))
		}
		txn, err := s.deps.Client.Txn(ctx).If(cmps...).Then(ops...).Commit()
		switch {
		case err != nil:
			return err
		case !txn.Succeeded && !s.own.Held():
			return nil // the next owner tells it
		case !txn.Succeeded:
			return errors.New("a job that waits has moved meanwhile")
		case len(n.Runs) == 0:
			return nil
		}
	}
}

// afterTrigger returns the trigger of a job that waits for an end, and the
// condition that the job still lies where the trigger is put. n tells the
// triggers of one transaction apart.
func (s *shard) afterTrigger(ctx context.Context, end *etcdkv.Ended, n int) (clientv3.Cmp, string, string, error) {
	keys := s.cfg.Keys
	at := etcdkv.ShardOf(end.To, s.cfg.Meta.Shards)
	resp, err := s.deps.Client.Txn(ctx).Then(clientv3.OpGet(keys.GroupedJob(end.To)), clientv3.OpGet(keys.Job(at, end.To))).Commit()
	if err != nil {
		return clientv3.Cmp{}, "", "", err
	}
	kvs := resp.Responses[1].GetResponseRange().GetKvs()
	if g := resp.Responses[0].GetResponseRange().GetKvs(); len(g) > 0 {
		grouped, err := etcdkv.Decode[etcdkv.Grouped](string(g[0].Key), g[0].Value)
		if err != nil {
			return clientv3.Cmp{}, "", "", err
		}
		at = grouped.Shard
		got, err := s.deps.Client.Get(ctx, keys.Job(at, end.To))
		if err != nil {
			return clientv3.Cmp{}, "", "", err
		}
		kvs = got.Kvs
	}
	if len(kvs) == 0 {
		return clientv3.Cmp{}, "", "", nil
	}
	stored, err := etcdkv.Decode[etcdkv.PlannedJob](string(kvs[0].Key), kvs[0].Value)
	if err != nil {
		return clientv3.Cmp{}, "", "", err
	}
	fire := job.FireID{Job: stored.UID, At: s.deps.now() + int64(n), Trigger: job.TriggerAfter}
	key := keys.Trigger(at, fire)
	if end.Joined {
		key = keys.JoinedTrigger(at, stored.UID, end.From)
	}
	value, err := etcdkv.Encode(etcdkv.Trigger{
		Schema: etcdkv.Schema, Fire: fire, Key: end.To, From: end.From,
		Cause: fmt.Sprintf("the end of run %s of %s (%s)", end.RunID, end.From, end.State),
	})
	return clientv3.Compare(clientv3.CreateRevision(string(kvs[0].Key)), "=", kvs[0].CreateRevision), key, value, err
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
			s.triggersNew = true // in the next commit
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
			s.takeTrigger(b, key)
		}
	}
}
