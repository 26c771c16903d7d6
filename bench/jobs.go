package main

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// shards is the number of shards in all benchmarks.
const shards = 64

// jobsOf are jobs to store: job i is due as expr says, and is called by its
// number, in the namespace.
type jobsOf struct {
	namespace string
	count     int
	expr      func(i int) string
	command   []string
	misfire   job.Misfire
	// idle is how long, from when they are stored, none is due.
	idle time.Duration
}

func (o *jobsOf) key(i int) job.Key {
	return job.Key{Namespace: o.namespace, Name: fmt.Sprintf("job-%07d", i)}
}

// put stores the jobs.
func (o *jobsOf) put(ctx context.Context, c *clientv3.Client) error {
	now := time.Now().UTC()
	return o.each(ctx, c, func(i int, at string) (clientv3.Op, error) {
		uid, err := job.NewUID()
		if err != nil {
			return clientv3.Op{}, err
		}
		key := o.key(i)
		value, err := etcdkv.Encode(&etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{
			Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name},
			Spec: job.Spec{
				Schedules: []string{o.expr(i)}, Command: o.command, Overlap: job.OverlapAllow, Misfire: o.misfire,
			},
			UID: uid, Generation: 1, After: now.Add(o.idle), CreatedAt: now, UpdatedAt: now,
		}})
		return clientv3.OpPut(at, value), err
	})
}

// remove deletes them.
func (o *jobsOf) remove(ctx context.Context, c *clientv3.Client) error {
	return o.each(ctx, c, func(_ int, at string) (clientv3.Op, error) { return clientv3.OpDelete(at), nil })
}

// each does something with the key of each job: many in a transaction, and some
// transactions at a time.
func (o *jobsOf) each(ctx context.Context, c *clientv3.Client, op func(i int, at string) (clientv3.Op, error)) error {
	const perTxn, atOnce = 100, 4
	keys := etcdkv.NewKeys("")
	var group errgroup.Group
	group.SetLimit(atOnce)
	for from := 0; from < o.count; from += perTxn {
		group.Go(func() error {
			var ops []clientv3.Op
			for i := from; i < min(from+perTxn, o.count); i++ {
				one, err := op(i, keys.Job(etcdkv.ShardOf(o.key(i), shards), o.key(i)))
				if err != nil {
					return err
				}
				ops = append(ops, one)
			}
			if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
				return fmt.Errorf("jobs of %s: %w", o.namespace, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// always gives all jobs one schedule.
func always(expr string) func(int) string { return func(int) string { return expr } }

// spread gives jobs that are due once in a period, spread over its seconds. The
// period, in seconds, divides a minute, or is a number of minutes that divides
// an hour.
func spread(period int) func(i int) string {
	return func(i int) string {
		at := i % period
		switch {
		case period == 1:
			return "* * * * * *"
		case period < 60:
			return fmt.Sprintf("%d/%d * * * * *", at, period)
		case period == 60:
			return fmt.Sprintf("%d * * * * *", at)
		default:
			return fmt.Sprintf("%d %d/%d * * * *", at%60, at/60, period/60)
		}
	}
}
