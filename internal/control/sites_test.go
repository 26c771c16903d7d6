package control

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// The loss of a site is one event: a key, a record, a number; so is its coming back. Nodes
// that do not look after it show it, and note nothing.
func TestTheLossOfASiteIsOneEvent(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	for _, n := range []struct {
		node job.NodeID
		site string
		live bool
	}{{"a1", "a", true}, {"b1", "b", false}, {"b2", "b", false}, {"x", "", false}} {
		e.put(t, e.keys.KnownNode(n.node), etcdkv.KnownNode{Schema: 1, Node: n.node, Site: n.site})
		if n.live {
			e.put(t, e.keys.Member(n.node), etcdkv.Member{Schema: 1, Node: n.node, Site: n.site})
		}
	}
	mine := false
	metrics := prometheus.NewRegistry()
	w, err := e.Watcher(func() bool { return mine }, metrics)
	if err != nil {
		t.Fatal(err)
	}
	look := func(times int, want ...string) {
		t.Helper()
		for range times {
			if err := w.Look(ctx); err != nil {
				t.Fatal(err)
			}
		}
		page, err := e.Audit(ctx, api.AuditQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range page.Records {
			got = append(got, r.Action+" "+r.Object)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the audit has %q, want %q", got, want)
		}
	}
	shows := func(site string, want float64) {
		t.Helper()
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == site {
					if got := m.GetGauge().GetValue(); got != want {
						t.Errorf("site %s: %v, want %v", site, got, want)
					}
					return
				}
			}
		}
		t.Errorf("site %s is not shown", site)
	}
	look(1)
	shows("b", 1)
	shows("a", 0)
	mine = true
	look(3, "site.lost b")
	known, err := store.ListAll[etcdkv.KnownNode](ctx, e.db, "test", e.keys.KnownNodes())
	if err != nil {
		t.Fatal(err)
	}
	for i := range known {
		if n := &known[i]; n.GoneSince.IsZero() != (n.Node[0] == 'a') {
			t.Errorf("%s is gone since %v", n.Node, n.GoneSince)
		}
	}
	all, err := e.Sites(ctx)
	if err != nil || len(all) != 3 || all[1].State != api.SiteLost || all[1].LostSince.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	e.put(t, e.keys.Member("b2"), etcdkv.Member{Schema: 1, Node: "b2", Site: "b"})
	look(2, "site.back b", "site.lost b")
	shows("b", 0)
}

// A site is drained as a whole, or not at all, and never the last one that holds shards.
func TestSitesAreDrained(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	for node, site := range map[job.NodeID]string{"a1": "a", "b1": "b", "b2": "b"} {
		e.put(t, e.keys.Member(node), etcdkv.Member{Schema: 1, Node: node, Site: site})
	}
	e.put(t, e.keys.Member("w"), etcdkv.Member{Schema: 1, Node: "w", Site: "w", Witness: true})
	drained := func() (out []job.NodeID) {
		t.Helper()
		nodes, err := e.Nodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			if nodes[i].Drain != nil {
				out = append(out, nodes[i].Name)
			}
		}
		return out
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no such site":         {e.DrainSite(ctx, "c", api.Order{}), `there is no live node in the site "c"; carillon sites lists them: not found`},
		"not drained":          {e.UndrainSite(ctx, "b", api.Order{}), "no node of the site b is drained: not found"},
		"no such site to undo": {e.UndrainSite(ctx, "c", api.Order{}), `there is no node in the site "c"; carillon sites lists them: not found`},
	} {
		if tc.err == nil || tc.err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", name, tc.err, tc.want)
		}
	}
	if err := e.DrainSite(ctx, "b", api.Order{By: "ada", Reason: "power works"}); err != nil {
		t.Fatal(err)
	}
	if got := drained(); !slices.Equal(got, []job.NodeID{"b1", "b2"}) {
		t.Errorf("drained: %v", got)
	}
	if err := e.DrainSite(ctx, "a", api.Order{}); err == nil || err.Error() != "site a: no node of another site could hold its shards, and nothing would fire: conflict" {
		t.Errorf("the last one: %v", err)
	}
	if err := e.DrainSite(ctx, "b", api.Order{}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := e.UndrainSite(ctx, "b", api.Order{}); err != nil {
		t.Fatal(err)
	}
	if got := drained(); len(got) > 0 {
		t.Errorf("still drained: %v", got)
	}
}
