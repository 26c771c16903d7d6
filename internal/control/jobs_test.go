package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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

func TestJobs(t *testing.T) {
	t.Parallel()
	e := setup(t)
	off := false
	e.apply(t,
		object("b", func(o *manifest.Object) { o.Metadata.Labels = map[string]string{"team": "core"} }),
		object("a", func(o *manifest.Object) { o.Spec.Schedules = nil }),
		object("c", func(o *manifest.Object) { o.Spec.Enabled = &off }),
		object("d", func(o *manifest.Object) { o.Metadata.Namespace = "" }),
	)
	names := func(q api.JobQuery) string {
		t.Helper()
		views, err := e.Jobs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, v := range views {
			keys = append(keys, v.Key().String())
		}
		return strings.Join(keys, " ")
	}
	for _, tc := range []struct {
		q    api.JobQuery
		want string
	}{
		{api.JobQuery{}, "default/d ops/a ops/b ops/c"},
		{api.JobQuery{Namespace: "ops"}, "ops/a ops/b ops/c"},
		{api.JobQuery{Labels: map[string]string{"team": "core"}}, "ops/b"},
		{api.JobQuery{Labels: map[string]string{"team": ""}}, ""},
		{api.JobQuery{Namespace: "nowhere"}, ""},
	} {
		if got := names(tc.q); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.q, got, tc.want)
		}
	}
	views, err := e.Jobs(t.Context(), api.JobQuery{Namespace: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC)
	if a := views[0]; len(a.Words) != 0 || a.Words == nil || !a.NextAt.IsZero() {
		t.Errorf("no schedule: %q %s", a.Words, a.NextAt)
	}
	if b := views[1]; len(b.Words) != 1 || !b.NextAt.Equal(hour) || b.Shard != etcdkv.ShardOf(b.Key(), testShards) {
		t.Errorf("hourly: %q %s shard %s", b.Words, b.NextAt, b.Shard)
	}
	if c := views[2]; len(c.Words) != 1 || !c.NextAt.IsZero() {
		t.Errorf("not enabled: %q %s", c.Words, c.NextAt)
	}
}

// TestJobsReadHistoryOnce: a list costs one page of history, however long.
func TestJobsReadHistoryOnce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	var objects []manifest.Object
	for i := range 30 {
		objects = append(objects, object(fmt.Sprintf("j%02d", i)))
	}
	e.apply(t, objects...)
	uid := e.storedJob(t, "j07").UID
	for i := range 9 {
		r := someRun(uid, "j07", e.now().Add(time.Duration(i)*time.Minute), job.StateSucceeded)
		r.Tasks = []job.Task{{Minion: "m", Stdout: job.Output{Head: "hello", Bytes: 5}}}
		e.runs.end(r)
	}
	e.runs.begin(someRun(uid, "j07", e.now(), job.StateRunning))
	e.runs.begin(someRun(uid, "j07", e.now().Add(time.Hour), job.StatePending)) // waits for its start: it does not run
	e.runs.end(someRun(job.UID{9}, "j08", e.now(), job.StateFailed))            // of an earlier job of that name
	views, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if e.runs.lists != 1 {
		t.Errorf("history was read %d times", e.runs.lists)
	}
	one, err := e.Job(t.Context(), job.Key{Namespace: "ops", Name: "j07"})
	if err != nil {
		t.Fatal(err)
	}
	// The owner of its shard, and of no other, does not tell of its open runs.
	e.runs.missing = []api.MissingRuns{{Node: "n2", Shards: []job.ShardID{one.Shard}}}
	partly, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range partly {
		if v.RunningUnknown != (v.Shard == one.Shard) {
			t.Errorf("%s, of shard %v: what runs is unknown: %v", v.Name, v.Shard, v.RunningUnknown)
		}
	}
	for _, v := range []api.Job{views[7], one} {
		if v.Running != 1 || v.Waiting != 1 || v.RunningUnknown || len(v.Last) != 5 {
			t.Fatalf("running %d, waiting %d, unknown %v, last %d", v.Running, v.Waiting, v.RunningUnknown, len(v.Last))
		}
		if got := v.Last[0].Tasks[0].Stdout; got.Head != "" || got.Bytes != 5 {
			t.Errorf("output: %+v", got)
		}
		if !v.Last[0].ScheduledAt.Equal(e.now().Add(8 * time.Minute)) {
			t.Errorf("newest is of %s", v.Last[0].ScheduledAt)
		}
	}
	if v := views[8]; len(v.Last) != 0 || v.Running != 0 {
		t.Errorf("a job shows the runs of another: %+v", v.Last)
	}
}

func TestJobsShowWhatCanBeRead(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"), object("b"))
	e.put(t, e.jobKey(job.Key{Namespace: "ops", Name: "a"}), "{")
	views, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil || len(views) != 1 || views[0].Name != "b" {
		t.Errorf("got %v, %v", views, err)
	}
}

