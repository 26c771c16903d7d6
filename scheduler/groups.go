package scheduler

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

// tendGroups does what is to be done about the groups' shards.
func (t *ownership) tendGroups() {
	c := t.e.deps.Cluster
	groups := c.Groups()
	t.again = 0
	for id, g := range groups {
		s := t.situation(id, g)
		t.standInLine(id, g, &s)
		t.tendGroup(id, g, &s)
	}
	for id, o := range c.GroupOwners() {
		if groups[id] == nil && o.Node == t.e.cfg.Node {
			t.pass(id, nil) // the group is deleted
		}
	}
	for id := range t.lined {
		if groups[id] == nil {
			delete(t.lined, id)
		}
	}
}

// tendGroup acts on the mode's verdict, or on an operator's.
func (t *ownership) tendGroup(id job.ShardID, g *cluster.Group, s *mode.Situation) {
	c := t.e.deps.Cluster
	o := c.OwnerOf(id)
	if d, ok := c.Override(id); ok {
		switch {
		case d.Value.Failback:
			s.Failback = true
			defer func() { t.settled(id, d, o.Node != "" && g.Mode.Holder(s).Holder == o.Node) }()
		case d.Value.Node != "" && isThere(s, d.Value.Node):
			t.act(id, o, d.Value.Node, true)
			return
		case d.Value.Node == "" && s.Owner != "":
			t.act(id, o, s.Owner, true)
			return
		}
	}
	v := g.Mode.Holder(s)
	if v.Again != 0 && (t.again == 0 || v.Again < t.again) {
		t.again = v.Again
	}
	if v.Seize && v.Holder == t.e.cfg.Node && o.Node != "" && o.Node != v.Holder {
		t.e.log.Info("taking a group's lock from its owner", zap.Stringer("group", g.Key), zap.String("reason", v.Reason))
		t.start(id, func(ctx context.Context) (*lock.Ownership, error) { return t.seize(ctx, id, o) })
		return
	}
	if v.Seize {
		return // the owner may yet fire; somebody else is to take it
	}
	t.act(id, o, v.Holder, true)
}

func isThere(s *mode.Situation, n job.NodeID) bool {
	return slices.ContainsFunc(s.Nodes, func(o mode.Node) bool { return o.ID == n })
}

// situation tells how things stand with a group, as far as this node knows.
func (t *ownership) situation(id job.ShardID, g *cluster.Group) mode.Situation {
	c := t.e.deps.Cluster
	healthy := c.Healthy()
	s := mode.Situation{Shard: id, Spec: &g.Spec, Now: t.e.deps.now()}
	for _, m := range c.Members() {
		n := mode.Node{
			ID: m.Node, Site: m.Site, Priority: m.Priority, Capacity: m.Capacity, Labels: m.Labels, Healthy: healthy[m.Node],
		}
		if t.may(&m) && mode.Eligible(&g.Spec, &n) {
			s.Nodes = append(s.Nodes, n)
		}
	}
	o := c.OwnerOf(id)
	if isThere(&s, o.Node) {
		s.Owner, s.Since, s.Due = o.Node, o.Since, o.Due
	}
	if g.Mode.Lined {
		s.Line = slices.DeleteFunc(c.Line(id), func(p mode.Place) bool { return !isThere(&s, p.Node) })
	}
	t.e.mu.RLock()
	own := t.e.shards[id]
	t.e.mu.RUnlock()
	if own != nil {
		s.Memory = own.memory()
		s.Due = own.due.Load()
	}
	return s
}

// standInLine takes the node's place in the group's line, or leaves it.
func (t *ownership) standInLine(id job.ShardID, g *cluster.Group, s *mode.Situation) {
	want := g.Mode.Lined && isThere(s, t.e.cfg.Node)
	since, in := t.lined[id]
	if want && in && time.Since(since) > lineTimeout && s.Owner != t.e.cfg.Node &&
		!slices.ContainsFunc(s.Line, func(p mode.Place) bool { return p.Node == t.e.cfg.Node }) {
		in = false // somebody took us for stuck, and out of the line
	}
	if want == in {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, lineTimeout)
	defer cancel()
	key := t.e.cfg.Keys.Line(id, t.e.cfg.Node)
	if !want {
		if _, err := t.e.deps.Client.Delete(ctx, key); err != nil {
			t.e.log.Warn("place in a group's line not left", zap.Stringer("group", g.Key), zap.Error(err))
			return
		}
		delete(t.lined, id)
		return
	}
	value, err := placeValue(t.e.cfg.Node, t.e.deps.now())
	if err == nil {
		_, err = t.e.deps.Client.Put(ctx, key, value, clientv3.WithLease(t.sess.Lease()))
	}
	if err != nil {
		t.e.log.Warn("no place in a group's line", zap.Stringer("group", g.Key), zap.Error(err))
		return
	}
	t.lined[id] = time.Now()
}

const lineTimeout = time.Second

// placeValue makes the value of a place in line.
func placeValue(n job.NodeID, now int64) (string, error) {
	return etcdkv.Encode(etcdkv.Place{Schema: etcdkv.Schema, Node: n, Since: time.Unix(0, now).UTC()})
}

// leaveLines gives the node's places up.
func (t *ownership) leaveLines(ctx context.Context) {
	for id := range t.lined {
		if _, err := t.e.deps.Client.Delete(ctx, t.e.cfg.Keys.Line(id, t.e.cfg.Node)); err != nil {
			t.e.log.Debug("place in line goes with the lease", zap.Error(err))
		}
		delete(t.lined, id)
	}
}

// seize takes a shard from an owner that is dead, or overdue. It loses its place
// in line, for each of its turns would cost a grace: it joins again when it is
// well.
func (t *ownership) seize(ctx context.Context, id job.ShardID, o cluster.Owner) (*lock.Ownership, error) {
	now := t.e.deps.now()
	value, err := ownerValue(t.e.cfg.Node, "", now, never)
	if err != nil {
		return nil, err
	}
	key := t.e.cfg.Keys.Owner(id)
	g := lock.Grant{Key: key, Value: value}
	if gr := t.e.deps.Cluster.Group(id); gr != nil && gr.Mode.Lined {
		g.Then = append(g.Then, clientv3.OpDelete(t.e.cfg.Keys.Line(id, o.Node)))
	}
	t.e.met.takeovers.WithLabelValues("seized").Inc()
	return t.sess.Seize(ctx, o.Rev, g)
}

// settled removes an operator's wish that has come true. The owner does that.
func (t *ownership) settled(id job.ShardID, d etcdkv.Entry[etcdkv.Override], done bool) {
	if o := t.e.deps.Cluster.OwnerOf(id); !done || o.Node != t.e.cfg.Node {
		return
	}
	key := t.e.cfg.Keys.Override(id)
	t.e.deps.bestEffort.do(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lineTimeout)
		defer cancel()
		if _, err := t.e.deps.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", d.ModRevision)).
			Then(clientv3.OpDelete(key)).Commit(); err != nil {
			t.e.log.Debug("override not removed yet", zap.Stringer("shard", id), zap.Error(err))
		}
	})
}

// followDrain announces what operators want of this node.
func (t *ownership) followDrain() {
	phase := etcdkv.PhaseReady
	if t.e.deps.Cluster.Drained(t.e.cfg.Node) {
		phase = etcdkv.PhaseDraining
	}
	if phase == t.self.Phase {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, lineTimeout)
	defer cancel()
	t.announce(ctx, phase)
}
