package ownership

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// lookAtGroups does what is to be done about the groups' shards.
func (n *Node) lookAtGroups() {
	c := n.d.Cluster
	groups := c.Groups()
	n.again = 0
	for id, g := range groups {
		s := n.Situation(id, g)
		n.standInLine(id, g, &s)
		n.lookAtGroup(id, g, &s)
	}
	for id, o := range c.GroupOwners() {
		if groups[id] == nil && o.Node == n.cfg.Node {
			n.pass(id, nil) // the group is deleted
		}
	}
	for id := range n.lined {
		if groups[id] == nil {
			delete(n.lined, id)
		}
	}
}

// lookAtGroup acts on the mode's verdict, or on an operator's.
func (n *Node) lookAtGroup(id job.ShardID, g *cluster.Group, s *mode.Situation) {
	c := n.d.Cluster
	o := c.OwnerOf(id)
	if d, ok := c.Override(id); ok {
		switch {
		case d.Value.Failback:
			s.Failback = true
			defer func() { n.settled(id, d, o.Node != "" && g.Mode.Holder(s).Holder == o.Node) }()
		case d.Value.Node != "" && s.Has(d.Value.Node):
			n.act(id, o, d.Value.Node, true)
			return
		case d.Value.Node == "" && s.Owner != "":
			n.act(id, o, s.Owner, true)
			return
		}
	}
	v := g.Mode.Holder(s)
	if v.Again != 0 && (n.again == 0 || v.Again < n.again) {
		n.again = v.Again
	}
	if v.Seize && v.Holder == n.cfg.Node && o.Node != "" && o.Node != v.Holder {
		n.log.Info("taking a group's lock from its owner", zap.Stringer("group", g.Key), zap.String("reason", v.Reason))
		n.start(id, func(ctx context.Context) (*lock.Ownership, error) { return n.seize(ctx, id, o) })
		return
	}
	if v.Seize {
		return // the owner may yet fire; somebody else is to take it
	}
	n.act(id, o, v.Holder, true)
}

// Situation tells how things stand with a group, as far as this node knows.
func (n *Node) Situation(id job.ShardID, g *cluster.Group) mode.Situation {
	c := n.d.Cluster
	healthy := c.Healthy()
	s := mode.Situation{Shard: id, Spec: &g.Spec, Now: n.d.Now()}
	for _, m := range c.Members() {
		node := mode.Node{
			ID: m.Node, Site: m.Site, Priority: m.Priority, Capacity: m.Capacity, Labels: m.Labels, Healthy: healthy[m.Node],
		}
		if n.may(&m) && mode.Eligible(&g.Spec, &node) {
			s.Nodes = append(s.Nodes, node)
		}
	}
	o := c.OwnerOf(id)
	if s.Has(o.Node) {
		s.Owner, s.Since, s.Due = o.Node, o.Since, o.Due
	}
	if g.Mode.Lined {
		s.Line = slices.DeleteFunc(c.Line(id), func(p mode.Place) bool { return !s.Has(p.Node) })
	}
	if own, runs := n.d.Running(id); runs {
		s.Memory = own.Memory()
		s.Due = own.Due()
	}
	return s
}

// standInLine takes the node's place in the group's line, or leaves it.
func (n *Node) standInLine(id job.ShardID, g *cluster.Group, s *mode.Situation) {
	want := g.Mode.Lined && s.Has(n.cfg.Node)
	since, in := n.lined[id]
	if want && in && time.Since(since) > callTimeout && s.Owner != n.cfg.Node &&
		!slices.ContainsFunc(s.Line, func(p mode.Place) bool { return p.Node == n.cfg.Node }) {
		in = false // somebody took us for stuck, and out of the line
	}
	if want == in {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, callTimeout)
	defer cancel()
	key := n.cfg.Keys.Line(id, n.cfg.Node)
	if !want {
		if _, err := n.d.Client.Delete(ctx, key); err != nil {
			n.log.Warn("place in a group's line not left", zap.Stringer("group", g.Key), zap.Error(err))
			return
		}
		delete(n.lined, id)
		return
	}
	value, err := PlaceValue(n.cfg.Node, n.d.Now())
	if err == nil {
		_, err = n.d.Client.Put(ctx, key, value, clientv3.WithLease(n.d.Session.Lease()))
	}
	if err != nil {
		n.log.Warn("no place in a group's line", zap.Stringer("group", g.Key), zap.Error(err))
		return
	}
	n.lined[id] = time.Now()
}

// settled removes an operator's override once things are so. The owner does that.
func (n *Node) settled(id job.ShardID, d etcdkv.Entry[etcdkv.Override], done bool) {
	if o := n.d.Cluster.OwnerOf(id); !done || o.Node != n.cfg.Node {
		return
	}
	key := n.cfg.Keys.Override(id)
	n.d.Spare(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if _, err := n.d.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", d.ModRevision)).
			Then(clientv3.OpDelete(key)).Commit(); err != nil {
			n.log.Debug("override not removed yet", zap.Stringer("shard", id), zap.Error(err))
		}
	})
}
