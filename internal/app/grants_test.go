package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// granted is what a cluster's minions have been granted, as a node loads it at
// its start, and how many audit records there are of labels.
func granted(t *testing.T, c *clientv3.Client, keys etcdkv.Keys) (all map[job.MinionID]map[string]string, records int) {
	t.Helper()
	all = map[job.MinionID]map[string]string{}
	r := &registry{client: c, keys: keys, log: zap.NewNop()}
	if err := r.loadGrants(t.Context(), func(id job.MinionID, labels map[string]string) { all[id] = labels }); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), keys.Audit(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range got.Kvs {
		rec, err := etcdkv.Decode[etcdkv.Audit](string(kv.Key), kv.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Action == "minion.label" && rec.By == "upgrade" && all[job.MinionID(rec.Object)] != nil {
			records++
		}
	}
	return all, records
}

// start does what a node does with the cluster's description when it starts.
func start(t *testing.T, c *clientv3.Client, keys etcdkv.Keys) etcdkv.Meta {
	t.Helper()
	if _, _, err := openMeta(t.Context(), c, keys, &configs.Scheduler{Access: string(access.Closed)}, true); err != nil {
		t.Fatal(err)
	}
	if err := grantOldLabels(t.Context(), c, keys, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	meta, _, err := openMeta(t.Context(), c, keys, &configs.Scheduler{Access: string(access.Closed)}, true)
	if err != nil {
		t.Fatal(err)
	}
	return meta
}

func putValue(t *testing.T, c *clientv3.Client, key string, v any) {
	t.Helper()
	text, err := etcdkv.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), key, text); err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeKeepsLabelsOnce: an older cluster's minions keep the labels that are
// stored of them when the first node of this release starts, and a label that one
// claims after that is not granted by a later start.
func TestUpgradeKeepsLabelsOnce(t *testing.T) {
	t.Parallel()
	srv := etcdtest.Start(t)
	c, keys := srv.Client(t), etcdkv.NewKeys("")
	putText := func(key, text string) {
		t.Helper()
		if _, err := c.Put(t.Context(), key, text); err != nil {
			t.Fatal(err)
		}
	}
	// As an older release writes it, and with a field of a release to come.
	putText(keys.Meta(), `{"schema":1,"clusterId":"c1","epoch":7,"shards":16,"createdAt":"2026-01-02T03:04:05Z","toCome":"kept"}`)
	want := map[job.MinionID]map[string]string{}
	for _, id := range []job.MinionID{"db1", "web1"} {
		labels := map[string]string{"role": string(id)}
		putText(keys.Minion(id), `{"schema":1,"id":"`+string(id)+`","labels":{"role":"`+string(id)+`"},"facts":{"os":"linux"},"since":"2026-01-02T03:04:05Z"}`)
		want[id] = labels
	}
	// More than one page of them.
	for i := range grantPage + 1 {
		id := job.MinionID(fmt.Sprintf("m%02d", i))
		labels := map[string]string{"rack": string(id)}
		putValue(t, c, keys.Minion(id), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: id, Labels: labels})
		want[id] = labels
	}
	putValue(t, c, keys.Minion("bare"), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: "bare", Facts: map[string]string{"role": "db"}})
	// What an operator has said already stays.
	putValue(t, c, keys.Grant("web1"), etcdkv.Grant{Schema: etcdkv.Schema, ID: "web1", Labels: map[string]string{"role": "proxy"}, By: "ada"})
	want["web1"] = map[string]string{"role": "proxy"}

	meta := start(t, c, keys)
	if !meta.LabelsGranted || meta.ClusterID != "c1" || meta.Epoch != 7 || meta.Shards != 16 {
		t.Errorf("the cluster is described as %+v", meta)
	}
	if kv, err := c.Get(t.Context(), keys.Meta()); err != nil || len(kv.Kvs) != 1 || !strings.Contains(string(kv.Kvs[0].Value), `"toCome":"kept"`) {
		t.Errorf("what a release to come has written is lost: %v, %v", kv, err)
	}
	got, records := granted(t, c, keys)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("granted by the upgrade (-want +got):\n%s", d)
	}
	if n := len(want) - 1; records != n {
		t.Errorf("%d records of labels, want %d: one for each minion but that of the operator", records, n)
	}

	// A minion claims more, another is new, and a third has lost what it had.
	putValue(t, c, keys.Minion("db1"), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: "db1", Labels: map[string]string{"role": "db1", "vault": "yes"}})
	putValue(t, c, keys.Minion("new"), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: "new", Labels: map[string]string{"role": "db"}})
	if _, err := c.Delete(t.Context(), keys.Grant("m00")); err != nil {
		t.Fatal(err)
	}
	delete(want, "m00")
	start(t, c, keys)
	if got, _ := granted(t, c, keys); !cmp.Equal(want, got) {
		t.Errorf("granted after another start (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// TestUpgradeGoesOnAfterADeath: the node that upgrades dies amid it, and the next
// one does the rest.
func TestUpgradeGoesOnAfterADeath(t *testing.T) {
	t.Parallel()
	srv := etcdtest.Start(t)
	c, keys := srv.Client(t), etcdkv.NewKeys("")
	putValue(t, c, keys.Meta(), etcdkv.Meta{Schema: etcdkv.Schema, ClusterID: "c1", Epoch: 1, Shards: 8})
	want := map[job.MinionID]map[string]string{"a": {"role": "a"}, "b": {"role": "b"}}
	for id, labels := range want {
		putValue(t, c, keys.Minion(id), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: id, Labels: labels})
	}
	kv, err := c.Get(t.Context(), keys.Minion("a"))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := grantOld(t.Context(), c, keys, keys.Minion("a"), kv.Kvs[0].Value); err != nil || !done {
		t.Fatalf("%t, %v", done, err)
	}
	// Two start at once.
	failed := make(chan error, 2)
	for range cap(failed) {
		go func() { failed <- grantOldLabels(context.WithoutCancel(t.Context()), c, keys, zap.NewNop()) }()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if got, records := granted(t, c, keys); !cmp.Equal(want, got) || records != 2 {
		t.Errorf("%d records; granted (-want +got):\n%s", records, cmp.Diff(want, got))
	}
}

// TestNewClusterGrantsNothing: a cluster that is made by this release has nothing
// to upgrade, also when a minion is known before its first node starts again.
func TestNewClusterGrantsNothing(t *testing.T) {
	t.Parallel()
	srv := etcdtest.Start(t)
	c, keys := srv.Client(t), etcdkv.NewKeys("")
	if meta := start(t, c, keys); !meta.LabelsGranted {
		t.Errorf("a new cluster is described as %+v", meta)
	}
	putValue(t, c, keys.Minion("m"), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: "m", Labels: map[string]string{"role": "db"}})
	start(t, c, keys)
	if got, _ := granted(t, c, keys); len(got) > 0 {
		t.Errorf("granted: %v", got)
	}
}

// A node that has just started does not know yet since when a minion is known: what the
// cluster has stored of that stays.
func TestDescribeKeepsSinceWhen(t *testing.T) {
	t.Parallel()
	c, keys := etcdtest.Start(t).Client(t), etcdkv.NewKeys("")
	r := &registry{client: c, keys: keys, log: zap.NewNop()}
	first := time.Unix(1_800_000_000, 0).UTC()
	for _, since := range []time.Time{first, first.Add(time.Hour), first.Add(-time.Hour), {}} {
		if err := r.Describe(t.Context(), job.Minion{ID: "m", Since: since, Version: since.String()}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Get(t.Context(), keys.Minion("m"))
	if err != nil || len(got.Kvs) != 1 {
		t.Fatal(got, err)
	}
	m, err := etcdkv.Decode[etcdkv.StoredMinion]("", got.Kvs[0].Value)
	if err != nil || !m.Since.Equal(first.Add(-time.Hour)) || m.Version != (time.Time{}).String() {
		t.Errorf("%+v, %v", m, err)
	}
}
