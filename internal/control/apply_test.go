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
	"github.com/carillon-cron/carillon/internal/control/apply"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func TestApplyCreatesUpdatesAndLeaves(t *testing.T) {
	t.Parallel()
	e := setup(t)
	want := map[string]api.Action{"a": api.ActionCreated, "b": api.ActionCreated}
	if d := cmp.Diff(want, e.apply(t, object("a"), object("b"))); d != "" {
		t.Fatalf("first (-want +got):\n%s", d)
	}
	first := e.storedJob(t, "a")
	if first.UID.IsZero() || first.Generation != 1 || !first.After.Equal(e.now()) || !first.CreatedAt.Equal(e.now()) || first.Schema != 1 {
		t.Errorf("created: %+v", first)
	}
	e.pass(time.Hour)
	want = map[string]api.Action{"a": api.ActionUnchanged, "b": api.ActionUpdated, "c": api.ActionCreated}
	got := e.apply(t, object("a"), object("b", func(o *manifest.Object) { o.Metadata.Labels = map[string]string{"x": "y"} }), object("c"))
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("second (-want +got):\n%s", d)
	}
	if again := e.storedJob(t, "a"); again.Generation != 1 || !again.UpdatedAt.Equal(first.UpdatedAt) {
		t.Errorf("an unchanged job was written: %+v", again)
	}
}

func TestI3_AnEditKeepsIdentity(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	first := e.storedJob(t, "a")

	e.pass(time.Hour)
	e.apply(t, object("a", func(o *manifest.Object) { o.Spec.Command = []string{"false"} }))
	edited := e.storedJob(t, "a")
	if edited.UID != first.UID || edited.Generation != 2 || !edited.After.Equal(first.After) || !edited.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("another command: %+v, was %+v", edited, first)
	}
	if !edited.UpdatedAt.Equal(e.now()) {
		t.Errorf("updated at %s", edited.UpdatedAt)
	}

	e.pass(time.Hour)
	e.apply(t, object("a", func(o *manifest.Object) { o.Spec.Schedules = []string{"30 * * * *"} }))
	moved := e.storedJob(t, "a")
	if moved.UID != first.UID || moved.Generation != 3 || !moved.After.Equal(e.now()) {
		t.Errorf("another schedule: %+v", moved)
	}
}

func TestI3_UnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	key := e.jobKey(job.Key{Namespace: "ops", Name: "a"})
	kv, err := e.db.Get(t.Context(), "test", key)
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, key, strings.Replace(string(kv.Value), "{", `{"fromTheFuture":{"x":1},`, 1))
	e.apply(t, object("a", func(o *manifest.Object) { o.Spec.User = "me" }))
	kv, err = e.db.Get(t.Context(), "test", key)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(kv.Value), `"fromTheFuture":{"x":1}`) {
		t.Errorf("the unknown field is gone: %s", kv.Value)
	}
}

func TestApplyDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	results, err := e.Apply(t.Context(), "x", encode(t, object("a")), true)
	if err != nil || len(results) != 1 || results[0].Action != api.ActionCreated {
		t.Errorf("got %v, %v", results, err)
	}
	if _, err := e.Job(t.Context(), job.Key{Namespace: "ops", Name: "a"}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("the job is there: %v", err)
	}
}

func TestApplyTellsAllProblems(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Apply(t.Context(), "x.json", encode(t, object("a"), object("a"), object("b", func(o *manifest.Object) { o.Kind = "Widget" })), false)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	want := []job.Problem{
		{Path: "metadata.name", Message: "ops/a is given twice, first in line 1; give each job once", File: "x.json", Line: 2},
		{Path: "kind", Message: `"Widget" cannot be applied; want Job or Group or HostGroup or Calendar or Queue or Script or Secret or Notifier or Defaults or RoleBinding or Role`, File: "x.json", Line: 3},
	}
	if d := cmp.Diff(want, invalid.Problems); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	if _, err := e.Apply(t.Context(), "x.json", []byte("[]"), false); !errors.As(err, &invalid) {
		t.Errorf("an empty manifest: %v", err)
	}
	if jobs, err := e.Jobs(t.Context(), api.JobQuery{}); err != nil || len(jobs) != 0 {
		t.Errorf("something was applied: %v %v", jobs, err)
	}
}

// TestI1_ConcurrentAppliesLoseNothing: every update is counted, though many
// write the same jobs at the same time.
func TestI1_ConcurrentAppliesLoseNothing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"), object("b"))
	const writers, edits = 4, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range edits {
				user := func(o *manifest.Object) { o.Spec.User = fmt.Sprintf("u%d-%d", w, i) }
				data := encode(t, object("a", user), object("b", user))
				for {
					_, err := e.Apply(t.Context(), "x", data, false)
					if errors.Is(err, job.ErrConflict) {
						continue // allowed, when one is always the slower
					}
					if err != nil {
						t.Error(err)
					}
					break
				}
			}
		})
	}
	wg.Wait()
	a, b := e.storedJob(t, "a"), e.storedJob(t, "b")
	if want := int64(1 + writers*edits); a.Generation != want || b.Generation != want {
		t.Errorf("generations %d and %d, want %d", a.Generation, b.Generation, want)
	}
	if a.Spec.User != b.Spec.User {
		t.Errorf("two files are mixed: %s and %s", a.Spec.User, b.Spec.User)
	}
}

