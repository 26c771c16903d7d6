package cluster

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Shards returns all shards in order.
func (op *Operator) Shards(ctx context.Context) ([]api.Shard, error) {
	owners, err := op.Owners(ctx)
	if err != nil {
		return nil, err
	}
	keys := op.db.Keys
	views := make([]api.Shard, 0, op.db.Meta.Shards)
	const reads = 3 // per shard
	groups, err := op.GroupNames(ctx)
	if err != nil {
		return nil, err
	}
	overrides, err := op.Overrides(ctx)
	if err != nil {
		return nil, err
	}
	err = op.db.Shards(ctx, store.MaxOps/reads, func(part []job.ShardID) error {
		var ops []clientv3.Op
		for _, s := range part {
			ops = append(ops,
				clientv3.OpGet(keys.State(s)),
				clientv3.OpGet(keys.Slots(s), clientv3.WithPrefix(), clientv3.WithCountOnly()),
				clientv3.OpGet(keys.ShardJobs(s), clientv3.WithPrefix(), clientv3.WithCountOnly()))
		}
		resp, err := op.db.Do(ctx, "list shards", nil, ops)
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

// GroupNames returns the groups by their shards.
func (op *Operator) GroupNames(ctx context.Context) (map[job.ShardID]etcdkv.StoredGroup, error) {
	all, err := store.ListAll[etcdkv.StoredGroup](ctx, op.db, "list groups", op.db.Keys.Groups())
	out := make(map[job.ShardID]etcdkv.StoredGroup, len(all))
	for i := range all {
		out[all[i].Shard] = all[i]
	}
	return out, err
}

// Shard is a shard as an operator names it; group is nil for a hash shard.
type Shard struct {
	Id    job.ShardID
	Group *etcdkv.StoredGroup
}

// String returns the number of a hash shard, and the name of a group.
func (s Shard) String() string {
	if s.Group == nil {
		return s.Id.String()
	}
	return s.Group.Key().String()
}

// Title names the shard in a sentence.
func (s Shard) Title() string {
	if s.Group == nil {
		return "shard " + s.Id.String()
	}
	return "group " + s.Group.Key().String()
}

// shardRef reads a shard's number, or the name of a group.
func (op *Operator) shardRef(ctx context.Context, ref string) (Shard, error) {
	n, err := strconv.ParseUint(ref, 10, 32)
	if err != nil {
		key, err := job.ParseKey(ref)
		if err != nil {
			return Shard{}, apiview.Invalid("shard", fmt.Sprintf("%q is neither a shard's number nor a group's name: %v", ref, err))
		}
		g, _, err := op.StoredGroup(ctx, key)
		return Shard{g.Shard, &g}, err
	}
	id := job.ShardID(n)
	if !id.IsGroup() {
		if int(n) >= op.db.Meta.Shards {
			return Shard{}, fmt.Errorf("there is no shard %d, those without a group are 0 to %d: %w", n, op.db.Meta.Shards-1, job.ErrNotFound)
		}
		return Shard{Id: id}, nil
	}
	groups, err := op.GroupNames(ctx)
	if err != nil {
		return Shard{}, err
	}
	g, ok := groups[id]
	if !ok {
		return Shard{}, fmt.Errorf("no group has the shard %d: %w", n, job.ErrNotFound)
	}
	return Shard{id, &g}, nil
}
