package sites

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Label is the label by which a minion says its site.
const Label = "site"

// Deps is what a Map stands on. All must be set.
type Deps struct {
	Store   *store.Store
	Audit   *audit.Log
	Cluster *cluster.Operator
	Minions *minions.Fleet
	Logger  *zap.Logger
}

// Map shows sites, and takes orders for them. Use New. It may be used by many goroutines at
// once.
type Map struct {
	db      *store.Store
	audit   *audit.Log
	cluster *cluster.Operator
	minions *minions.Fleet
	log     *zap.Logger
}

// New returns a Map.
func New(d Deps) *Map {
	return &Map{db: d.Store, audit: d.Audit, cluster: d.Cluster, minions: d.Minions, log: d.Logger.Named("sites")}
}

// Sites lists the sites, ordered by name; last, without a name, what says no site.
func (m *Map) Sites(ctx context.Context) ([]api.Site, error) {
	nodes, err := m.cluster.LiveNodes(ctx)
	if err != nil {
		return nil, err
	}
	known, err := store.ListAll[etcdkv.KnownNode](ctx, m.db, "list known nodes", m.db.Keys.KnownNodes())
	if err != nil {
		return nil, err
	}
	lost, err := store.ListAll[etcdkv.LostSite](ctx, m.db, "list lost sites", m.db.Keys.LostSites())
	if err != nil {
		return nil, err
	}
	fleet, err := m.minions.Minions(ctx)
	if err != nil {
		return nil, err
	}
	return drawn(nodes, known, lost, fleet), nil
}

// drawn puts together what is known of sites.
func drawn(nodes []api.Node, known []etcdkv.KnownNode, lost []etcdkv.LostSite, fleet []api.Minion) []api.Site {
	all := map[string]*api.Site{}
	at := func(name string) *api.Site {
		if all[name] == nil {
			all[name] = &api.Site{Name: name, Nodes: []job.NodeID{}}
		}
		return all[name]
	}
	live := map[job.NodeID]bool{}
	for i := range nodes {
		n := &nodes[i]
		live[n.Name] = true
		s := at(n.Site)
		s.Nodes = append(s.Nodes, n.Name)
		s.Shards += n.Shards
		if n.Drain != nil {
			s.Drained = append(s.Drained, n.Name)
		}
	}
	for i := range known {
		if n := &known[i]; !live[n.Node] {
			s := at(n.Site)
			s.Gone = append(s.Gone, n.Node)
		}
	}
	for i := range fleet {
		s := at(fleet[i].Labels[Label])
		s.Minions++
		if fleet[i].State == api.MinionConnected {
			s.Connected++
		}
	}
	out := make([]api.Site, 0, len(all))
	for _, s := range all {
		switch {
		case len(s.Nodes) == 0 && len(s.Gone) > 0:
			s.State = api.SiteLost
		case len(s.Gone) > 0:
			s.State = api.SiteDegraded
		case len(s.Nodes) > 0 && len(s.Drained) == len(s.Nodes):
			s.State = api.SiteDrained
		default:
			s.State = api.SiteOK
		}
		if i := slices.IndexFunc(lost, func(l etcdkv.LostSite) bool { return l.Site == s.Name }); i >= 0 && s.State == api.SiteLost {
			s.LostSince = lost[i].Since
		}
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b api.Site) int {
		if (a.Name == "") != (b.Name == "") {
			return strings.Compare(b.Name, a.Name)
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

// DrainSite drains all nodes of a site that are live. Refused where no node would be left
// that holds shards.
func (m *Map) DrainSite(ctx context.Context, site string, o api.Order) error {
	nodes, err := m.cluster.LiveNodes(ctx)
	if err != nil {
		return err
	}
	there, left := []job.NodeID{}, 0
	for i := range nodes {
		switch {
		case nodes[i].Site == site:
			there = append(there, nodes[i].Name)
		case nodes[i].Drain == nil && !nodes[i].Witness:
			left++
		}
	}
	switch {
	case len(there) == 0:
		return fmt.Errorf("there is no live node in the site %q; carillon sites lists them: %w", site, job.ErrNotFound)
	case left == 0:
		return fmt.Errorf("site %s: no node of another site could hold its shards, and nothing would fire: %w", site, job.ErrConflict)
	}
	ops := make([]clientv3.Op, 0, len(there)+1)
	var cmps []clientv3.Cmp
	for _, n := range there {
		key := m.db.Keys.Drain(n)
		kv, err := m.db.Get(ctx, "drain site", key)
		if err != nil {
			return err
		}
		if kv != nil {
			continue // it is drained already, and stays so since then
		}
		text, err := etcdkv.Encode(etcdkv.Drain{Schema: etcdkv.Schema, Node: n, By: caller.Of(ctx, o.By), Reason: o.Reason, Since: m.db.Now().UTC()})
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(key, text))
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", 0), clientv3.Compare(clientv3.CreateRevision(m.db.Keys.Member(n)), ">", 0))
	}
	return m.write(ctx, "site.drain", site, o, cmps, ops)
}

// UndrainSite ends the drains of the nodes of a site, live or not.
func (m *Map) UndrainSite(ctx context.Context, site string, o api.Order) error {
	all, err := m.Sites(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s api.Site) bool { return s.Name == site })
	if i < 0 {
		return fmt.Errorf("there is no node in the site %q; carillon sites lists them: %w", site, job.ErrNotFound)
	}
	var ops []clientv3.Op
	for _, n := range slices.Concat(all[i].Drained, all[i].Gone) {
		ops = append(ops, clientv3.OpDelete(m.db.Keys.Drain(n)))
	}
	if len(ops) == 0 {
		return fmt.Errorf("no node of the site %s is drained: %w", site, job.ErrNotFound)
	}
	return m.write(ctx, "site.undrain", site, o, nil, ops)
}

// write writes what was ordered for a site, with its record.
func (m *Map) write(ctx context.Context, action, site string, o api.Order, cmps []clientv3.Cmp, ops []clientv3.Op) error {
	rec := m.audit.Record(ctx, action, site, o)
	op, err := m.audit.Op(rec)
	if err != nil {
		return err
	}
	resp, err := m.db.Do(ctx, action+" "+site, cmps, append(ops, op))
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return fmt.Errorf("%s %s: its nodes have changed meanwhile; look, and try again: %w", action, site, job.ErrConflict)
	}
	m.log.Info("operator", zap.String("action", action), zap.String("site", site), zap.String("by", rec.By), zap.String("reason", rec.Reason))
	return nil
}
