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
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// group is a group's manifest.
func group(name string, spec job.GroupSpec) manifest.Object {
	return manifest.Object{Kind: job.KindGroup, Metadata: job.Metadata{Namespace: "ops", Name: name}, Group: spec}
}

// in puts a job into a group.
func in(group string) func(*manifest.Object) {
	return func(o *manifest.Object) { o.Spec.Group = group }
}

func jobNamed(name string) job.Key { return job.Key{Namespace: "ops", Name: name} }

// shardOfGroup returns the shard of a stored group.
func (e *env) shardOfGroup(t *testing.T, name string) job.ShardID {
	t.Helper()
	g, err := e.Group(t.Context(), jobNamed(name))
	if err != nil {
		t.Fatal(err)
	}
	return g.Shard
}

// openFire puts a fire of a job into a slot.
func (e *env) openFire(t *testing.T, shard job.ShardID, slot uint64, name string, at time.Time) {
	t.Helper()
	fire := job.FireID{Job: e.storedJob(t, name).UID, At: at.UnixNano(), Trigger: job.TriggerSchedule}
	e.put(t, e.keys.Slot(shard, slot), string(etcdkv.EncodeSlot(&etcdkv.Slot{Entries: []etcdkv.SlotEntry{{Fire: fire, State: etcdkv.EntryOpen}}})))
}

// keysUnder returns the keys under a prefix, without the cluster's root.
func (e *env) keysUnder(t *testing.T, prefix string) []string {
	t.Helper()
	resp, err := e.cli.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, kv := range resp.Kvs {
		out = append(out, strings.TrimPrefix(string(kv.Key), e.keys.Root()))
	}
	return out
}

func TestApplyGroups(t *testing.T) {
	t.Parallel()
	e := setup(t)
	// The job comes first in the file, and its group after it.
	results, err := e.Apply(t.Context(), "x", encode(t, object("a", in("g")), group("g", job.GroupSpec{Mode: "failover"}), group("h", job.GroupSpec{}), object("b")), false)
	if err != nil {
		t.Fatal(err)
	}
	defaults := []string{"timeout 1h0m0s", "timeZone UTC"}
	want := []api.ApplyResult{
		{Kind: "Group", Namespace: "ops", Name: "g", Action: api.ActionCreated}, {Kind: "Group", Namespace: "ops", Name: "h", Action: api.ActionCreated},
		{Kind: "Job", Namespace: "ops", Name: "a", Action: api.ActionCreated, Defaults: defaults}, {Kind: "Job", Namespace: "ops", Name: "b", Action: api.ActionCreated, Defaults: defaults},
	}
	if d := cmp.Diff(want, results); d != "" {
		t.Errorf("results (-want +got):\n%s", d)
	}
	g, err := e.Group(t.Context(), jobNamed("g"))
	if err != nil || g.Shard != job.FirstGroupShard || g.Generation != 1 || g.UID.IsZero() || g.Jobs != 1 || !g.CreatedAt.Equal(e.now()) || g.Words == "" {
		t.Errorf("group %+v, %v", g, err)
	}
	if s := e.shardOfGroup(t, "h"); s != job.FirstGroupShard+1 {
		t.Errorf("the second group has shard %d", s)
	}
	a, err := e.Job(t.Context(), jobNamed("a"))
	if err != nil || a.Shard != g.Shard {
		t.Errorf("job a lies in %d, %v", a.Shard, err)
	}
	if b, err := e.Job(t.Context(), jobNamed("b")); err != nil || b.Shard != e.HashShard(jobNamed("b")) {
		t.Errorf("job b lies in %d, %v", b.Shard, err)
	}
	all, err := e.Jobs(t.Context(), api.JobQuery{})
	if err != nil || len(all) != 2 || all[0].Shard != g.Shard || all[1].Shard != e.HashShard(jobNamed("b")) {
		t.Errorf("jobs %+v, %v", all, err)
	}

	e.pass(time.Hour)
	done := e.apply(t, group("g", job.GroupSpec{Mode: "failback", HoldOff: job.Duration(time.Minute)}), group("h", job.GroupSpec{}), object("a", in("g")))
	if d := cmp.Diff(map[string]api.Action{"g": api.ActionUpdated, "h": api.ActionUnchanged, "a": api.ActionUnchanged}, done); d != "" {
		t.Errorf("second (-want +got):\n%s", d)
	}
	edited, err := e.Group(t.Context(), jobNamed("g"))
	if err != nil || edited.Generation != 2 || edited.Shard != g.Shard || edited.UID != g.UID || !edited.CreatedAt.Equal(g.CreatedAt) || edited.Spec.Mode != "failback" {
		t.Errorf("edited %+v, %v", edited, err)
	}
}

