package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// populate fills etcd with two nodes that own all shards, and three minions.
func (e *env) populate(t *testing.T) {
	t.Helper()
	for i, n := range []job.NodeID{"n2", "n1"} {
		e.put(t, e.keys.Member(n), etcdkv.Member{
			Schema: 1, Node: n, Site: "west", Priority: i, Capacity: 2, Phase: etcdkv.PhaseReady,
			PeerAddr: "p", APIAddr: "a", Version: "1.2.3", StartedAt: e.now(),
		})
	}
	for s := range job.ShardID(testShards) {
		node := job.NodeID("n1")
		if s < 3 {
			node = "n2"
		}
		e.put(t, e.keys.Owner(s), etcdkv.Owner{Schema: 1, Node: node, Grant: fmt.Sprint(s), Since: e.now()})
	}
	e.put(t, e.keys.PresenceBucket("n1", 0), etcdkv.Presence{Minions: []etcdkv.PresentMinion{{ID: "m1", Session: 1}, {ID: "m2", Session: 5}}})
	e.put(t, e.keys.PresenceBucket("n2", 1), etcdkv.Presence{Minions: []etcdkv.PresentMinion{{ID: "m1", Session: 2}, {ID: "m2", Session: 4}}})
}

func TestNodes(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.populate(t)
	e.put(t, e.keys.Member("broken"), "{")
	got, err := e.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node := api.Node{Site: "west", Phase: "ready", Capacity: 2, Minions: 1, PeerAddr: "p", APIAddr: "a", Version: "1.2.3", StartedAt: e.now()}
	n1, n2 := node, node
	n1.Name, n1.Shards, n1.Priority = "n1", 5, 1
	n2.Name, n2.Shards = "n2", 3
	if d := cmp.Diff([]api.Node{n1, n2}, got); d != "" {
		t.Errorf("nodes (-want +got):\n%s", d)
	}
}

func TestMinions(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"os": "linux"}
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "b", Node: "n1", Running: 2}, {ID: "c"}}
	})
	e.put(t, e.keys.Minion("b"), etcdkv.StoredMinion{ID: "b"})
	e.put(t, e.keys.Minion("a"), etcdkv.StoredMinion{ID: "a", Labels: labels, Since: e.now()})
	e.put(t, e.keys.Grant("a"), etcdkv.Grant{ID: "a", Labels: labels})
	got, err := e.Minions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Minion{
		{Minion: job.Minion{ID: "a", Labels: labels, Since: e.now()}, State: api.MinionDisconnected},
		{Minion: job.Minion{ID: "b", Node: "n1", Running: 2}, State: api.MinionConnected},
		{Minion: job.Minion{ID: "c"}, State: api.MinionDisconnected},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("minions (-want +got):\n%s", d)
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"), object("b"), object("c"))
	e.put(t, e.keys.Owner(2), etcdkv.Owner{Schema: 1, Node: "n2", Grant: "g", Since: e.now()})
	kv, err := e.db.Get(t.Context(), "test", e.keys.Owner(2))
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, e.keys.State(2), etcdkv.ShardState{Schema: 1, Cursor: e.now()})
	e.put(t, e.keys.Slot(2, 1), string(etcdkv.EncodeSlot(&etcdkv.Slot{})))
	e.put(t, e.keys.Slot(2, 2), string(etcdkv.EncodeSlot(&etcdkv.Slot{})))
	got, err := e.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := make([]api.Shard, testShards)
	for i := range want {
		want[i].ID = job.ShardID(i)
	}
	for _, n := range []string{"a", "b", "c"} {
		want[etcdkv.ShardOf(job.Key{Namespace: "ops", Name: n}, testShards)].Jobs++
	}
	want[2].Owner, want[2].Since, want[2].Cursor, want[2].OpenSlots = "n2", e.now(), e.now(), 2
	want[2].Token = job.Token{Epoch: 3, Revision: kv.ModRevision}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("shards (-want +got):\n%s", d)
	}
}

