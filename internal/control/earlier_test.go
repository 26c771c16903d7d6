package control

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// every returns the job with a schedule.
func every(text string) manifest.Object {
	return object("j", func(o *manifest.Object) { o.Spec.Schedules = []string{text} })
}

// TestI12_AnEditKeepsWhatWasDue: what a schedule still has to do is stored with the
// edit that replaces it, until an owner has come past its end, and goes with the job
// when it is deleted.
func TestI12_AnEditKeepsWhatWasDue(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, every("@every 1m"))
	e.pass(30 * time.Second)
	e.apply(t, every("@every 2m"))
	if got := e.storedJob(t, "j").Earlier; len(got) > 1 {
		t.Fatalf("kept %+v", got)
	}
	begin := e.storedJob(t, "j").After
	e.pass(5 * time.Minute)
	off := false
	stopped := every("@every 2m")
	stopped.Spec.Enabled = &off
	e.apply(t, stopped)
	j := e.storedJob(t, "j")
	last := j.Earlier[len(j.Earlier)-1]
	if !last.Since.Equal(begin) || !last.Until.Equal(e.now()) || !last.Disabled.Equal(e.now()) || last.Spec.Schedules[0] != "@every 2m" {
		t.Errorf("kept %+v", last)
	}
	if j.After != e.now() {
		t.Errorf("the new schedule holds after %v, want now, %v", j.After, e.now())
	}

	// An owner has come past the end of that.
	key := job.Key{Namespace: "ops", Name: "j"}
	shard := e.HashShard(key)
	kv, err := e.cli.Get(t.Context(), e.jobKey(key))
	if err != nil {
		t.Fatal(err)
	}
	e.pass(time.Minute)
	e.put(t, e.keys.State(shard), etcdkv.ShardState{Schema: 1, Cursor: e.now(), JobsRev: kv.Kvs[0].ModRevision})
	e.pass(time.Minute)
	e.apply(t, every("@every 3m"))
	if got := e.storedJob(t, "j").Earlier; got != nil {
		t.Errorf("kept %+v, and all of it is committed", got)
	}

	e.pass(10 * time.Minute)
	e.apply(t, every("@every 5m"))
	want := e.storedJob(t, "j").Earlier
	e.pass(10 * time.Minute)
	if _, err := e.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	got, err := e.cli.Get(t.Context(), e.keys.DeletedJob(shard, j.UID))
	if err != nil || len(got.Kvs) != 1 {
		t.Fatal(got, err)
	}
	r, err := etcdkv.Decode[etcdkv.DeletedJob]("deleted", got.Kvs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if !r.At.Equal(e.now()) || r.Created != kv.Kvs[0].CreateRevision || len(r.Earlier) != 1 || len(want) != 1 || r.Earlier[0].Until != want[0].Until {
		t.Errorf("the record says %+v, want the earlier schedule %+v", r, want)
	}
}

// TestI12_TooManyEdits: an edit that could not be kept is refused, and the job can
// be deleted still.
func TestI12_TooManyEdits(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, every("@every 60s"))
	for i := range etcdkv.MaxEarlier {
		e.pass(10 * time.Minute)
		e.apply(t, every(fmt.Sprintf("@every %ds", 61+i)))
	}
	e.pass(10 * time.Minute)
	_, err := e.Apply(t.Context(), "f", encode(t, every("@every 90s")), false)
	if !errors.Is(err, job.ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if got := len(e.storedJob(t, "j").Earlier); got != etcdkv.MaxEarlier {
		t.Errorf("%d are kept, want %d", got, etcdkv.MaxEarlier)
	}
	key := job.Key{Namespace: "ops", Name: "j"}
	shard := e.HashShard(key)
	if _, err := e.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got, err := e.cli.Get(t.Context(), e.keys.Deleted(shard), clientv3.WithPrefix()); err != nil || len(got.Kvs) != 1 {
		t.Error(got, err)
	}
}
