package etcdmembers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/enroll"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// Members are the members of the cluster's own etcd.
type Members interface {
	Look(ctx context.Context) ([]roster.Status, error)
	Distance(ctx context.Context) (roster.Distance, error)
	Remove(ctx context.Context, id roster.ID) error
	Leave(ctx context.Context, id roster.ID) error
	MoveLeader(ctx context.Context, to roster.Status) error
	Defrag(ctx context.Context, s roster.Status) error
}

// Deps is what a Membership stands on. All but Members must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Members is nil where the cluster's etcd is not its own.
	Members Members
	Enroll  *enroll.Registry
	Logger  *zap.Logger
}

// Membership shows the members, and takes orders for them. Use New. It may be used by
// many goroutines at once.
type Membership struct {
	db      *store.Store
	audit   *audit.Log
	members Members
	enroll  *enroll.Registry
	log     *zap.Logger
}

// New returns a Membership.
func New(deps Deps) *Membership {
	return &Membership{db: deps.Store, audit: deps.Audit, members: deps.Members, enroll: deps.Enroll, log: deps.Logger}
}

// own tells where the cluster's etcd is not its own.
func (m *Membership) own() error {
	if m.members == nil {
		return fmt.Errorf("the cluster's etcd is not its own (--etcd-endpoints, --embedded-etcd): look at it with etcdctl: %w", job.ErrConflict)
	}
	return nil
}

// OwnEtcd reports whether the cluster keeps its data itself.
func (m *Membership) OwnEtcd() bool { return m.members != nil }

// CreateNodeToken makes a token by which nodes join.
func (m *Membership) CreateNodeToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	if err := m.own(); err != nil {
		return api.JoinToken{}, fmt.Errorf("nodes join by tokens where the cluster keeps its data itself (--cluster-init); else give them --etcd-endpoints and the seal key file: %w", err)
	}
	return m.enroll.CreateTokenOfNodes(ctx, req)
}

// view is what there is to know of the members at a time.
type view struct {
	all   []roster.Status
	nodes map[job.NodeID]*mvccpb.KeyValue // records of nodes
	live  map[job.NodeID]bool
}

func (m *Membership) look(ctx context.Context) (*view, error) {
	if err := m.own(); err != nil {
		return nil, err
	}
	ctx, cancel := m.db.Bounded(ctx)
	defer cancel()
	v := &view{nodes: map[job.NodeID]*mvccpb.KeyValue{}, live: map[job.NodeID]bool{}}
	var err error
	if v.all, err = m.members.Look(ctx); err != nil {
		return nil, err
	}
	if err := m.db.List(ctx, "nodes of the cluster's etcd", m.db.Keys.EtcdNodes(), func(kv *mvccpb.KeyValue) error {
		v.nodes[job.NodeID(string(kv.Key)[len(m.db.Keys.EtcdNodes()):])] = kv
		return nil
	}); err != nil {
		return nil, err
	}
	return v, m.db.List(ctx, "live nodes", m.db.Keys.Members(), func(kv *mvccpb.KeyValue) error {
		v.live[job.NodeID(string(kv.Key)[len(m.db.Keys.Members()):])] = true
		return nil
	})
}

