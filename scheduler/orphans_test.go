package scheduler

import (
	"context"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// erase deletes a job; with a record, as this release does, or without, as one
// did that left none.
func (b *bed) erase(j job.Job, record bool) {
	b.t.Helper()
	shard := etcdkv.ShardOf(j.Key(), b.meta.Shards)
	ops := []clientv3.Op{clientv3.OpDelete(b.keys.Job(shard, j.Key()))}
	if record {
		ops = append(ops, clientv3.OpPut(b.keys.DeletedJob(shard, j.UID), b.encode(&etcdkv.DeletedJob{Schema: 1, Job: j})))
	}
	if _, err := b.client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
		b.t.Fatal(err)
	}
}

// records counts the records of deleted jobs.
func (b *bed) records(j job.Job) int64 {
	resp, err := b.client.Get(context.Background(), b.keys.Deleted(etcdkv.ShardOf(j.Key(), b.meta.Shards)), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return -1
	}
	return resp.Count
}

// running returns the tasks that run.
func (b *bed) running() (ids []job.TaskID) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for id, r := range b.w.ran {
		if !r.State.Final() {
			ids = append(ids, id)
		}
	}
	return ids
}

// recordOf returns the record of a fire; one without a state when there is none.
func (b *bed) recordOf(id job.FireID) job.Run {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return b.w.runs[id.RunID()]
}

// TestI17_DeletedJobsRunEndsTruly: a job that is deleted while its shard has no
// owner. Its run ends as its minion says, its name is told, and what waited
// behind it is cancelled.
func TestI17_DeletedJobsRunEndsTruly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		record bool
		key    job.Key
	}{
		{"with its record", true, job.Key{Namespace: "t", Name: "j"}},
		{"without", false, nameless},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.ttl = mortal
			b.w.hold = true
			a, kill, _ := b.start("a")
			j := b.put("j", every("1h", job.OverlapQueueOne))
			first := b.trigger(j, nil)
			b.until("the run is under way", func() bool { return len(b.running()) == 1 })
			second := b.trigger(j, nil)
			b.until("another waits", func() bool {
				return slices.ContainsFunc(liveRuns(a, "t", "j"), func(r job.Run) bool { return r.State == job.StateQueued })
			})
			kill()
			b.erase(j, c.record)
			b.w.mu.Lock()
			b.w.hold = false
			b.w.mu.Unlock()
			b.start("b")
			b.until("what waited is cancelled", func() bool { return b.recordOf(second).State == job.StateCancelled })
			if r := b.recordOf(first); r.State.Final() {
				t.Fatalf("the run is recorded as %s (%s), and its minion has not said how it ended", r.State, r.Reason)
			}
			if n := b.records(j); c.record && n != 1 {
				t.Errorf("%d records of the job while its run is open, want 1", n)
			}
			b.w.finish(b.running()[0])
			b.until("the run is recorded", func() bool { return b.recordOf(first).State.Final() })
			for _, r := range []job.Run{b.recordOf(first), b.recordOf(second)} {
				if r.Key() != c.key {
					t.Errorf("recorded as a run of %s, want %s", r.Key(), c.key)
				}
			}
			if r := b.recordOf(first); r.State != job.StateSucceeded {
				t.Errorf("the run is recorded as %s (%s), and it succeeded", r.State, r.Reason)
			}
			b.until("nothing is left", func() bool { return b.slots() == 0 && b.records(j) == 0 })
		})
	}
}

// TestI17_RecordGoesWhenNothingIsOpen: a job that is deleted with nothing open,
// while its shard is owned.
func TestI17_RecordGoesWhenNothingIsOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("a")
	j := b.put("j", every("1h", job.OverlapSkip))
	id := b.trigger(j, nil)
	b.until("a run", func() bool { return b.recordOf(id).State.Final() })
	b.erase(j, true)
	b.until("the record is gone", func() bool { return b.records(j) == 0 })
}

// TestI17_RecordOutlivesHistory: the record of a deleted job stays until its runs
// are in history.
func TestI17_RecordOutlivesHistory(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{})
	f := d.fire(e, fire{})
	delete(d.jobs, e.key)
	m := &movedOut{e: e}
	d.moved[e.uid] = m
	d.vanish(e, goneRecord{key: "record", deleted: true})
	if d.says(f, "m00", job.StateRunning); m.over() {
		t.Error("the record may go, and a minion runs the task")
	}
	if d.says(f, "m00", job.StateSucceeded); m.over() {
		t.Error("the record may go, and the run is not in history")
	}
	if d.close(f); !m.over() {
		t.Error("the record stays, and all is in history")
	}
	d.wantRun(job.StateSucceeded, "")
}

// TestI17_RecordedRunIsLeftAlone: a slot may still hold a run that is in history,
// of a job that is deleted: the run's record stays as it is.
func TestI17_RecordedRunIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.put("j", every("1h", job.OverlapSkip))
	shard := etcdkv.ShardOf(j.Key(), b.meta.Shards)
	id := job.FireID{Job: j.UID, At: time.Now().UnixNano(), Trigger: job.TriggerManual}
	b.erase(j, false)
	want := job.Run{RunID: id.RunID(), FireID: id, Namespace: "t", Job: "j", State: job.StateTimedOut, Reason: "ran too long"}
	b.w.Record(want, func(error) {})
	sl := etcdkv.Slot{CommittedAt: id.At, Node: "z", Entries: []etcdkv.SlotEntry{
		{Fire: id, State: etcdkv.EntryOpen, Tasks: []etcdkv.SlotTask{{Minion: "m1", Attempt: 1}}},
	}}
	if _, err := b.client.Put(context.Background(), b.keys.Slot(shard, 1), string(etcdkv.EncodeSlot(&sl))); err != nil {
		t.Fatal(err)
	}
	b.start("a")
	b.until("the slot is gone", func() bool { return b.slots() == 0 })
	if got := b.recordOf(id); got.State != want.State || got.Reason != want.Reason || got.Key() != want.Key() {
		t.Errorf("the record is now %+v, want %+v", got, want)
	}
}
