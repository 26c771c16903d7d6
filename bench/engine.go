package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler"
)

// shards is the number of shards in all benchmarks of the engine.
const shards = 64

// noop stands for the minions, and for history: a task that is ordered succeeds
// at once, and its record is dropped. What is measured is planning, committing,
// dispatching and closing.
type noop struct {
	engine atomic.Pointer[scheduler.Engine]
	fired  atomic.Int64
	late   atomic.Int64 // nanoseconds, summed
	// sent, unless nil, is told of orders.
	sent atomic.Pointer[func([]job.Order)]
}

func (n *noop) Match(job.Target) []job.MinionID              { return []job.MinionID{"m"} }
func (*noop) Uncontrollable(job.Target) []job.Uncontrollable { return nil }

func (*noop) Value(job.MinionID, string) string { return "" }

func (n *noop) Connected(job.MinionID) bool { return true }
func (n *noop) Ask([]job.Ref)               {}
func (n *noop) Ack([]job.TaskID)            {}
func (n *noop) Cancel([]job.Ref, string)    {}

func (n *noop) Send(orders []job.Order) {
	now := time.Now()
	reports := make([]job.Report, len(orders))
	for i := range orders {
		o := &orders[i]
		n.late.Add(int64(now.Sub(o.ScheduledAt)))
		reports[i] = job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded, StartedAt: now, EndedAt: now}
	}
	if fn := n.sent.Load(); fn != nil {
		(*fn)(orders)
	}
	n.fired.Add(int64(len(orders)))
	n.engine.Load().Reports(reports)
}

func (n *noop) Record(_ job.Run, done func(error)) { done(nil) }

func (n *noop) Get(context.Context, job.RunID) (job.Run, error) { return job.Run{}, job.ErrNotFound }

// putJobs stores count jobs; expr gives the schedule of each.
func putJobs(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, count int, expr func(i int) string) error {
	return putJobsWith(ctx, c, keys, count, expr, []string{"true"})
}

func putJobsWith(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, count int, expr func(i int) string, command []string) error {
	const perTxn = 100
	after := time.Now().UTC()
	for from := 0; from < count; from += perTxn {
		var ops []clientv3.Op
		for i := from; i < min(from+perTxn, count); i++ {
			uid, err := job.NewUID()
			if err != nil {
				return err
			}
			j := etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{
				Metadata: job.Metadata{Namespace: "bench", Name: fmt.Sprintf("job-%07d", i)},
				Spec:     job.Spec{Schedules: []string{expr(i)}, Command: command, Overlap: job.OverlapAllow},
				UID:      uid, Generation: 1, After: after, CreatedAt: after, UpdatedAt: after,
			}}
			value, err := etcdkv.Encode(&j)
			if err != nil {
				return err
			}
			ops = append(ops, clientv3.OpPut(keys.Job(etcdkv.ShardOf(j.Key(), shards), j.Key()), value))
		}
		if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
			return fmt.Errorf("put jobs: %w", err)
		}
	}
	return nil
}

// startEngine runs an engine against etcd with no-op minions.
func startEngine(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (*noop, func() error, error) {
	meta := etcdkv.Meta{Schema: etcdkv.Schema, Epoch: 1, Shards: shards}
	cluster := scheduler.NewCluster(c, keys, meta)
	n := &noop{}
	engine, err := scheduler.New(scheduler.Config{
		Node: "bench", Identity: "bench", Keys: keys, Meta: meta, LeaseTTL: 30 * time.Second, MisfireGrace: time.Hour,
	}, scheduler.Deps{
		Client: c, Cluster: cluster, Minions: n, History: n, Records: n, Schedules: schedule.NewCache(),
		Logger: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, nil, err
	}
	n.engine.Store(engine)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() { done <- cluster.Run(context.WithoutCancel(ctx)) }()
	go func() { done <- engine.Run(ctx) }()
	return n, func() error { cancel(); return <-done }, nil
}

// committedJobs is how many jobs fire every second in firesCommitted: more than
// the engine can do, so that the figure is its limit.
const committedJobs = 200_000

// committedPerSecond measures how many fires a second the engine plans, commits
// to etcd, dispatches and closes on one node.
func committedPerSecond(ctx context.Context) (float64, error) {
	c, stopEtcd, err := startEtcd(ctx)
	if err != nil {
		return 0, err
	}
	defer stopEtcd()
	keys := etcdkv.NewKeys("")
	if err := putJobs(ctx, c, keys, committedJobs, func(int) string { return "@every 1s" }); err != nil {
		return 0, err
	}
	n, stop, err := startEngine(ctx, c, keys)
	if err != nil {
		return 0, err
	}
	if err := until(ctx, 30*time.Second, func() bool { return n.fired.Load() >= committedJobs }); err != nil {
		return 0, errors.Join(err, stop())
	}
	const window = 10 * time.Second
	from, begun := n.fired.Load(), time.Now()
	time.Sleep(window)
	rate := float64(n.fired.Load()-from) / time.Since(begun).Seconds()
	return rate, stop()
}

// millionJobs measures how long a node takes to load a million jobs, and the
// memory it has then.
func millionJobs(ctx context.Context) error {
	c, stopEtcd, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer stopEtcd()
	keys := etcdkv.NewKeys("")
	// Due in a year: nothing fires while it loads.
	expr := func(i int) string {
		month := int(time.Now().AddDate(0, -1, 0).Month())
		return fmt.Sprintf("%d %d 1 %d *", i%60, i/60%24, month)
	}
	if err := putJobs(ctx, c, keys, 1_000_000, expr); err != nil {
		return err
	}
	debug.FreeOSMemory()
	begun := time.Now()
	n, stop, err := startEngine(ctx, c, keys)
	if err != nil {
		return err
	}
	err = until(ctx, 5*time.Minute, func() bool { return n.engine.Load().Jobs() == 1_000_000 })
	if err != nil {
		return errors.Join(err, stop())
	}
	report("jobs_1m_load_s", time.Since(begun).Seconds(), "s")
	peak, err := residentBytes()
	if err != nil {
		return errors.Join(err, stop())
	}
	time.Sleep(5 * time.Second)
	rss, err := residentBytes()
	if err != nil {
		return errors.Join(err, stop())
	}
	report("jobs_1m_rss_mb", float64(rss)/1e6, "MB (the node alone, 5 s after loading)")
	report("jobs_1m_rss_loading_mb", float64(peak)/1e6, "MB (the moment that the last job was loaded)")
	return stop()
}

// until waits for a condition.
func until(ctx context.Context, limit time.Duration, ok func() bool) error {
	for begun := time.Now(); !ok(); {
		if time.Since(begun) > limit {
			return fmt.Errorf("not reached within %v", limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// residentBytes returns the memory of this process.
func residentBytes() (int64, error) { return residentOf("self") }

// residentOf returns the memory of a process in bytes.
func residentOf(pid string) (int64, error) {
	path := "/proc/" + pid + "/statm"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, errors.New(path + " is not understood")
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}
