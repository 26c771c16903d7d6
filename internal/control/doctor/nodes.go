package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// longDrain is how long a drain may take.
const longDrain = 2 * time.Minute

// checkMembers looks at the nodes: their versions, and who is leaving.
func (c *Checker) checkMembers(ctx context.Context) ([]api.Check, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.db.Keys.Members())
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return []api.Check{{Name: "nodes", Status: api.CheckFail, Detail: "no node is live, nothing fires", Hint: "start a scheduler"}}, nil
	}
	ordered, err := store.ListAll[etcdkv.Drain](ctx, c.db, "list drains", c.db.Keys.Drains())
	if err != nil {
		return nil, err
	}
	gone, err := c.checkGone(ctx, members)
	if err != nil {
		return nil, err
	}
	versions := map[string]bool{}
	var drains []api.Check
	for _, m := range members {
		versions[buildOf(m.Version, m.Commit)] = true
		if m.Phase != etcdkv.PhaseDraining || slices.ContainsFunc(ordered, func(d etcdkv.Drain) bool { return d.Node == m.Node }) {
			continue // who is drained by an operator is told of there
		}
		ch := api.Check{Name: "nodes", Status: api.CheckWarn, Detail: fmt.Sprintf("%s is draining", m.Node)}
		ch.Hint = "a drain ends when the node's shards are handed over; see the node's log, or stop it"
		if !m.PhaseSince.IsZero() {
			since := c.db.Now().Sub(m.PhaseSince).Round(time.Second)
			ch.Detail += fmt.Sprintf(" for %s", since)
			if since < longDrain {
				ch.Status, ch.Hint = api.CheckOK, ""
			}
		}
		drains = append(drains, ch)
	}
	nodes := api.Check{Name: "nodes", Status: api.CheckOK, Detail: fmt.Sprintf("%d live", len(members))}
	same := api.Check{Name: "versions", Status: api.CheckOK}
	names := slices.Sorted(maps.Keys(versions))
	same.Detail = "all nodes run " + names[0]
	if len(names) > 1 {
		same.Status, same.Detail = api.CheckFail, "nodes run "+strings.Join(names, " and ")
		same.Hint = "finish the upgrade: bring all nodes to one version"
	}
	return append(append(append([]api.Check{nodes}, gone...), drains...), same), nil
}

// buildOf tells builds apart, also those of one version.
func buildOf(version, commit string) string {
	if commit == "" {
		return version
	}
	return version + " (" + commit + ")"
}

// checkGone looks for nodes that have joined, are not there, and have not left in
// order.
func (c *Checker) checkGone(ctx context.Context, live []etcdkv.Member) ([]api.Check, error) {
	known, err := store.ListAll[etcdkv.KnownNode](ctx, c.db, "list known nodes", c.db.Keys.KnownNodes())
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, n := range known {
		if slices.ContainsFunc(live, func(m etcdkv.Member) bool { return m.Node == n.Node }) {
			continue
		}
		forget := fmt.Sprintf("`carillon nodes forget %s`", n.Node)
		if c.etcd.OwnEtcd() {
			forget = fmt.Sprintf("`carillon etcd remove %s`, or `carillon etcd replace %s`", n.Node, n.Node)
		}
		checks = append(checks, api.Check{
			Name: "nodes", Status: api.CheckFail,
			Detail: fmt.Sprintf("%s is gone, and has not left in order: it was killed, or is cut off (at %s, joined %s)", n.Node, cmp.Or(n.PeerAddr, "?"), n.JoinedAt.Format(time.RFC3339)),
			Hint:   "start it again; if it is gone for good: " + forget,
		})
	}
	lost, err := store.ListAll[etcdkv.LostSite](ctx, c.db, "list lost sites", c.db.Keys.LostSites())
	if err != nil {
		return nil, err
	}
	for _, l := range lost {
		checks = append(checks, api.Check{
			Name: "sites", Status: api.CheckFail,
			Detail: fmt.Sprintf("site %s is lost since %s, with %d nodes", l.Site, l.Since.Format(time.RFC3339), len(l.Nodes)),
			Hint:   "what its nodes held goes on elsewhere; bring it back, or `carillon nodes forget` each of its nodes",
		})
	}
	return checks, nil
}

// checkHealth tells what nodes say is wrong with themselves or with others.
func (c *Checker) checkHealth(ctx context.Context) ([]api.Check, error) {
	nodes, err := c.cluster.LiveNodes(ctx)
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, n := range nodes {
		if len(n.Trouble) > 0 {
			checks = append(checks, api.Check{
				Name: "health", Status: api.CheckWarn, Detail: fmt.Sprintf("%s: %s", n.Name, strings.Join(n.Trouble, "; ")),
				Hint: "see the node's log, and the network between it and the others; it gets no shard back meanwhile",
			})
		}
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "health", Status: api.CheckOK, Detail: "no node says that something is wrong"}}
	}
	return checks, nil
}
