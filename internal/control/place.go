package control

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// place is where a job lies: in the shard of its group, or in its hash shard.
type place struct {
	shard job.ShardID
	// kv is the job as it was read; nil: there is no such job.
	kv *mvccpb.KeyValue
}

// placeTries bounds how often a job is looked for that keeps moving.
const placeTries = 20

// hashShard returns the shard of a job that is in no group.
func (c *Control) hashShard(key job.Key) job.ShardID { return etcdkv.ShardOf(key, c.cfg.Meta.Shards) }

// locate finds one job.
func (c *Control) locate(ctx context.Context, key job.Key) (place, error) {
	places, err := c.locateAll(ctx, "find job "+key.String(), []job.Key{key})
	if err != nil {
		return place{}, err
	}
	return places[0], nil
}

// locateAll finds jobs, in the order given. Where a job lies, and the key that
// tells it, are read at one moment.
func (c *Control) locateAll(ctx context.Context, doing string, keys []job.Key) ([]place, error) {
	places := make([]place, len(keys))
	open := make([]int, len(keys))
	for i := range open {
		open[i] = i
	}
	for range placeTries {
		grouped, err := c.hashed(ctx, doing, keys, open, places)
		if err != nil {
			return nil, err
		}
		if open, err = c.grouped(ctx, doing, keys, grouped, places); err != nil {
			return nil, err
		}
		if len(open) == 0 {
			return places, nil
		}
	}
	return nil, fmt.Errorf("%s: job %s keeps moving: %w", doing, keys[open[0]], job.ErrConflict)
}

// hashed fills in the places of those of the jobs that are in no group, and
// returns the key that tells the place of each other one.
func (c *Control) hashed(ctx context.Context, doing string, keys []job.Key, open []int, places []place) (map[int]*mvccpb.KeyValue, error) {
	grouped := map[int]*mvccpb.KeyValue{}
	for part := range slices.Chunk(open, store.MaxOps/2) {
		ops := make([]clientv3.Op, 0, 2*len(part))
		for _, i := range part {
			ops = append(ops, clientv3.OpGet(c.cfg.Keys.Job(c.hashShard(keys[i]), keys[i])), clientv3.OpGet(c.cfg.Keys.GroupedJob(keys[i])))
		}
		resp, err := c.db.Do(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if kv := store.First(resp, 2*n+1); kv != nil {
				grouped[i] = kv
				continue
			}
			places[i] = place{shard: c.hashShard(keys[i]), kv: store.First(resp, 2*n)}
		}
	}
	return grouped, nil
}

// grouped fills in the places of jobs in groups. It returns those that have
// moved since they were looked up.
func (c *Control) grouped(ctx context.Context, doing string, keys []job.Key, grouped map[int]*mvccpb.KeyValue, places []place) ([]int, error) {
	var moved, all []int
	for i := range grouped {
		all = append(all, i)
	}
	for part := range slices.Chunk(all, store.MaxOps/2) {
		ops := make([]clientv3.Op, 0, 2*len(part))
		shards := make([]job.ShardID, len(part))
		for n, i := range part {
			g, err := store.Decode[etcdkv.Grouped](grouped[i])
			if err != nil {
				return nil, fmt.Errorf("%s: place of job %s: %w", doing, keys[i], err)
			}
			shards[n] = g.Shard
			ops = append(ops, clientv3.OpGet(c.cfg.Keys.Job(g.Shard, keys[i])), clientv3.OpGet(c.cfg.Keys.GroupedJob(keys[i])))
		}
		resp, err := c.db.Do(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if now := store.First(resp, 2*n+1); now == nil || now.ModRevision != grouped[i].ModRevision {
				moved = append(moved, i)
				continue
			}
			places[i] = place{shard: shards[n], kv: store.First(resp, 2*n)}
		}
	}
	return moved, nil
}
