package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Nodes returns the live scheduler nodes, ordered by name.
func (c *Control) Nodes(ctx context.Context) ([]api.Node, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.cfg.Keys.Members())
	if err != nil {
		return nil, err
	}
	owners, err := c.owners(ctx)
	if err != nil {
		return nil, err
	}
	present, err := c.presence(ctx)
	if err != nil {
		return nil, err
	}
	drains, err := store.ListAll[etcdkv.Drain](ctx, c.db, "list drains", c.cfg.Keys.Drains())
	if err != nil {
		return nil, err
	}
	healths, err := store.ListAll[etcdkv.Health](ctx, c.db, "list health", c.cfg.Keys.Healths())
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
			Name: m.Node, Site: m.Site, Phase: string(m.Phase), Priority: m.Priority, Capacity: m.Capacity, Labels: m.Labels,
			Shards: shards[m.Node], Minions: minions[m.Node],
			PeerAddr: m.PeerAddr, APIAddr: m.APIAddr, Version: m.Version, StartedAt: m.StartedAt,
		}
		if i := slices.IndexFunc(drains, func(d etcdkv.Drain) bool { return d.Node == m.Node }); i >= 0 {
			v.Drain = apiview.Drain(&drains[i])
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

// errMinionsUnread is why a node does not tell of minions.
var errMinionsUnread = fmt.Errorf("this node has just started and has not read all minions yet; ask again in a moment: %w", job.ErrUnavailable)

// allMinions returns what this node knows of minions. It is an error, and no part
// of them, while it has not read all.
func (c *Control) allMinions() ([]job.Minion, error) {
	if !c.read() {
		return nil, errMinionsUnread
	}
	return c.minions.Minions(), nil
}

// Minions returns all known minions, ordered by id.
func (c *Control) Minions(ctx context.Context) ([]api.Minion, error) {
	live, err := c.allMinions()
	if err != nil {
		return nil, err
	}
	known := map[job.MinionID]job.Minion{}
	stored, err := store.ListAll[etcdkv.StoredMinion](ctx, c.db, "list minions", c.cfg.Keys.Minions())
	if err != nil {
		return nil, err
	}
	grants, err := store.ListAll[etcdkv.Grant](ctx, c.db, "list granted labels", c.cfg.Keys.Grants())
	if err != nil {
		return nil, err
	}
	granted := make(map[job.MinionID]map[string]string, len(grants))
	for _, g := range grants {
		granted[g.ID] = g.Labels
	}
	for i := range stored {
		m := &stored[i]
		known[m.ID] = apiview.StoredMinion(m, granted[m.ID])
	}
	for _, m := range live { // knows more, and newer
		known[m.ID] = m
	}
	views := make([]api.Minion, 0, len(known))
	for _, m := range known {
		views = append(views, apiview.Minion(m))
	}
	slices.SortFunc(views, func(a, b api.Minion) int { return cmp.Compare(a.ID, b.ID) })
	return views, nil
}

// Shards returns all shards in order.
func (c *Control) Shards(ctx context.Context) ([]api.Shard, error) {
	owners, err := c.owners(ctx)
	if err != nil {
		return nil, err
	}
	keys := c.cfg.Keys
	views := make([]api.Shard, 0, c.cfg.Meta.Shards)
	const reads = 3 // per shard
	groups, err := c.groupNames(ctx)
	if err != nil {
		return nil, err
	}
	overrides, err := c.overrides(ctx)
	if err != nil {
		return nil, err
	}
	err = c.db.Shards(ctx, store.MaxOps/reads, func(part []job.ShardID) error {
		var ops []clientv3.Op
		for _, s := range part {
			ops = append(ops,
				clientv3.OpGet(keys.State(s)),
				clientv3.OpGet(keys.Slots(s), clientv3.WithPrefix(), clientv3.WithCountOnly()),
				clientv3.OpGet(keys.ShardJobs(s), clientv3.WithPrefix(), clientv3.WithCountOnly()))
		}
		resp, err := c.db.Do(ctx, "list shards", nil, ops)
		if err != nil {
			return err
		}
		for i, s := range part {
			part := resp.Responses[i*reads:]
			v := api.Shard{
				ID:        s,
				OpenSlots: int(part[1].GetResponseRange().GetCount()),
				Jobs:      int(part[2].GetResponseRange().GetCount()),
			}
			if g, ok := groups[s]; ok {
				v.Group, v.Mode = g.Key().String(), g.Spec.EffectiveMode()
			}
			if o, ok := overrides[s]; ok {
				v.Override = apiview.Override(&o)
			}
			if o, ok := owners[s]; ok {
				v.Owner, v.Since, v.Token = o.Node, o.Since, o.token
			}
			if kvs := part[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
				state, err := store.Decode[etcdkv.ShardState](kvs[0])
				if err != nil {
					return err
				}
				v.Cursor = state.Cursor
			}
			views = append(views, v)
		}
		return nil
	})
	return views, err
}

// groupNames returns the groups by their shards.
func (c *Control) groupNames(ctx context.Context) (map[job.ShardID]etcdkv.StoredGroup, error) {
	all, err := store.ListAll[etcdkv.StoredGroup](ctx, c.db, "list groups", c.cfg.Keys.Groups())
	out := make(map[job.ShardID]etcdkv.StoredGroup, len(all))
	for i := range all {
		out[all[i].Shard] = all[i]
	}
	return out, err
}

// ownerToken is a shard's owner and its fencing token.
type ownerToken struct {
	etcdkv.Owner
	token job.Token
}

func (c *Control) owners(ctx context.Context) (map[job.ShardID]ownerToken, error) {
	owners := make(map[job.ShardID]ownerToken, c.cfg.Meta.Shards)
	err := c.db.List(ctx, "list owners", c.cfg.Keys.Owners(), func(kv *mvccpb.KeyValue) error {
		s, err := c.cfg.Keys.ParseOwner(string(kv.Key))
		if err != nil {
			return err
		}
		o, err := store.Decode[etcdkv.Owner](kv)
		if err != nil {
			return err
		}
		owners[s] = ownerToken{Owner: o, token: job.Token{Epoch: c.cfg.Meta.Epoch, Revision: kv.ModRevision}}
		return nil
	})
	return owners, err
}

// presence returns where each connected minion is; its latest session counts.
func (c *Control) presence(ctx context.Context) (map[job.MinionID]job.NodeID, error) {
	at := map[job.MinionID]job.NodeID{}
	session := map[job.MinionID]int64{}
	err := c.db.List(ctx, "list connected minions", c.cfg.Keys.Presence(), func(kv *mvccpb.KeyValue) error {
		node, _, err := c.cfg.Keys.ParsePresence(string(kv.Key))
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
