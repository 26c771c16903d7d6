package control

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// withNodes adds live nodes; n3 leaves.
func withNodes(t *testing.T, e *env) *env {
	t.Helper()
	for _, m := range []etcdkv.Member{
		{Node: "n1", Site: "berlin", Phase: etcdkv.PhaseReady, Labels: map[string]string{"disk": "ssd"}},
		{Node: "n2", Site: "bonn", Phase: etcdkv.PhaseReady},
		{Node: "n3", Phase: etcdkv.PhaseDraining},
		{Node: "frankfurt", Phase: etcdkv.PhaseReady},
	} {
		m.Schema = 1
		e.put(t, e.keys.Member(m.Node), m)
	}
	return e
}

// refusal is a refused order, in words and by kind.
func refusal(err error) string {
	var invalid *job.InvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid):
		return "invalid: " + err.Error()
	case errors.Is(err, job.ErrNotFound):
		return "404: " + err.Error()
	case errors.Is(err, job.ErrConflict):
		return "409: " + err.Error()
	}
	return err.Error()
}

// TestOrdersRefused pins what operators are told.
func TestOrdersRefused(t *testing.T) {
	t.Parallel()
	e := withNodes(t, setup(t))
	e.apply(t, group("g", job.GroupSpec{Nodes: []job.NodeID{"n1"}}), group("h", job.GroupSpec{Pin: map[string]string{"disk": "ssd"}}))
	ctx := t.Context()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"drain, misspelt":    {e.DrainNode(ctx, "frankfrut", api.Order{}), `404: there is no live node "frankfrut"; did you mean "frankfurt"?: not found`},
		"drain, far off":     {e.DrainNode(ctx, "elsewhere", api.Order{}), `404: there is no live node "elsewhere"; live nodes are frankfurt, n1, n2, n3: not found`},
		"undrain":            {e.UndrainNode(ctx, "n1", api.Order{}), "404: drain of node n1: not found"},
		"move to nobody":     {e.MoveShard(ctx, "3", "n9", api.Order{}), `404: there is no live node "n9"; live nodes are frankfurt, n1, n2, n3: not found`},
		"move to one gone":   {e.MoveShard(ctx, "3", "n3", api.Order{}), "invalid: node: node n3 is drained or leaves, so it can hold no shard; undrain it first, or name another"},
		"not among nodes":    {e.MoveShard(ctx, "ops/g", "n2", api.Order{}), "invalid: node: group ops/g does not let node n2 fire; see nodes and pin in its spec"},
		"pinned elsewhere":   {e.MoveShard(ctx, "ops/h", "n2", api.Order{}), "invalid: node: group ops/h does not let node n2 fire; see nodes and pin in its spec"},
		"no such shard":      {e.HoldShard(ctx, "8", api.Order{}), "404: there is no shard 8, those without a group are 0 to 7: not found"},
		"no group has it":    {e.HoldShard(ctx, "65999", api.Order{}), "404: no group has the shard 65999: not found"},
		"no such group":      {e.FailbackShard(ctx, "ops/nope", api.Order{}), "404: group ops/nope: not found"},
		"default namespace":  {e.FailbackShard(ctx, "g", api.Order{}), "404: group default/g: not found"},
		"odd name":           {e.HoldShard(ctx, "a b", api.Order{}), `invalid: shard: "a b" is neither a shard's number nor a group's name: name of "a b": "a b" contains " "; allowed are letters a-z, A-Z, digits, '.', '_' and '-'`},
		"negative":           {e.HoldShard(ctx, "-1", api.Order{}), `invalid: shard: "-1" is neither a shard's number nor a group's name: name of "-1": "-1" begins or ends with "-"; begin and end with a letter or a digit`},
		"nothing to release": {e.ReleaseShard(ctx, "ops/g", api.Order{}), "404: override of shard ops/g, by which it would be moved or held: not found"},
	} {
		if got := refusal(c.err); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
	for prefix, want := range map[string]int{e.keys.Drains(): 0, e.keys.Overrides(): 0, e.keys.Audit(): 1} { // the file's own record
		if left := e.keysUnder(t, prefix); len(left) != want {
			t.Errorf("something was written: %v", left)
		}
	}
}

