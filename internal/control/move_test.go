package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// revision returns etcd's present revision.
func (e *env) revision(t *testing.T) int64 {
	t.Helper()
	resp, err := e.cli.Get(t.Context(), e.keys.Meta())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// TestI8_MoveWrites pins all that moving a job writes.
func TestI8_MoveWrites(t *testing.T) {
	t.Parallel()
	e := alone(t)
	e.apply(t, group("g", job.GroupSpec{}), object("a"))
	home, away := e.HashShard(jobNamed("a")), e.shardOfGroup(t, "g")
	before := e.storedJob(t, "a")
	e.pass(time.Hour)
	state := etcdkv.ShardState{
		Schema: 1, Cursor: e.now(), JobsRev: e.revision(t), Seq: 7, Claim: "old", Node: "n2",
		Ring: []etcdkv.RingNode{{Node: "n1", Flaps: 2}},
	}
	e.put(t, e.keys.State(home), state)
	e.openFire(t, home, 3, "a", e.now())
	e.apply(t, object("a", in("g")))

	after := e.storedJob(t, "a")
	if after.UID != before.UID || after.Generation != 2 || !after.CreatedAt.Equal(before.CreatedAt) || !after.After.Equal(state.Cursor) ||
		after.MovedFrom == nil || *after.MovedFrom != home {
		t.Errorf("moved: %+v, was %+v", after, before)
	}
	kv, err := e.db.Get(t.Context(), "test", e.keys.State(home))
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Decode[etcdkv.ShardState](kv)
	if err != nil {
		t.Fatal(err)
	}
	if got.Claim == "old" || got.Claim == "" {
		t.Errorf("claim %q", got.Claim)
	}
	got.Claim = state.Claim
	if d := cmp.Diff(state, got); d != "" {
		t.Errorf("the old shard's state (-want +got):\n%s", d)
	}
	if kv, err = e.db.Get(t.Context(), "test", e.keys.MovedJob(home, after.UID)); err != nil || kv == nil {
		t.Fatalf("no record of the move: %v", err)
	}
	record, err := store.Decode[etcdkv.MovedJob](kv)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(etcdkv.MovedJob{Schema: 1, To: away, Job: before.Job}, record); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}

	// And back: the record in the shard that it comes to goes.
	e.apply(t, object("a"))
	back := e.storedJob(t, "a")
	if back.MovedFrom != nil || back.Generation != 3 {
		t.Errorf("back: %+v", back)
	}
	want := []string{
		fmt.Sprintf("shards/%04x/slots/%016x", uint32(home), 3), fmt.Sprintf("shards/%04x/state", uint32(home)),
		fmt.Sprintf("shards/%04x/state", uint32(away)),
	}
	if d := cmp.Diff(want, e.keysUnder(t, e.keys.Shards())); d != "" {
		t.Errorf("shards (-want +got):\n%s", d)
	}
	if left := e.keysUnder(t, e.keys.Grouped()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestMoveLeavesARecord as long as anything of the job is open where it was: a
// fire, or a start that waits, also one that comes in while the job moves.
func TestMoveLeavesARecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(t *testing.T, e *env)
		during func(t *testing.T, e *env)
		record bool
	}{
		"nothing open":    {record: false},
		"of another job":  {before: func(t *testing.T, e *env) { e.openFire(t, e.HashShard(jobNamed("a")), 1, "b", e.now()) }, record: false},
		"a fire":          {before: func(t *testing.T, e *env) { e.openFire(t, e.HashShard(jobNamed("a")), 1, "a", e.now()) }, record: true},
		"a start":         {before: func(t *testing.T, e *env) { e.start(t, "a") }, record: true},
		"a start between": {during: func(t *testing.T, e *env) { e.start(t, "a") }, record: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.apply(t, group("g", job.GroupSpec{}), group("h", job.GroupSpec{}), object("a"), object("b"))
			home := e.HashShard(jobNamed("a"))
			if c.before != nil {
				c.before(t, e)
			}
			e.between(func() {
				if c.during != nil {
					c.during(t, e)
				}
			}, func() { e.apply(t, object("a", in("g"))) })
			a := e.storedJob(t, "a")
			if left := e.keysUnder(t, e.keys.Moved(home)); len(left) > 0 != c.record || (a.MovedFrom != nil) != c.record {
				t.Errorf("records %v, moved from %v", left, a.MovedFrom)
			}
			// On the way on, what is still open at home is not forgotten.
			e.apply(t, object("a", in("h")))
			if a = e.storedJob(t, "a"); (a.MovedFrom != nil) != c.record || c.record && *a.MovedFrom != home {
				t.Errorf("further on, it was moved from %v", a.MovedFrom)
			}
		})
	}
}

