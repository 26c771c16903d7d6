package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Nodes returns the scheduler nodes, ordered by name: those that live, and those that are gone
// and have not left in order.
func (op *Operator) Nodes(ctx context.Context) ([]api.Node, error) {
	views, err := op.LiveNodes(ctx)
	if err != nil {
		return nil, err
	}
	known, err := store.ListAll[etcdkv.KnownNode](ctx, op.db, "list known nodes", op.db.Keys.KnownNodes())
	if err != nil {
		return nil, err
	}
	live := len(views)
	for _, k := range known {
		if slices.ContainsFunc(views[:live], func(v api.Node) bool { return v.Name == k.Node }) {
			continue
		}
		views = append(views, api.Node{
			Name: k.Node, Site: k.Site, Phase: api.NodeDown, DownSince: k.GoneSince, PeerAddr: k.PeerAddr,
			Trouble: []string{"it has not left in order: it was killed, or is cut off"},
		})
	}
	slices.SortFunc(views, func(a, b api.Node) int { return cmp.Compare(a.Name, b.Name) })
	return views, nil
}

// LiveNodes returns the scheduler nodes that live, ordered by name.
func (op *Operator) LiveNodes(ctx context.Context) ([]api.Node, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, op.db, "list nodes", op.db.Keys.Members())
	if err != nil {
		return nil, err
	}
	owners, err := op.Owners(ctx)
	if err != nil {
		return nil, err
	}
	present, err := op.Presence(ctx)
	if err != nil {
		return nil, err
	}
	drains, err := store.ListAll[etcdkv.Drain](ctx, op.db, "list drains", op.db.Keys.Drains())
	if err != nil {
		return nil, err
	}
	healths, err := store.ListAll[etcdkv.Health](ctx, op.db, "list health", op.db.Keys.Healths())
	if err != nil {
		return nil, err
	}
	shards, minions := map[job.NodeID]int{}, map[job.NodeID]int{}
	for _, o := range owners {
		shards[o.Node]++
	}
	for _, n := range present {
		minions[n]++
	}
	views := make([]api.Node, 0, len(members))
	for _, m := range members {
		v := api.Node{
			Name: m.Node, Site: m.Site, Phase: string(m.Phase), Priority: m.Priority, Capacity: m.Capacity, Labels: m.Labels, Witness: m.Witness,
			Shards: shards[m.Node], Minions: minions[m.Node],
			PeerAddr: m.PeerAddr, APIAddr: m.APIAddr, Version: m.Version, StartedAt: m.StartedAt,
		}
		if i := slices.IndexFunc(drains, func(d etcdkv.Drain) bool { return d.Node == m.Node }); i >= 0 {
			v.Drain = apiview.Drain(&drains[i])
			if m.Phase == etcdkv.PhaseDraining && v.Shards == 0 && v.Minions == 0 {
				v.Phase = api.NodeDrained
			}
		}
		for _, h := range healths {
			if h.Node == m.Node {
				v.Trouble = append(v.Trouble, h.Trouble...)
			} else if slices.Contains(h.Unreachable, m.Node) {
				v.Trouble = append(v.Trouble, string(h.Node)+" does not reach it at "+m.PeerAddr)
			}
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b api.Node) int { return cmp.Compare(a.Name, b.Name) })
	return views, nil
}

// Owner is a shard's owner and its fencing token.
type Owner struct {
	etcdkv.Owner
	token job.Token
}

// Owners returns who holds each shard that is held.
func (op *Operator) Owners(ctx context.Context) (map[job.ShardID]Owner, error) {
	owners := make(map[job.ShardID]Owner, op.db.Meta.Shards)
	err := op.db.List(ctx, "list owners", op.db.Keys.Owners(), func(kv *mvccpb.KeyValue) error {
		s, err := op.db.Keys.ParseOwner(string(kv.Key))
		if err != nil {
			return err
		}
		o, err := store.Decode[etcdkv.Owner](kv)
		if err != nil {
			return err
		}
		owners[s] = Owner{Owner: o, token: job.Token{Epoch: op.db.Meta.Epoch, Revision: kv.ModRevision}}
		return nil
	})
	return owners, err
}

// Presence returns where each connected minion is; its latest session counts.
func (op *Operator) Presence(ctx context.Context) (map[job.MinionID]job.NodeID, error) {
	at := map[job.MinionID]job.NodeID{}
	session := map[job.MinionID]int64{}
	err := op.db.List(ctx, "list connected minions", op.db.Keys.Presence(), func(kv *mvccpb.KeyValue) error {
		node, _, err := op.db.Keys.ParsePresence(string(kv.Key))
		if err != nil {
			return err
		}
		bucket, err := store.Decode[etcdkv.Presence](kv)
		if err != nil {
			return err
		}
		for _, m := range bucket.Minions {
			if _, twice := at[m.ID]; !twice || m.Session > session[m.ID] {
				at[m.ID], session[m.ID] = node, m.Session
			}
		}
		return nil
	})
	return at, err
}

// liveNode returns a node that is alive.
func (op *Operator) liveNode(ctx context.Context, node job.NodeID) (etcdkv.Member, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, op.db, "list nodes", op.db.Keys.Members())
	if err != nil {
		return etcdkv.Member{}, err
	}
	var names []string
	for _, m := range members {
		if m.Node == node {
			return m, nil
		}
		names = append(names, string(m.Node))
	}
	slices.Sort(names)
	hint := "live nodes are " + strings.Join(names, ", ")
	if near, ok := job.Nearest(string(node), names); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return etcdkv.Member{}, fmt.Errorf("there is no live node %q; %s: %w", node, hint, job.ErrNotFound)
}