// EtcdMembers lists the nodes of the cluster's own etcd: members, and clients of theirs.
func (m *Membership) EtcdMembers(ctx context.Context) ([]api.EtcdMember, error) {
	v, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	var most uint64
	for i := range v.all {
		most = max(most, v.all[i].Index)
	}
	var out []api.EtcdMember
	for i := range v.all {
		out = append(out, v.member(&v.all[i], most))
	}
	for node, kv := range v.nodes {
		if slices.ContainsFunc(out, func(e api.EtcdMember) bool { return e.Node == node }) {
			continue
		}
		rec, err := store.Decode[etcdkv.EtcdNode](kv)
		if err != nil {
			return nil, err
		}
		e := api.EtcdMember{Node: node, Role: api.EtcdClient, Live: v.live[node]}
		if !e.Live {
			e.Problems = []string{"the node is not live"}
		} else if rec.Member {
			e.Problems = nil // there is no room for it, or it joins at this moment
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b api.EtcdMember) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// EtcdDistance measures how far the members are apart.
func (m *Membership) EtcdDistance(ctx context.Context) (roster.Distance, error) {
	if err := m.own(); err != nil {
		return roster.Distance{}, err
	}
	ctx, cancel := m.db.Bounded(ctx)
	defer cancel()
	return m.members.Distance(ctx)
}

// member is a member as the API tells it. most is how far the furthest one is.
func (v *view) member(s *roster.Status, most uint64) api.EtcdMember {
	e := api.EtcdMember{
		Node: job.NodeID(s.Name), Role: api.EtcdFollower, Live: v.live[job.NodeID(s.Name)], ID: s.ID.String(), Version: s.Version,
		SizeBytes: s.Size, InUseBytes: s.InUse, QuotaBytes: s.Quota, Problems: slices.Clone(s.Errors),
	}
	if len(s.PeerURLs) > 0 {
		e.PeerURL = s.PeerURLs[0]
	}
	for _, u := range s.ClientURLs {
		if len(e.ClientURL) == 0 && len(u) > 5 && u[:5] == "https" {
			e.ClientURL = u
		}
	}
	switch {
	case s.Name == "":
		e.Role = api.EtcdAdded
	case s.Down != "":
		e.Role = api.EtcdDown
	case s.Learner:
		e.Role = api.EtcdLearner
	case s.Leader:
		e.Role = api.EtcdLeader
	}
	if s.Down != "" {
		e.Problems = append(e.Problems, s.Down)
	} else {
		e.Behind = most - s.Index
	}
	return e
}

// RemoveEtcdMember has a node be no member. One that lives goes on as a client of the
// others, until AddEtcdMember. One that does not is gone for good: it is forgotten, and
// a node of its name comes back by a new token.
func (m *Membership) RemoveEtcdMember(ctx context.Context, node string, o api.Order) error {
	v, err := m.look(ctx)
	if err != nil {
		return err
	}
	s, is := roster.Find(v.all, node)
	name := job.NodeID(cmp.Or(s.Name, node))
	kv := v.nodes[name]
	if !is && kv == nil {
		return fmt.Errorf("node %s of the cluster's etcd: %w; carillon etcd members lists them", node, job.ErrNotFound)
	}
	if is {
		if err := roster.MayRemove(v.all, s.ID); err != nil {
			return fmt.Errorf("%s cannot be removed: %w", node, err)
		}
		if other, err := v.leaving(s.ID); err != nil || other != "" {
			return cmp.Or(err, fmt.Errorf("%s cannot be removed: %s has been told to leave, and is a member still; one change at a time: %w", node, other, job.ErrConflict))
		}
	}
	key := m.db.Keys.EtcdNode(name)
	ops := []clientv3.Op{clientv3.OpDelete(key), clientv3.OpDelete(m.db.Keys.KnownNode(name)), clientv3.OpDelete(m.db.Keys.Drain(name))}
	if v.live[name] {
		put, err := m.wanted(ctx, kv, name, false, o)
		if err != nil {
			return err
		}
		ops = []clientv3.Op{put}
	}
	if err := m.audit.Write(ctx, "etcd.remove", string(name), o, key, kv, ops...); err != nil || !is {
		return err
	}
	if !v.live[name] {
		return m.members.Remove(ctx, s.ID)
	}
	if err := m.members.Leave(ctx, s.ID); err != nil {
		return fmt.Errorf("%s has been told to be no member, and is one still: carillon etcd members shows when it has left, carillon etcd add %s takes the order back: %w", name, name, err)
	}
	return nil
}

// leaving returns another member that has been told to be none; empty: there is none. Its
// vote must not be counted on any more.
func (v *view) leaving(but roster.ID) (job.NodeID, error) {
	for i := range v.all {
		name := job.NodeID(v.all[i].Name)
		kv := v.nodes[name]
		if v.all[i].ID == but || kv == nil || !v.live[name] {
			continue
		}
		rec, err := store.Decode[etcdkv.EtcdNode](kv)
		if err != nil {
			return "", err
		}
		if !rec.Member {
			return name, nil
		}
	}
	return "", nil
}

// MayForget refuses to forget a node that is still a member of the cluster's own etcd: it would
// go on to count in the majority.
func (m *Membership) MayForget(ctx context.Context, node job.NodeID) error {
	if !m.OwnEtcd() {
		return nil
	}
	v, err := m.look(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(v.all, func(s roster.Status) bool { return job.NodeID(s.Name) == node }) {
		return nil
	}
	if v.live[node] {
		return fmt.Errorf("node %s lives, and is a member of the cluster's own etcd: drain it, stop it, and then `carillon etcd remove %s` takes it out and forgets it: %w", node, node, job.ErrConflict)
	}
	return fmt.Errorf("node %s is a member of the cluster's own etcd, and counts in its majority also when it is gone; `carillon etcd remove %s` takes it out and forgets it, `carillon etcd replace %s` lets a new host in besides: %w", node, node, node, job.ErrConflict)
}

// AddEtcdMember has a node be a member again, as soon as there is room.
func (m *Membership) AddEtcdMember(ctx context.Context, node job.NodeID, o api.Order) error {
	v, err := m.look(ctx)
	if err != nil {
		return err
	}
	kv := v.nodes[node]
	if kv == nil {
		return fmt.Errorf("node %s of the cluster's etcd: %w; a new node comes by --join", node, job.ErrNotFound)
	}
	put, err := m.wanted(ctx, kv, node, true, o)
	if err != nil {
		return err
	}
	return m.audit.Write(ctx, "etcd.add", string(node), o, m.db.Keys.EtcdNode(node), kv, put)
}

// wanted is the write of whether a node is to be a member.
func (m *Membership) wanted(ctx context.Context, kv *mvccpb.KeyValue, node job.NodeID, member bool, o api.Order) (clientv3.Op, error) {
	rec := etcdkv.EtcdNode{Schema: etcdkv.Schema, Node: node}
	var old []byte
	if kv != nil {
		var err error
		if rec, err = store.Decode[etcdkv.EtcdNode](kv); err != nil {
			return clientv3.Op{}, err
		}
		old = kv.Value
	}
	rec.Member, rec.By = member, caller.Of(ctx, o.By)
	text, err := etcdkv.MergeUnknown(old, rec)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(m.db.Keys.EtcdNode(node), text), nil
}

// MoveEtcdLeader has another member lead.
func (m *Membership) MoveEtcdLeader(ctx context.Context, node string, o api.Order) error {
	s, err := m.find(ctx, node)
	if err != nil {
		return err
	}
	if err := m.record(ctx, "etcd.move-leader", s, o); err != nil {
		return err
	}
	return m.members.MoveLeader(ctx, s)
}

// DefragEtcd has a member give free space back. It answers nobody meanwhile, so that it
// is done one by one.
func (m *Membership) DefragEtcd(ctx context.Context, node string, o api.Order) error {
	s, err := m.find(ctx, node)
	if err != nil {
		return err
	}
	if s.Down != "" {
		return fmt.Errorf("%s does not answer (%s): %w", node, s.Down, job.ErrConflict)
	}
	if err := m.record(ctx, "etcd.defrag", s, o); err != nil {
		return err
	}
	return m.members.Defrag(ctx, s)
}

func (m *Membership) find(ctx context.Context, node string) (roster.Status, error) {
	if err := m.own(); err != nil {
		return roster.Status{}, err
	}
	bounded, cancel := m.db.Bounded(ctx)
	defer cancel()
	all, err := m.members.Look(bounded)
	if err != nil {
		return roster.Status{}, err
	}
	s, ok := roster.Find(all, node)
	if !ok {
		return s, fmt.Errorf("member %s of the cluster's etcd: %w; carillon etcd members lists them", node, job.ErrNotFound)
	}
	return s, nil
}

// record keeps what was ordered of a member that changes nothing that is stored.
func (m *Membership) record(ctx context.Context, action string, s roster.Status, o api.Order) error {
	object := cmp.Or(s.Name, s.ID.String())
	op, err := m.audit.Op(m.audit.Record(ctx, action, object, o))
	if err != nil {
		return err
	}
	_, err = m.db.Do(ctx, action, nil, []clientv3.Op{op})
	if err != nil && !errors.Is(err, job.ErrUnavailable) {
		m.log.Warn("an order for etcd was not recorded", zap.String("action", action), zap.Error(err))
	}
	return err
}