func (e *env) start(t *testing.T, name string) {
	t.Helper()
	if _, err := e.Start(t.Context(), jobNamed(name), api.StartRequest{By: "me"}); err != nil {
		t.Fatal(err)
	}
}

// TestI8_AfterIsWhatIsCommitted: the schedule of a moved job holds from where
// the old shard has come to with that job.
func TestI8_AfterIsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	e := alone(t)
	begin := e.now()
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	for name, c := range map[string]struct {
		state *etcdkv.ShardState // JobsRev 1: it knows the job; 0: it does not
		slots []int              // seconds of the job's fires
		edit  func(*manifest.Object)
		want  time.Time
	}{
		"no state":              {nil, nil, nil, begin},
		"cursor behind":         {&etcdkv.ShardState{Cursor: at(-5), JobsRev: 1}, nil, nil, begin},
		"cursor ahead":          {&etcdkv.ShardState{Cursor: at(5), JobsRev: 1}, nil, nil, at(5)},
		"cursor of before":      {&etcdkv.ShardState{Cursor: at(5)}, nil, nil, begin},
		"slots beyond":          {&etcdkv.ShardState{Cursor: at(5), JobsRev: 1}, []int{3, 9, 7}, nil, at(9)},
		"slots before":          {&etcdkv.ShardState{Cursor: at(5), JobsRev: 1}, []int{3}, nil, at(5)},
		"another schedule":      {&etcdkv.ShardState{Cursor: at(5), JobsRev: 1}, nil, func(o *manifest.Object) { o.Spec.Schedules = []string{"@daily"} }, at(60)},
		"schedule, slots ahead": {&etcdkv.ShardState{Cursor: at(70), JobsRev: 1}, []int{80}, func(o *manifest.Object) { o.Spec.Schedules = []string{"@daily"} }, at(80)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := alone(t)
			e.apply(t, group("g", job.GroupSpec{}))
			rev := e.revision(t)
			e.apply(t, object("a"))
			home := e.HashShard(jobNamed("a"))
			if c.state != nil {
				c.state.JobsRev += rev
				e.put(t, e.keys.State(home), c.state)
			}
			slot := etcdkv.Slot{Entries: []etcdkv.SlotEntry{
				{Fire: job.FireID{Job: job.UID{9}, At: at(500).UnixNano(), Trigger: job.TriggerSchedule}, State: etcdkv.EntryOpen},
				{Fire: job.FireID{Job: e.storedJob(t, "a").UID, At: at(400).UnixNano(), Trigger: job.TriggerManual}, State: etcdkv.EntryOpen},
			}}
			for _, s := range c.slots {
				slot.Entries = append(slot.Entries, etcdkv.SlotEntry{
					Fire: job.FireID{Job: e.storedJob(t, "a").UID, At: at(s).UnixNano(), Trigger: job.TriggerSchedule}, State: etcdkv.EntryOpen,
				})
			}
			e.put(t, e.keys.Slot(home, 3), string(etcdkv.EncodeSlot(&slot)))
			e.pass(time.Minute)
			o := object("a", in("g"))
			if c.edit != nil {
				c.edit(&o)
			}
			e.apply(t, o)
			if got := e.storedJob(t, "a").After; !got.Equal(c.want) {
				t.Errorf("after %s, want %s", got.Sub(begin), c.want.Sub(begin))
			}
		})
	}
}

// commitAs does what a shard's owner does to commit: it succeeds unless the
// state is another one.
func (e *env) commitAs(t *testing.T, shard job.ShardID, rev int64, state etcdkv.ShardState) bool {
	t.Helper()
	text, err := etcdkv.Encode(state)
	if err != nil {
		t.Fatal(err)
	}
	key := e.keys.State(shard)
	resp, err := e.cli.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).Then(clientv3.OpPut(key, text)).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Succeeded
}

