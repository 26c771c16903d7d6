package control

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// place is where a job lies, or would.
type place struct {
	shard job.ShardID
	// kv is the stored job; nil: there is none.
	kv *mvccpb.KeyValue
	// rev is a revision at which all of this was so.
	rev int64
}

func (c *Control) hashShard(key job.Key) job.ShardID { return etcdkv.ShardOf(key, c.cfg.Meta.Shards) }

// placeTries bounds how often a job is looked for that moves meanwhile.
const placeTries = 10

// locate finds a job: in its hash shard, or in the group's shard that its
// GroupedJob key names.
func (c *Control) locate(ctx context.Context, key job.Key) (place, error) {
	places, err := c.locateAll(ctx, []job.Key{key})
	if err != nil {
		return place{}, err
	}
	return places[0], nil
}

// locateAll finds jobs, in the order given.
func (c *Control) locateAll(ctx context.Context, keys []job.Key) ([]place, error) {
	const doing = "find jobs"
	for range placeTries {
		out := make([]place, len(keys))
		names := make([]string, 0, 2*len(keys))
		for _, k := range keys {
			names = append(names, c.cfg.Keys.Job(c.hashShard(k), k), c.cfg.Keys.GroupedJob(k))
		}
		kvs, rev, err := c.getAll(ctx, doing, names)
		if err != nil {
			return nil, err
		}
		var far []int
		names = names[:0]
		for i, k := range keys {
			out[i] = place{shard: c.hashShard(k), kv: kvs[2*i], rev: rev}
			if kvs[2*i+1] == nil {
				continue
			}
			g, err := decode[etcdkv.Grouped](kvs[2*i+1])
			if err != nil {
				return nil, err
			}
			out[i].shard = g.Shard
			far = append(far, i)
			names = append(names, c.cfg.Keys.Job(g.Shard, k))
		}
		if kvs, _, err = c.getAll(ctx, doing, names); err != nil {
			return nil, err
		}
		moved := false
		for n, i := range far {
			out[i].kv = kvs[n]
			moved = moved || kvs[n] == nil
		}
		if !moved {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s: they keep moving: %w", doing, job.ErrConflict)
}

// ungrouped compares that no job has been put into a group since a revision: so
// that a job which was not found in one is not there now.
func (c *Control) ungrouped(rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(c.cfg.Keys.Grouped()), "<", rev+1).WithPrefix()
}

// putOps returns the writes that put a job into its shard.
func (c *Control) putOps(key job.Key, shard job.ShardID, value string) ([]clientv3.Op, error) {
	ops := []clientv3.Op{clientv3.OpPut(c.cfg.Keys.Job(shard, key), value)}
	if !shard.IsGroup() {
		return ops, nil
	}
	grouped, err := etcdkv.Encode(etcdkv.Grouped{Schema: etcdkv.Schema, Shard: shard})
	if err != nil {
		return nil, err
	}
	return append(ops, clientv3.OpPut(c.cfg.Keys.GroupedJob(key), grouped)), nil
}

// move returns what moves a job to another shard, as scheduler/moved.go tells:
// the job's schedule holds there from the old shard's cursor on, and a commit of
// the old shard's owner that is under way fails.
func (c *Control) move(ctx context.Context, from place, to job.ShardID, next *etcdkv.StoredJob, old *job.Job) (cmps []clientv3.Cmp, ops []clientv3.Op, value string, err error) {
	key := next.Key()
	stateKey := c.cfg.Keys.State(from.shard)
	kv, err := c.get(ctx, "move job "+key.String(), stateKey)
	if err != nil {
		return nil, nil, "", err
	}
	var rev int64
	if kv != nil {
		rev = kv.ModRevision
		state, err := decode[etcdkv.ShardState](kv)
		if err != nil {
			return nil, nil, "", err
		}
		if state.Cursor.After(next.After) {
			next.After = state.Cursor
		}
		claim, err := uuid.NewRandom()
		if err != nil {
			return nil, nil, "", fmt.Errorf("new claim id: %w", err)
		}
		state.Claim = claim.String()
		text, err := etcdkv.MergeUnknown(kv.Value, state)
		if err != nil {
			return nil, nil, "", err
		}
		ops = append(ops, clientv3.OpPut(stateKey, text))
	}
	next.MovedFrom = &from.shard
	if value, err = etcdkv.MergeUnknown(from.kv.Value, *next); err != nil {
		return nil, nil, "", err
	}
	record, err := etcdkv.Encode(etcdkv.MovedJob{Schema: etcdkv.Schema, To: to, Job: *old})
	if err != nil {
		return nil, nil, "", err
	}
	put, err := c.putOps(key, to, value)
	if err != nil {
		return nil, nil, "", err
	}
	ops = append(ops, put...)
	ops = append(ops,
		clientv3.OpDelete(c.cfg.Keys.Job(from.shard, key)),
		clientv3.OpPut(c.cfg.Keys.MovedJob(from.shard, next.UID), record),
		clientv3.OpDelete(c.cfg.Keys.MovedJob(to, next.UID)), // moved to and fro
	)
	if from.shard.IsGroup() && !to.IsGroup() {
		ops = append(ops, clientv3.OpDelete(c.cfg.Keys.GroupedJob(key)))
	}
	return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(stateKey), "=", rev)}, ops, value, nil
}
