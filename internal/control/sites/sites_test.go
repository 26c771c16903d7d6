package sites

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Each site has its nodes and minions, and a state that follows from them; what says no site
// comes last.
func TestSitesAreDrawn(t *testing.T) {
	t.Parallel()
	node := func(name job.NodeID, site string, shards int, drained bool) api.Node {
		n := api.Node{Name: name, Site: site, Shards: shards}
		if drained {
			n.Drain = &api.Drain{}
		}
		return n
	}
	minion := func(site, state string) api.Minion {
		m := api.Minion{State: state}
		if site != "" {
			m.Labels = map[string]string{Label: site}
		}
		return m
	}
	since := time.Unix(1_800_000_000, 0).UTC()
	got := drawn(
		[]api.Node{node("a1", "a", 3, false), node("b1", "b", 1, false), node("c1", "c", 0, true), node("x", "", 2, false)},
		[]etcdkv.KnownNode{{Node: "a1", Site: "a"}, {Node: "b1", Site: "b"}, {Node: "b2", Site: "b"}, {Node: "d1", Site: "d"}, {Node: "d2", Site: "d"}},
		[]etcdkv.LostSite{{Site: "d", Since: since}, {Site: "a", Since: since}}, // a is back, which is not noted yet
		[]api.Minion{minion("a", api.MinionConnected), minion("a", api.MinionDisconnected), minion("", api.MinionConnected), minion("e", api.MinionConnected)},
	)
	want := []api.Site{
		{Name: "a", State: api.SiteOK, Nodes: []job.NodeID{"a1"}, Shards: 3, Minions: 2, Connected: 1},
		{Name: "b", State: api.SiteDegraded, Nodes: []job.NodeID{"b1"}, Gone: []job.NodeID{"b2"}, Shards: 1},
		{Name: "c", State: api.SiteDrained, Nodes: []job.NodeID{"c1"}, Drained: []job.NodeID{"c1"}},
		{Name: "d", State: api.SiteLost, LostSince: since, Nodes: []job.NodeID{}, Gone: []job.NodeID{"d1", "d2"}},
		{Name: "e", State: api.SiteOK, Nodes: []job.NodeID{}, Minions: 1, Connected: 1},
		{Name: "", State: api.SiteOK, Nodes: []job.NodeID{"x"}, Shards: 2, Minions: 1, Connected: 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