// TestI8_ACommitUnderWayFails: one that was planned before the move and comes
// after it fails, also the first of a shard; one that comes between what the
// move has read and its write makes the move begin anew.
func TestI8_ACommitUnderWayFails(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("first=%v", first), func(t *testing.T) {
			t.Parallel()
			e := alone(t)
			e.apply(t, group("g", job.GroupSpec{}), object("a"), object("b"))
			home := e.HashShard(jobNamed("a"))
			var rev int64
			if !first {
				e.put(t, e.keys.State(home), etcdkv.ShardState{Schema: 1, Cursor: e.now()})
				rev = e.revision(t)
			}
			e.apply(t, object("a", in("g")))
			if e.commitAs(t, home, rev, etcdkv.ShardState{Schema: 1, Cursor: e.now().Add(time.Second)}) {
				t.Error("a commit of before the move came through")
			}

			home = e.HashShard(jobNamed("b"))
			kv, err := e.db.Get(t.Context(), "test", e.keys.State(home))
			if err != nil {
				t.Fatal(err)
			}
			rev = 0
			if kv != nil {
				rev = kv.ModRevision
			}
			cursor := e.now().Add(2 * time.Second)
			e.between(func() {
				if !e.commitAs(t, home, rev, etcdkv.ShardState{Schema: 1, Cursor: cursor, JobsRev: e.revision(t)}) {
					t.Error("the commit did not come through")
				}
			}, func() { e.apply(t, object("b", in("g"))) })
			if b := e.storedJob(t, "b"); !b.After.Equal(cursor) || b.Generation != 2 {
				t.Errorf("the move does not know of the commit: %+v", b)
			}
		})
	}
}

// TestMovesTogether: many jobs that leave one shard, and come to another, in one
// transaction.
func TestMovesTogether(t *testing.T) {
	t.Parallel()
	e := alone(t)
	objects := []manifest.Object{group("g", job.GroupSpec{}), group("h", job.GroupSpec{})}
	for i := range 12 {
		objects = append(objects, object(fmt.Sprintf("j%02d", i), in("g")))
	}
	e.apply(t, objects...)
	for i := range objects[2:] {
		objects[2+i].Spec.Group = "h"
	}
	before := e.revision(t)
	e.apply(t, objects...)
	if got := e.revision(t); got != before+1 {
		t.Errorf("%d transactions", got-before)
	}
	if got := len(e.keysUnder(t, e.keys.ShardJobs(e.shardOfGroup(t, "h")))); got != 12 {
		t.Errorf("%d jobs came", got)
	}
	// More than a transaction takes, of them many that leave.
	for i := range 200 {
		objects = append(objects, object(fmt.Sprintf("k%03d", i), in("g")))
	}
	e.apply(t, objects...)
	for i := range objects[2:] {
		objects[2+i].Spec.Group = ""
	}
	e.apply(t, objects...)
	jobs, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil || len(jobs) != 212 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	for _, j := range jobs {
		if j.Shard != e.HashShard(j.Key()) {
			t.Errorf("%s lies in %d", j.Key(), j.Shard)
		}
	}
}

// TestI4_StartOfAMovingJob: a job that moves while it is started gets its start
// where it is then.
func TestI4_StartOfAMovingJob(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}), object("a"))
	e.between(func() { e.apply(t, object("a", in("g"))) }, func() {
		fire, err := e.Start(t.Context(), jobNamed("a"), api.StartRequest{By: "me"})
		if err != nil {
			t.Fatal(err)
		}
		if kv, err := e.db.Get(t.Context(), "test", e.keys.Trigger(e.shardOfGroup(t, "g"), fire)); err != nil || kv == nil {
			t.Errorf("the start is not where the job is: %v", err)
		}
	})
	e.between(func() { e.apply(t, object("a")) }, func() {
		if _, err := e.Delete(t.Context(), jobNamed("a")); err != nil {
			t.Error(err)
		}
	})
	if _, err := e.Job(t.Context(), jobNamed("a")); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted while it moved: %v", err)
	}
}

// TestI8_NoMoveWhileACursorIsSetBack: of a shard that a wrong clock had planned ahead
// only its owner looks for what has run already. A job that moved would run it again.
func TestI8_NoMoveWhileACursorIsSetBack(t *testing.T) {
	t.Parallel()
	e := alone(t)
	e.apply(t, group("g", job.GroupSpec{}), object("a"))
	home := e.HashShard(jobNamed("a"))
	state := etcdkv.ShardState{Schema: 1, Cursor: e.now(), JobsRev: e.revision(t), Ahead: e.now().Add(8 * time.Hour)}
	e.put(t, e.keys.State(home), state)
	_, err := e.Apply(t.Context(), "f", encode(t, object("a", in("g"))), false)
	if !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "by a clock that was wrong") {
		t.Fatalf("moved, with %v, while what ran too early is known to its shard only", err)
	}
	state.Cursor = state.Ahead
	e.put(t, e.keys.State(home), state)
	e.apply(t, object("a", in("g")))
}