// TestShardsBeyondOneTransaction: more shards than one transaction can read.
func TestShardsBeyondOneTransaction(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *Config, _ *Deps) { c.Meta.Shards = 2*store.MaxOps + 1 })
	got, err := e.Shards(t.Context())
	if err != nil || len(got) != 2*store.MaxOps+1 {
		t.Fatalf("%d shards, %v", len(got), err)
	}
	for i, s := range got {
		if int(s.ID) != i {
			t.Fatalf("shard %d is %d", i, s.ID)
		}
	}
	if _, err := e.Doctor(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := e.WaitingRun(t.Context(), "abcd-0123456789abcdef"); err == nil {
		t.Error("a run was found")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	e := setup(t)
	if v := e.Version(); v.Version != "1.2.3" || v.Node != "n1" || v.ClusterID != "c1" || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("got %+v", v)
	}
}

// findings returns the checks by name, the worst of each name.
func (e *env) findings(t *testing.T) map[string]api.Check {
	t.Helper()
	checks, err := e.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	order := []api.CheckStatus{api.CheckOK, api.CheckWarn, api.CheckFail}
	worst := map[string]api.Check{}
	for _, c := range checks {
		if (c.Hint == "") != (c.Status == api.CheckOK) {
			t.Errorf("a hint goes with what is not well: %+v", c)
		}
		if w, ok := worst[c.Name]; !ok || slices.Index(order, c.Status) > slices.Index(order, w.Status) {
			worst[c.Name] = c
		}
	}
	return worst
}