// fill stores n jobs, named by rising numbers.
func (e *env) fill(t *testing.T, n int) {
	t.Helper()
	for from := 0; from < n; from += 100 {
		var ops []clientv3.Op
		for i := from; i < min(from+100, n); i++ {
			key := job.Key{Namespace: "ops", Name: fmt.Sprintf("j%05d", i)}
			text, err := etcdkv.Encode(etcdkv.StoredJob{Schema: 1, Job: job.Job{Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}}})
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, clientv3.OpPut(e.jobKey(key), text))
		}
		if _, err := e.cli.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJobsOverPages: a list longer than one range read is whole, even when the
// revision of its first page is compacted before the second.
func TestJobsOverPages(t *testing.T) {
	t.Parallel()
	for _, compact := range []bool{false, true} {
		t.Run(fmt.Sprintf("compact=%v", compact), func(t *testing.T) {
			t.Parallel()
			e := alone(t) // compacted
			const n = store.PageSize + 7
			e.fill(t, n)
			gets := 0
			if compact {
				e.cli.KV = &beforeGet{KV: e.cli.KV, do: func() {
					if gets++; gets != 2 {
						return
					}
					e.put(t, e.keys.Meta(), "{}")
					kv, err := e.db.Get(t.Context(), "test", e.keys.Meta())
					if err != nil {
						t.Fatal(err)
					}
					e.srv.Compact(t, kv.ModRevision)
				}}
			}
			views, err := e.Jobs(t.Context(), api.JobQuery{})
			if err != nil || len(views) != n {
				t.Fatalf("%d jobs, %v", len(views), err)
			}
			for i, v := range views {
				if want := fmt.Sprintf("j%05d", i); v.Name != want {
					t.Fatalf("job %d is %s", i, v.Name)
				}
			}
		})
	}
}

// beforeGet does something before each read.
type beforeGet struct {
	clientv3.KV
	do func()
}

func (k *beforeGet) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	k.do()
	return k.KV.Get(ctx, key, opts...)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	key := job.Key{Namespace: "ops", Name: "a"}
	was := e.storedJob(t, "a")
	if _, err := e.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	kv, err := e.db.Get(t.Context(), "test", e.keys.DeletedJob(e.HashShard(key), was.UID))
	if err != nil || kv == nil {
		t.Fatalf("no record of the job for its open runs: %v", err)
	}
	if r, err := store.Decode[etcdkv.DeletedJob](kv); err != nil || cmp.Diff(was.Job, r.Job) != "" {
		t.Errorf("the record is %+v (%v), want the job as it was", r, err)
	}
	if _, err := e.Delete(t.Context(), key); !errors.Is(err, job.ErrNotFound) || err.Error() != "job ops/a: not found" {
		t.Errorf("the second time: %v", err)
	}
	if _, err := e.Job(t.Context(), key); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}

func (e *env) triggers(t *testing.T) []etcdkv.Trigger {
	t.Helper()
	var all []etcdkv.Trigger
	for s := range testShards {
		part, err := store.ListAll[etcdkv.Trigger](t.Context(), e.db, "test", e.keys.Triggers(job.ShardID(s)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part...)
	}
	return all
}

func TestStart(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	key := job.Key{Namespace: "ops", Name: "a"}
	fire, err := e.Start(t.Context(), key, api.StartRequest{By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	want := etcdkv.Trigger{Schema: 1, Fire: job.FireID{Job: e.storedJob(t, "a").UID, At: e.now().UnixNano(), Trigger: job.TriggerManual}, Key: key, By: "me", Subject: "me"}
	if d := cmp.Diff([]etcdkv.Trigger{want}, e.triggers(t)); d != "" || fire != want.Fire {
		t.Errorf("fire %s, triggers (-want +got):\n%s", fire, d)
	}
	kv, err := e.db.Get(t.Context(), "test", e.keys.Trigger(etcdkv.ShardOf(key, testShards), fire))
	if err != nil || kv == nil {
		t.Errorf("the trigger is not in its shard: %v", err)
	}
}

// TestI4_NoTriggerWithoutAJob: neither when the job was never there, nor when
// it goes while it is started.
func TestI4_NoTriggerWithoutAJob(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := job.Key{Namespace: "ops", Name: "a"}
	if _, err := e.Start(t.Context(), key, api.StartRequest{By: ""}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	e.apply(t, object("a"))
	whole := e.cli.KV
	e.cli.KV = &beforeTxn{KV: whole, do: func() {
		if _, err := whole.Delete(t.Context(), e.jobKey(key)); err != nil {
			t.Error(err)
		}
	}}
	_, err := e.Start(t.Context(), key, api.StartRequest{By: ""})
	e.cli.KV = whole
	if !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted meanwhile: %v", err)
	}
	if got := e.triggers(t); len(got) != 0 {
		t.Errorf("triggers: %v", got)
	}
}

// beforeTxn does something once, before the first transaction.
type beforeTxn struct {
	clientv3.KV
	once sync.Once
	do   func()
}

func (k *beforeTxn) Txn(ctx context.Context) clientv3.Txn {
	k.once.Do(k.do)
	return k.KV.Txn(ctx)
}

// TestStartsOfOneInstantDiffer: the clock stands still here.
func TestStartsOfOneInstantDiffer(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := e.Start(t.Context(), job.Key{Namespace: "ops", Name: "a"}, api.StartRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := e.triggers(t); len(got) != 8 {
		t.Errorf("%d triggers, want 8", len(got))
	}
}