// TestI2_AllOrNothing: whoever looks at any revision sees a file applied to all
// of its jobs or to none.
func TestI2_AllOrNothing(t *testing.T) {
	t.Parallel()
	e := alone(t)
	const atomicJobs = apply.MaxAtomicOps / 2
	file := func(user string) []byte {
		objects := make([]manifest.Object, atomicJobs)
		for i := range objects {
			objects[i] = object(fmt.Sprintf("j%03d", i), func(o *manifest.Object) { o.Spec.User = user })
		}
		return encode(t, objects...)
	}
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range 3 {
				if _, err := e.Apply(t.Context(), "x", file(fmt.Sprintf("u%d-%d", w, i)), false); err != nil && !errors.Is(err, job.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	resp, err := e.cli.Get(t.Context(), e.keys.Jobs(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for rev := resp.Kvs[0].CreateRevision; rev <= resp.Header.Revision; rev++ {
		at, err := e.cli.Get(t.Context(), e.keys.Jobs(), clientv3.WithPrefix(), clientv3.WithRev(rev))
		if err != nil {
			t.Fatal(err)
		}
		if len(at.Kvs) != atomicJobs {
			t.Fatalf("revision %d has %d jobs", rev, len(at.Kvs))
		}
		for _, kv := range at.Kvs {
			if kv.ModRevision != at.Kvs[0].ModRevision {
				t.Fatalf("revision %d mixes two files", rev)
			}
		}
	}
}

// brokenKV fails every transaction that writes, from the n-th on.
type brokenKV struct {
	clientv3.KV
	n int
}

func (k *brokenKV) Txn(ctx context.Context) clientv3.Txn { return &brokenTxn{k.KV.Txn(ctx), k} }

type brokenTxn struct {
	clientv3.Txn
	kv *brokenKV
}

func (x *brokenTxn) If(cmps ...clientv3.Cmp) clientv3.Txn { x.Txn = x.Txn.If(cmps...); return x }

func (x *brokenTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	if ops[0].IsPut() {
		x.kv.n--
	}
	x.Txn = x.Txn.Then(ops...)
	return x
}

func (x *brokenTxn) Commit() (*clientv3.TxnResponse, error) {
	if x.kv.n < 0 {
		return nil, errors.New("the wire is cut")
	}
	return x.Txn.Commit()
}

// TestI2_LargeFilesTellHowFarTheyCame: a file of many chunks that fails in the
// midst reports exactly what was applied.
func TestI2_LargeFilesTellHowFarTheyCame(t *testing.T) {
	t.Parallel()
	e := setup(t)
	objects := make([]manifest.Object, 230)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("j%03d", i))
	}
	whole := e.cli.KV
	e.cli.KV = &brokenKV{KV: whole, n: 2}
	results, err := e.Apply(t.Context(), "x", encode(t, objects...), false)
	e.cli.KV = whole
	if !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "applied the first 100 of 230 objects, up to ops/j099") {
		t.Fatalf("got %v", err)
	}
	views, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var there, told []string
	for _, v := range views {
		there = append(there, v.Name)
	}
	for _, r := range results {
		told = append(told, r.Name)
	}
	if d := cmp.Diff(there, told); d != "" || len(told) != 100 {
		t.Errorf("%d told (-there +told):\n%s", len(told), d)
	}

	done := e.apply(t, objects...)
	created := 0
	for _, a := range done {
		if a == api.ActionCreated {
			created++
		}
	}
	if len(done) != 230 || created != 130 {
		t.Errorf("the second time %d of %d were created, want 130 of 230", created, len(done))
	}
}

// TestI2_LargeValuesAreSplit: a file that does not fit into one request is
// applied in chunks that do.
func TestI2_LargeValuesAreSplit(t *testing.T) {
	t.Parallel()
	e := setup(t)
	objects := make([]manifest.Object, 10)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("j%d", i), func(o *manifest.Object) { o.Spec.Script = &job.Script{Source: strings.Repeat("x", 400<<10)} })
	}
	if done := e.apply(t, objects...); len(done) != 10 {
		t.Errorf("%d applied", len(done))
	}
	objects[3].Spec.Script.Source = strings.Repeat("x", apply.MaxAtomicBytes+1)
	objects[4].Spec.User = "me"
	_, err := e.Apply(t.Context(), "x", encode(t, objects...), false)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Line != 4 {
		t.Errorf("got %v", err)
	}
	if got := e.storedJob(t, "j4"); got.Generation != 1 {
		t.Error("something of a file that is not valid was applied")
	}
}

func TestApplyWithoutEtcdIsUnavailable(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *Config, _ *Deps) { c.Timeout = time.Nanosecond })
	if _, err := e.Apply(t.Context(), "x", encode(t, object("a")), false); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Apply(ctx, "x", encode(t, object("a")), false); !errors.Is(err, context.Canceled) || errors.Is(err, job.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}