func TestGroupsKeepUnknownFields(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}))
	key := e.keys.Group(jobNamed("g"))
	kv, err := e.db.Get(t.Context(), "test", key)
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, key, strings.Replace(string(kv.Value), "{", `{"fromTheFuture":1,`, 1))
	e.apply(t, group("g", job.GroupSpec{Mode: "failover"}))
	if kv, err = e.db.Get(t.Context(), "test", key); err != nil || !strings.Contains(string(kv.Value), `"fromTheFuture":1`) {
		t.Errorf("%s, %v", kv.Value, err)
	}
}

func TestApplyUnknownGroup(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("ledger", job.GroupSpec{}))
	_, err := e.Apply(t.Context(), "x.json", encode(t,
		object("a", in("leger")), object("b", in("turn")), object("c", in("ledger"), func(o *manifest.Object) { o.Metadata.Namespace = "other" }),
		group("turns", job.GroupSpec{}), object("d")), false)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	want := []job.Problem{
		{Path: "spec.group", Message: `there is no group "leger" in namespace "ops"; did you mean "ledger"?`, File: "x.json", Line: 1},
		{Path: "spec.group", Message: `there is no group "turn" in namespace "ops"; did you mean "turns"?`, File: "x.json", Line: 2},
		{Path: "spec.group", Message: `there is no group "ledger" in namespace "other"; apply one (kind: Group), in this file or before it`, File: "x.json", Line: 3},
	}
	if d := cmp.Diff(want, invalid.Problems); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	if got := e.keysUnder(t, e.keys.Jobs()); len(got) != 0 {
		t.Errorf("something was applied: %v", got)
	}
}

// TestI7_JobsOfAGroupAreFound: each verb finds a job in its group's shard.
func TestI7_JobsOfAGroupAreFound(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}), object("a", in("g")), object("b", in("g")), object("c"))
	shard := e.shardOfGroup(t, "g")
	fire, err := e.Start(t.Context(), jobNamed("a"), api.StartRequest{By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if kv, err := e.db.Get(t.Context(), "test", e.keys.Trigger(shard, fire)); err != nil || kv == nil {
		t.Errorf("the start is not in the group's shard: %v", err)
	}
	if r, err := e.Run(t.Context(), fire.RunID()); err != nil || r.Shard != shard || r.State != job.StatePending {
		t.Errorf("run %+v, %v", r, err)
	}
	shards, err := e.Shards(t.Context())
	if err != nil || len(shards) != testShards+1 {
		t.Fatalf("%d shards, %v", len(shards), err)
	}
	if s := shards[testShards]; s.ID != shard || s.Group != "ops/g" || s.Mode != "balanced" || s.Jobs != 2 {
		t.Errorf("the group's shard: %+v", s)
	}
	if _, err := e.Delete(t.Context(), jobNamed("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Job(t.Context(), jobNamed("a")); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	want := []string{"grouped/ops/b"}
	if d := cmp.Diff(want, e.keysUnder(t, e.keys.Grouped())); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
}

// beforeWrite does something once, before the first transaction that writes.
type beforeWrite struct {
	clientv3.KV
	once sync.Once
	do   func()
}

func (k *beforeWrite) Txn(ctx context.Context) clientv3.Txn { return &watchedTxn{k.KV.Txn(ctx), k} }

type watchedTxn struct {
	clientv3.Txn
	kv *beforeWrite
}

func (x *watchedTxn) If(cmps ...clientv3.Cmp) clientv3.Txn { x.Txn = x.Txn.If(cmps...); return x }

func (x *watchedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		if op.IsPut() || op.IsDelete() {
			x.kv.once.Do(x.kv.do)
		}
	}
	x.Txn = x.Txn.Then(ops...)
	return x
}

// between runs do between what fn reads and what it writes.
func (e *env) between(do, fn func()) {
	whole := e.cli.KV
	e.cli.KV = &beforeWrite{KV: whole, do: func() {
		e.cli.KV = whole
		do()
	}}
	fn()
	e.cli.KV = whole
}

// TestI7_NoJobWithoutItsGroup: a group that is deleted while a job is put into
// it is either not deleted, or the job is refused.
func TestI7_NoJobWithoutItsGroup(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}))
	e.between(func() {
		if err := e.DeleteGroup(t.Context(), jobNamed("g")); err != nil {
			t.Error(err)
		}
	}, func() {
		_, err := e.Apply(t.Context(), "x", encode(t, object("a", in("g"))), false)
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("the group went first: %v", err)
		}
	})
	e.apply(t, group("g", job.GroupSpec{}))
	e.between(func() { e.apply(t, object("a", in("g"))) }, func() {
		if err := e.DeleteGroup(t.Context(), jobNamed("g")); !errors.Is(err, job.ErrConflict) {
			t.Errorf("the job came first: %v", err)
		}
	})
	if s := e.shardOfGroup(t, "g"); s != job.FirstGroupShard+1 {
		t.Errorf("shard %d was given a second time", s)
	}
}