// TestI9_OrdersAreKept: each order is done and recorded.
func TestI9_OrdersAreKept(t *testing.T) {
	t.Parallel()
	e := withNodes(t, setup(t))
	e.apply(t, group("g", job.GroupSpec{}))
	shard := e.shardOfGroup(t, "g")
	ctx := t.Context()
	e.pass(time.Second)
	begin := e.now()
	why := api.Order{By: "ada", Reason: "why"}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		e.pass(time.Second)
	}
	overridden := func(want api.Override) {
		t.Helper()
		want.Shard, want.By, want.Reason, want.Since = shard, "ada", "why", e.now()
		g, err := e.Group(ctx, jobNamed("g"))
		if err != nil {
			t.Fatal(err)
		}
		if g.Override == nil {
			t.Fatal("there is no override")
		}
		want.Since = g.Override.Since
		if d := cmp.Diff(want, *g.Override); d != "" {
			t.Errorf("override (-want +got):\n%s", d)
		}
	}
	do(e.DrainNode(ctx, "n1", why))
	do(e.DrainNode(ctx, "n1", api.Order{By: "bob"})) // who asks again does not begin anew
	nodes, err := e.Nodes(ctx)
	if err != nil || nodes[1].Drain == nil || !nodes[1].Drain.Since.Equal(begin) || nodes[1].Drain.By != "bob" || nodes[2].Drain != nil {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	do(e.UndrainNode(ctx, "n1", why))
	do(e.MoveShard(ctx, "ops/g", "n2", why))
	overridden(api.Override{Node: "n2"})
	do(e.HoldShard(ctx, shard.String(), why))
	overridden(api.Override{})
	do(e.FailbackShard(ctx, "ops/g", why))
	overridden(api.Override{Failback: true})
	do(e.ReleaseShard(ctx, "ops/g", why))
	do(e.MoveShard(ctx, "3", "n1", why))
	shards, err := e.Shards(ctx)
	if err != nil || shards[3].Override == nil || shards[3].Override.Node != "n1" || shards[testShards].Override != nil {
		t.Errorf("shards %+v, %v", shards, err)
	}

	records := e.records(t, 8)
	var got []string
	for _, r := range records {
		got = append(got, strings.Join([]string{r.Action, r.Object, r.By, r.Reason}, " "))
		had := slices.ContainsFunc(r.Changes, func(c api.AuditChange) bool { return c.Before != "" })
		if had != strings.Contains("node.undrain shard.hold shard.failback shard.release", r.Action) && r.By != "bob" {
			t.Errorf("%s has before %+v", r.Action, r.Changes)
		}
	}
	want := []string{
		"shard.move 3 ada why", "shard.release ops/g ada why", "shard.failback ops/g ada why", "shard.hold ops/g ada why", "shard.move ops/g ada why",
		"node.undrain n1 ada why", "node.drain n1 bob ", "node.drain n1 ada why",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	if last := e.records(t, 2); len(last) != 2 || last[0].Action != "shard.move" {
		t.Errorf("the last two: %v", last)
	}
	for _, n := range []int{0, -1, api.MaxAudit + 1} {
		if _, err := e.Audit(ctx, api.AuditQuery{Limit: n}); refusal(err) == "" {
			t.Errorf("limit %d is taken", n)
		}
	}
}

// TestI9_OrdersDoNotOverwrite: of two orders at the same time the later one is
// told so, and leaves no record.
func TestI9_OrdersDoNotOverwrite(t *testing.T) {
	t.Parallel()
	e := withNodes(t, setup(t))
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"move": func() error { return e.MoveShard(ctx, "3", "n2", api.Order{By: "late"}) },
		"hold": func() error { return e.HoldShard(ctx, "3", api.Order{By: "late"}) },
	} {
		e.between(func() {
			if err := e.HoldShard(ctx, "3", api.Order{By: "early"}); err != nil {
				t.Error(err)
			}
		}, func() {
			if err := do(); !errors.Is(err, job.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if records := e.records(t, 10); len(records) != 2 || records[0].By != "early" {
		t.Errorf("records %v", records)
	}
}

// A node is drained once it has nothing any more, and one that was killed is down, until it
// is forgotten.
func TestPhasesOfNodes(t *testing.T) {
	t.Parallel()
	e := withNodes(t, setup(t))
	e.put(t, e.keys.Owner(1), etcdkv.Owner{Schema: 1, Node: "n3"})
	e.put(t, e.keys.Drain("n3"), etcdkv.Drain{Schema: 1, Node: "n3"})
	e.put(t, e.keys.KnownNode("n2"), etcdkv.KnownNode{Schema: 1, Node: "n2"})
	e.put(t, e.keys.KnownNode("n0"), etcdkv.KnownNode{Schema: 1, Node: "n0", Site: "bonn", GoneSince: e.now()})
	phases := func(want string) []api.Node {
		t.Helper()
		nodes, err := e.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range nodes {
			got = append(got, string(nodes[i].Name)+" "+nodes[i].Phase)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s, want %s", text, want)
		}
		return nodes
	}
	nodes := phases("frankfurt ready, n0 down, n1 ready, n2 ready, n3 draining")
	if n := nodes[1]; n.Site != "bonn" || !n.DownSince.Equal(e.now()) || len(n.Trouble) != 1 {
		t.Errorf("%+v", n)
	}
	if err := e.ForgetNode(t.Context(), "n3", api.Order{}); err == nil || !strings.Contains(err.Error(), "is drained, and still runs: stop it first") {
		t.Errorf("%v", err)
	}
	if err := e.ForgetNode(t.Context(), "n0", api.Order{}); err != nil {
		t.Error(err)
	}
	e.remove(t, e.keys.Owner(1))
	phases("frankfurt ready, n1 ready, n2 ready, n3 drained")
}

func TestNodesTellTheirTrouble(t *testing.T) {
	t.Parallel()
	e := withNodes(t, setup(t))
	e.put(t, e.keys.Health("n1"), etcdkv.Health{Schema: 1, Node: "n1", Unreachable: []job.NodeID{"n2"}})
	e.put(t, e.keys.Health("n2"), etcdkv.Health{Schema: 1, Node: "n2", Trouble: []string{"its loop stands still"}})
	nodes, err := e.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes[1].Trouble) != 0 || nodes[1].Labels["disk"] != "ssd" {
		t.Errorf("n1: %+v", nodes[1])
	}
	if d := cmp.Diff([]string{"n1 does not reach it at ", "its loop stands still"}, nodes[2].Trouble); d != "" {
		t.Errorf("n2 (-want +got):\n%s", d)
	}
}

// I9: a minion is forgotten, and that is on record, in one transaction; what is
// connected, or was never there, is neither.
func TestI9_ForgetMinion(t *testing.T) {
	t.Parallel()
	e := alone(t, func(_ *Config, d *Deps) { d.Minions = fakeMinions{{ID: "here", Node: "n1"}, {ID: "gone"}} })
	for _, id := range []job.MinionID{"here", "gone"} {
		if _, err := e.cli.Put(t.Context(), e.keys.Minion(id), "{}"); err != nil {
			t.Fatal(err)
		}
	}
	revision := func() int64 {
		t.Helper()
		resp, err := e.cli.Get(t.Context(), e.keys.Minion("gone"))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	o, before := api.Order{By: "ada", Reason: "sold"}, revision()
	if err := e.ForgetMinion(t.Context(), "here", o); !errors.Is(err, job.ErrConflict) {
		t.Errorf("one that is connected: %v", err)
	}
	if err := e.ForgetMinion(t.Context(), "never", o); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("one that was never there: %v", err)
	}
	if now := revision(); now != before {
		t.Errorf("what was refused wrote something: revision %d after %d", now, before)
	}
	if err := e.ForgetMinion(t.Context(), "gone", o); err != nil {
		t.Fatal(err)
	}
	if now := revision(); now != before+1 {
		t.Errorf("%d writes, want one", now-before)
	}
	if records := e.records(t, 10); len(records) != 1 || records[0].Action != "minion.delete" || records[0].By != "ada" {
		t.Errorf("records %+v", records)
	}
}

// A node that is gone for good leaves nothing behind: no drain that doctor warns of.
func TestForgetNode(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.put(t, e.keys.KnownNode("lost"), etcdkv.KnownNode{Node: "lost", JoinedAt: e.now()})
	e.put(t, e.keys.Member("live"), etcdkv.Member{Node: "live", Phase: etcdkv.PhaseReady, PhaseSince: e.now()})
	for _, n := range []job.NodeID{"lost", "left", "live"} {
		e.put(t, e.keys.Drain(n), etcdkv.Drain{Node: n, Since: e.now()})
	}
	for node, want := range map[job.NodeID]error{"lost": nil, "left": nil, "live": job.ErrConflict, "never": job.ErrNotFound} {
		if err := e.ForgetNode(t.Context(), node, api.Order{By: "ada"}); !errors.Is(err, want) {
			t.Errorf("forget %s: %v, want %v", node, err, want)
		}
	}
	for node, want := range map[job.NodeID]bool{"lost": false, "left": false, "live": true} {
		if kv, err := e.db.Get(t.Context(), "test", e.keys.Drain(node)); err != nil || (kv != nil) != want {
			t.Errorf("drain of %s: %v, %v; want there: %v", node, kv, err, want)
		}
	}
}