func TestDoctorOfAHealthyCluster(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.populate(t)
	found := e.findings(t)
	for _, name := range []string{"etcd", "etcd version", "etcd size", "etcd alarms", "etcd compaction", "nodes", "versions", "health", "shards", "groups", "orders", "open fires", "minions"} {
		c, ok := found[name]
		if !ok || c.Status == api.CheckFail || name != "etcd" && c.Status != api.CheckOK { // a slow machine may warn of etcd
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// That a cluster plans nothing in whose place another one does is no fault of it.
func TestDoctorOfAClusterThatAnotherOneStandsFor(t *testing.T) {
	t.Parallel()
	var held etcdkv.Hold
	e := setup(t, func(_ *Config, d *Deps) {
		d.Held = func() *etcdkv.Hold { return &held }
		d.Past = func() string { return "held" }
	})
	e.populate(t)
	if _, err := e.cli.Delete(t.Context(), e.keys.Owners(), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		state  etcdkv.HoldState
		cursor etcdkv.MirrorCursor
		want   api.CheckStatus
		detail string
	}{
		{etcdkv.HoldStandby, etcdkv.MirrorCursor{}, api.CheckWarn, "no whole copy yet"},
		{etcdkv.HoldStandby, etcdkv.MirrorCursor{Generation: 1, AsOf: e.now().Add(-300 * time.Millisecond)}, api.CheckOK, "standby of https://east since 0001-01-01T00:00:00Z; its copy is 0.3 s behind"},
		{etcdkv.HoldStandby, etcdkv.MirrorCursor{Generation: 1, AsOf: e.now().Add(-time.Hour)}, api.CheckWarn, "3600.0 s behind"},
		{etcdkv.HoldStandby, etcdkv.MirrorCursor{Generation: 1, AsOf: e.now(), Trouble: "refused"}, api.CheckWarn, "behind: refused"},
		{etcdkv.HoldHandedOver, etcdkv.MirrorCursor{}, api.CheckFail, "handed over to its standby"},
		{etcdkv.HoldOvertaken, etcdkv.MirrorCursor{}, api.CheckWarn, "overtaken by epoch 0: https://east goes on"},
	} {
		held = etcdkv.Hold{Schema: 1, State: tc.state, Site: "https://east"}
		tc.cursor.Schema = 1
		e.put(t, e.keys.MirrorCursor(), tc.cursor)
		found := e.findings(t)
		if c := found["role"]; c.Status != tc.want || !strings.Contains(c.Detail, tc.detail) {
			t.Errorf("%s %+v: %+v", tc.state, tc.cursor, c)
		}
		for name, c := range found {
			if c.Status == api.CheckFail && name != "role" {
				t.Errorf("%s: %+v", tc.state, c)
			}
		}
	}
	held.State = etcdkv.HoldRestored
	if c := e.findings(t)["epoch"]; c.Status != api.CheckFail {
		t.Errorf("%+v", c)
	}
}

func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		ail    func(t *testing.T, e *env)
		check  string
		status api.CheckStatus
		detail string
	}{
		{"no node", func(t *testing.T, e *env) { e.remove(t, e.keys.Member("n1"), e.keys.Member("n2")) }, "nodes", api.CheckFail, "no node is live"},
		{"free shards", func(t *testing.T, e *env) { e.remove(t, e.keys.Owner(5), e.keys.Owner(6)) }, "shards", api.CheckFail, "2 of 8 have no owner, their jobs do not fire: 5, 6"},
		{"no minions", func(t *testing.T, e *env) {
			e.remove(t, e.keys.PresenceBucket("n1", 0), e.keys.PresenceBucket("n2", 1))
		}, "minions", api.CheckFail, "none is connected"},
		{"two versions", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n3"), etcdkv.Member{Node: "n3", Version: "1.3.0", Phase: etcdkv.PhaseReady})
		}, "versions", api.CheckFail, "1.2.3 and 1.3.0"},
		{"two builds of a version", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n3"), etcdkv.Member{Node: "n3", Version: "1.2.3", Commit: "abc", Phase: etcdkv.PhaseReady})
		}, "versions", api.CheckFail, "1.2.3 and 1.2.3 (abc)"},
		{"a node that was killed", func(t *testing.T, e *env) {
			e.put(t, e.keys.KnownNode("n3"), etcdkv.KnownNode{Node: "n3", PeerAddr: "c:1", JoinedAt: e.now()})
		}, "nodes", api.CheckFail, "n3 is gone, and has not left in order"},
		{"a known node that lives", func(t *testing.T, e *env) {
			e.put(t, e.keys.KnownNode("n2"), etcdkv.KnownNode{Node: "n2"})
		}, "nodes", api.CheckOK, "2 live"},
		{"a long drain", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n3"), etcdkv.Member{Node: "n3", Version: "1.2.3", Phase: etcdkv.PhaseDraining, PhaseSince: e.now().Add(-time.Hour)})
		}, "nodes", api.CheckWarn, "n3 is draining for 1h0m0s"},
		{"a short drain", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n3"), etcdkv.Member{Node: "n3", Version: "1.2.3", Phase: etcdkv.PhaseDraining, PhaseSince: e.now().Add(-time.Second)})
		}, "nodes", api.CheckOK, ""},
		{"a drain by order", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n2"), etcdkv.Member{Node: "n2", Version: "1.2.3", Phase: etcdkv.PhaseDraining, PhaseSince: e.now().Add(-time.Hour)})
			e.put(t, e.keys.Drain("n2"), etcdkv.Drain{Node: "n2", By: "ada", Reason: "new disk", Since: e.now().Add(-time.Hour)})
		}, "drains", api.CheckWarn, "n2 is drained for 1h0m0s by ada: new disk"},
		{"it is told once", func(t *testing.T, e *env) {
			e.put(t, e.keys.Member("n2"), etcdkv.Member{Node: "n2", Version: "1.2.3", Phase: etcdkv.PhaseDraining, PhaseSince: e.now().Add(-time.Hour)})
			e.put(t, e.keys.Drain("n2"), etcdkv.Drain{Node: "n2"})
		}, "nodes", api.CheckOK, "2 live"},
		{"a drain of one away", func(t *testing.T, e *env) {
			e.put(t, e.keys.Drain("n9"), etcdkv.Drain{Node: "n9", Since: e.now()})
		}, "drains", api.CheckWarn, "n9 is drained for 0s"},
		{"a hold", func(t *testing.T, e *env) {
			e.apply(t, group("g", job.GroupSpec{}))
			e.put(t, e.keys.Override(e.shardOfGroup(t, "g")), etcdkv.Override{Shard: e.shardOfGroup(t, "g"), Since: e.now()})
		}, "overrides", api.CheckWarn, "group ops/g is held where it is for 0s"},
		{"a move", func(t *testing.T, e *env) {
			e.put(t, e.keys.Override(3), etcdkv.Override{Shard: 3, Node: "n1", By: "ada", Since: e.now()})
		}, "overrides", api.CheckWarn, "shard 3 is moved to n1 for 0s by ada"},
		{"trouble", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Trouble: []string{"its loop stands still"}})
		}, "health", api.CheckWarn, "n1: its loop stands still"},
		{"a wrong clock", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{AheadMillis: 8 * 3600_000, Nodes: 2, Unfit: "its clock is 8h0m0s ahead"}})
		}, "clocks", api.CheckFail, "n1 neither plans nor holds shards: its clock is 8h0m0s ahead"},
		{"a clock that is off", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{AheadMillis: -1500, Nodes: 2}})
		}, "clocks", api.CheckWarn, "the clock of n1 is 1.5s behind that of most"},
		{"nothing to compare a clock with", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{}})
		}, "clocks", api.CheckOK, "n1 has nothing to compare its clock with"},
		{"two clocks that agree", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{Paired: true}})
		}, "clocks", api.CheckOK, "n1 and its only minion agree on the time"},
		{"two clocks that differ", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{Paired: true, ApartMillis: -20_000}})
		}, "clocks", api.CheckFail, "the clocks of n1 and of its only minion differ by 20s (the minion's is behind), and of two nobody can tell which is right"},
		{"two clocks that differ a little", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{Paired: true, ApartMillis: 1500}})
		}, "clocks", api.CheckWarn, "differ by 1.5s (the minion's is ahead)"},
		{"right clocks", func(t *testing.T, e *env) {
			e.put(t, e.keys.Health("n1"), etcdkv.Health{Node: "n1", Clock: &etcdkv.ClockHealth{Nodes: 2}})
		}, "clocks", api.CheckOK, "1 node in time"},
		{"a cursor in the future", func(t *testing.T, e *env) {
			e.put(t, e.keys.State(3), etcdkv.ShardState{Cursor: e.now().Add(8 * time.Hour), Node: "n2"})
		}, "cursors", api.CheckFail, "shard 3 is planned up to"},
		{"a cursor that was set back", func(t *testing.T, e *env) {
			e.put(t, e.keys.State(3), etcdkv.ShardState{Cursor: e.now(), Ahead: e.now().Add(8 * time.Hour), Node: "n2"})
		}, "cursors", api.CheckWarn, "shard 3 was planned up to"},
		{"a group that nobody fires", func(t *testing.T, e *env) {
			e.apply(t, group("g", job.GroupSpec{}), object("x", in("g")))
		}, "groups", api.CheckFail, "group ops/g has no owner, so its 1 job does not fire"},
		{"an empty group", func(t *testing.T, e *env) { e.apply(t, group("g", job.GroupSpec{})) }, "groups", api.CheckOK, "1, each"},
		{"an old fire", func(t *testing.T, e *env) {
			e.put(t, e.keys.Slot(4, 7), string(etcdkv.EncodeSlot(&etcdkv.Slot{CommittedAt: e.now().Add(-90 * time.Minute).UnixNano()})))
			e.put(t, e.keys.Slot(4, 8), string(etcdkv.EncodeSlot(&etcdkv.Slot{CommittedAt: e.now().UnixNano()})))
		}, "open fires", api.CheckWarn, "shard 4 for 1h30m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.populate(t)
			tc.ail(t, e)
			if c := e.findings(t)[tc.check]; c.Status != tc.status || !strings.Contains(c.Detail, tc.detail) {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func (e *env) remove(t *testing.T, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := e.cli.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorWithoutEtcd(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *Config, _ *Deps) { c.Timeout = time.Nanosecond })
	if c := e.findings(t)["etcd"]; c.Status != api.CheckFail {
		t.Errorf("got %+v", c)
	}
}
