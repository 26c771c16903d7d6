package etcdkv

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/job"
)

// JobPlace is where a job lies: in the shard of its group, which Keys.GroupedJob
// tells, or without a group in its hash shard.
type JobPlace struct {
	Shard job.ShardID
	// KV is the job as it was read; nil: there is no such job.
	KV *mvccpb.KeyValue
}

const (
	// locateTries bounds how often a job is looked for that keeps moving.
	locateTries = 20
	// locatePart is how many jobs are looked for at once: two reads each, and etcd's
	// default limit is 128 in a transaction.
	locatePart = 60
)

// Locator finds jobs. All must be set.
type Locator struct {
	Keys Keys
	// Shards is how many hash shards there are.
	Shards int
	// Read reads at one moment.
	Read func(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error)
}

// Locate finds jobs, in the order given. Where a job lies, and the key that tells it,
// are read at one moment. The error wraps job.ErrConflict for a job that keeps moving;
// it begins with what is being done, but for those of Read.
func (l Locator) Locate(ctx context.Context, doing string, jobs []job.Key) ([]JobPlace, error) {
	places := make([]JobPlace, len(jobs))
	open := make([]int, len(jobs))
	for i := range open {
		open[i] = i
	}
	for range locateTries {
		grouped, err := l.hashed(ctx, jobs, open, places)
		if err != nil {
			return nil, err
		}
		if open, err = l.grouped(ctx, doing, jobs, grouped, places); err != nil {
			return nil, err
		}
		if len(open) == 0 {
			return places, nil
		}
	}
	return nil, fmt.Errorf("%s: job %s keeps moving: %w", doing, jobs[open[0]], job.ErrConflict)
}

// hashed fills in the places of those of the jobs that are in no group, and
// returns the key that tells the place of each other one.
func (l Locator) hashed(ctx context.Context, jobs []job.Key, open []int, places []JobPlace) (map[int]*mvccpb.KeyValue, error) {
	grouped := map[int]*mvccpb.KeyValue{}
	for part := range slices.Chunk(open, locatePart) {
		shards := make([]job.ShardID, len(part))
		for n, i := range part {
			shards[n] = ShardOf(jobs[i], l.Shards)
		}
		found, tells, err := l.read(ctx, jobs, part, shards)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if tells[n] != nil {
				grouped[i] = tells[n]
				continue
			}
			places[i] = JobPlace{Shard: shards[n], KV: found[n]}
		}
	}
	return grouped, nil
}

// grouped fills in the places of jobs in groups. It returns those that have
// moved since they were looked up.
func (l Locator) grouped(ctx context.Context, doing string, jobs []job.Key, grouped map[int]*mvccpb.KeyValue, places []JobPlace) ([]int, error) {
	var moved, all []int
	for i := range grouped {
		all = append(all, i)
	}
	for part := range slices.Chunk(all, locatePart) {
		shards := make([]job.ShardID, len(part))
		for n, i := range part {
			g, err := Decode[Grouped](string(grouped[i].Key), grouped[i].Value)
			if err != nil {
				return nil, fmt.Errorf("%s: place of job %s: %w", doing, jobs[i], err)
			}
			shards[n] = g.Shard
		}
		found, tells, err := l.read(ctx, jobs, part, shards)
		if err != nil {
			return nil, err
		}
		for n, i := range part {
			if tells[n] == nil || tells[n].ModRevision != grouped[i].ModRevision {
				moved = append(moved, i)
				continue
			}
			places[i] = JobPlace{Shard: shards[n], KV: found[n]}
		}
	}
	return moved, nil
}

// read reads some of the jobs in the shards given, and the keys that tell in which
// they lie; nil: there is none.
func (l Locator) read(ctx context.Context, jobs []job.Key, part []int, shards []job.ShardID) (found, tells []*mvccpb.KeyValue, err error) {
	ops := make([]clientv3.Op, 0, 2*len(part))
	for n, i := range part {
		ops = append(ops, clientv3.OpGet(l.Keys.Job(shards[n], jobs[i])), clientv3.OpGet(l.Keys.GroupedJob(jobs[i])))
	}
	resp, err := l.Read(ctx, ops)
	if err != nil {
		return nil, nil, err
	}
	for n := range part {
		found = append(found, FirstKV(resp, 2*n))
		tells = append(tells, FirstKV(resp, 2*n+1))
	}
	return found, tells, nil
}

// FirstKV returns what the n-th operation of a transaction has read first; nil: it
// found nothing.
func FirstKV(resp *clientv3.TxnResponse, n int) *mvccpb.KeyValue {
	if kvs := resp.Responses[n].GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}