func TestDeleteGroup(t *testing.T) {
	t.Parallel()
	e := setup(t)
	if err := e.DeleteGroup(t.Context(), jobNamed("g")); !errors.Is(err, job.ErrNotFound) || err.Error() != "group ops/g: not found" {
		t.Errorf("none: %v", err)
	}
	e.apply(t, group("g", job.GroupSpec{}), object("a", in("g")))
	shard := e.shardOfGroup(t, "g")
	e.put(t, e.keys.State(shard), etcdkv.ShardState{Schema: 1, Cursor: e.now()})
	e.put(t, e.keys.Override(shard), etcdkv.Override{Schema: 1, Shard: shard})
	refused := func(want string) {
		t.Helper()
		if err := e.DeleteGroup(t.Context(), jobNamed("g")); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused("group ops/g has 1 job; delete them, or put them into another group")
	e.openFire(t, shard, 1, "a", e.now())
	e.apply(t, object("a")) // leaves the group
	refused("has runs that have not ended")
	if _, err := e.cli.Delete(t.Context(), e.keys.Slot(shard, 1)); err != nil {
		t.Fatal(err)
	}
	refused("still leaving")
	if _, err := e.cli.Delete(t.Context(), e.keys.Moved(shard), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteGroup(t.Context(), jobNamed("g")); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{e.keys.Shard(shard), e.keys.Override(shard), e.keys.Groups()} {
		if left := e.keysUnder(t, prefix); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestI7_ConcurrentMoves: whoever looks at any revision finds the job in one
// place, and the key that tells it right.
func TestI7_ConcurrentMoves(t *testing.T) {
	t.Parallel()
	e := alone(t)
	e.apply(t, group("g", job.GroupSpec{}), group("h", job.GroupSpec{}), object("a"))
	var wg sync.WaitGroup
	for _, at := range []string{"g", "h", ""} {
		wg.Go(func() {
			for i := range 8 {
				_, err := e.Apply(t.Context(), "x", encode(t, object("a", in(at))), false)
				if i%4 == 3 && err == nil {
					_, err = e.Delete(t.Context(), jobNamed("a"))
				}
				if err != nil && !errors.Is(err, job.ErrConflict) && !errors.Is(err, job.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	now, err := e.cli.Get(t.Context(), e.keys.Meta())
	if err != nil {
		t.Fatal(err)
	}
	homes := map[string]int{}
	for rev := int64(2); rev <= now.Header.Revision; rev++ {
		jobs, err := e.cli.Get(t.Context(), e.keys.Jobs(), clientv3.WithPrefix(), clientv3.WithRev(rev))
		if err != nil {
			t.Fatal(err)
		}
		grouped, err := e.cli.Get(t.Context(), e.keys.GroupedJob(jobNamed("a")), clientv3.WithRev(rev))
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs.Kvs) > 1 || len(jobs.Kvs) == 0 && len(grouped.Kvs) > 0 {
			t.Fatalf("revision %d: %d jobs, %d places", rev, len(jobs.Kvs), len(grouped.Kvs))
		}
		if len(jobs.Kvs) == 0 {
			continue
		}
		shard, key, err := e.keys.ParseJob(string(jobs.Kvs[0].Key))
		if err != nil {
			t.Fatal(err)
		}
		told := e.HashShard(key)
		if len(grouped.Kvs) > 0 {
			g, err := store.Decode[etcdkv.Grouped](grouped.Kvs[0])
			if err != nil {
				t.Fatal(err)
			}
			told = g.Shard
		}
		stored, err := store.Decode[etcdkv.StoredJob](jobs.Kvs[0])
		if err != nil {
			t.Fatal(err)
		}
		if told != shard || shard.IsGroup() != (stored.Spec.Group != "") {
			t.Fatalf("revision %d: the job, of group %q, lies in %d, and is told to lie in %d", rev, stored.Spec.Group, shard, told)
		}
		homes[fmt.Sprint(shard)]++
	}
	if len(homes) < 3 {
		t.Errorf("the job has been in %v only", homes)
	}
}

// TestGroupsGetShardsOfTheirOwn: also those that are made at the same time.
func TestGroupsGetShardsOfTheirOwn(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.between(func() { e.apply(t, group("g", job.GroupSpec{})) }, func() { e.apply(t, group("h", job.GroupSpec{})) })
	if g, h := e.shardOfGroup(t, "g"), e.shardOfGroup(t, "h"); g == h || !g.IsGroup() || !h.IsGroup() {
		t.Errorf("the groups have the shards %d and %d", g, h)
	}
}

// secondTxn does something before the second transaction.
type secondTxn struct {
	clientv3.KV
	n  int
	do func()
}

func (k *secondTxn) Txn(ctx context.Context) clientv3.Txn {
	if k.n++; k.n == 2 {
		k.do()
	}
	return k.KV.Txn(ctx)
}

// TestI7_FoundWhileItMoves: a job that moves between the two reads by which it
// is found is found.
func TestI7_FoundWhileItMoves(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}), group("h", job.GroupSpec{}), object("a", in("g")))
	for _, to := range []string{"h", "", "g"} {
		whole := e.cli.KV
		e.cli.KV = &secondTxn{KV: whole, do: func() {
			e.cli.KV = whole
			e.apply(t, object("a", in(to)))
		}}
		v, err := e.Job(t.Context(), jobNamed("a"))
		e.cli.KV = whole
		if err != nil {
			t.Errorf("while it moves to %q: %v", to, err)
		} else if v.Shard.IsGroup() != (v.Spec.Group != "") {
			t.Errorf("of group %q, in shard %d", v.Spec.Group, v.Shard)
		}
	}
}

func TestGroupViews(t *testing.T) {
	t.Parallel()
	e := alone(t)
	e.apply(t, group("g", job.GroupSpec{Mode: "roundrobin"}), group("b", job.GroupSpec{}))
	shard := e.shardOfGroup(t, "g")
	due := e.now().Add(time.Minute)
	e.put(t, e.keys.Owner(shard), etcdkv.Owner{Schema: 1, Node: "n2", Grant: "x", Since: e.now(), Due: due})
	token := e.revision(t)
	for _, n := range []job.NodeID{"n3", "n1"} {
		e.put(t, e.keys.Line(shard, n), etcdkv.Place{Schema: 1, Node: n, Since: e.now()})
	}
	ring := []etcdkv.RingNode{{Node: "n1"}, {Node: "n2", Flaps: 2, LastFlap: e.now()}}
	e.put(t, e.keys.State(shard), etcdkv.ShardState{Schema: 1, Cursor: e.now(), Ring: ring})
	if err := e.HoldShard(t.Context(), "ops/g", api.Order{By: "ada", Reason: "why"}); err != nil {
		t.Fatal(err)
	}
	all, err := e.Groups(t.Context(), "ops")
	if err != nil || len(all) != 2 || all[0].Name != "b" || all[1].Name != "g" {
		t.Fatalf("%+v, %v", all, err)
	}
	got := all[1]
	want := api.Group{
		Group: got.Group, Words: got.Words, Owner: "n2", Since: e.now(), Token: job.Token{Epoch: 3, Revision: token}, Due: due,
		Line: []job.NodeID{"n3", "n1"}, Ring: apiview.Each(ring, apiview.RingNode),
		Override: &api.Override{Shard: shard, By: "ada", Reason: "why", Since: e.now()},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("view (-want +got):\n%s", d)
	}
	if none, err := e.Groups(t.Context(), "other"); err != nil || len(none) != 0 {
		t.Errorf("of another namespace: %v, %v", none, err)
	}
}
