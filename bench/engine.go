package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// noop stands for the minions, and for history: a task that is ordered succeeds
// at once, and its record is dropped. What is measured is planning, committing,
// dispatching and closing.
type noop struct {
	engine atomic.Pointer[scheduler.Engine]
	fired  atomic.Int64
	// sent, unless nil, is told of orders. It is set before the engine runs.
	sent func([]job.Order)
}

func (n *noop) Match(job.Target) []job.MinionID { return []job.MinionID{"m"} }
func (n *noop) Reach(t job.Target) ([]job.MinionID, []job.Uncontrollable) {
	return n.Match(t), nil
}

func (*noop) Value(job.MinionID, string) string { return "" }

func (*noop) Revoked(job.MinionID) bool { return false }

func (*noop) Absence(job.MinionID) (job.Absence, bool) { return job.Absence{}, false }
func (*noop) Absences() uint64                         { return 0 }

func (n *noop) Connected(job.MinionID) bool { return true }
func (n *noop) Ack([]job.TaskID)            {}
func (n *noop) Cancel([]job.Ref, string)    {}

// Ask tells an engine that was started again that no minion knows what the one
// before it ordered: it sends that again.
func (n *noop) Ask(refs []job.Ref) {
	reports := make([]job.Report, len(refs))
	for i := range refs {
		reports[i] = job.Report{Task: refs[i].Task, Shard: refs[i].Shard}
	}
	n.engine.Load().Reports(reports)
}

func (n *noop) Send(orders []job.Order) {
	now := time.Now()
	reports := make([]job.Report, len(orders))
	for i := range orders {
		o := &orders[i]
		reports[i] = job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded, StartedAt: now, EndedAt: now}
	}
	if n.sent != nil {
		n.sent(orders)
	}
	n.fired.Add(int64(len(orders)))
	n.engine.Load().Reports(reports)
}

func (n *noop) Record(_ job.Run, done func(error)) { done(nil) }

func (n *noop) Get(context.Context, job.RunID) (job.Run, error) { return job.Run{}, job.ErrNotFound }
func (n *noop) Since(context.Context, job.UID, time.Time, func(*job.Run)) (bool, error) {
	return true, nil
}

// startEngine runs an engine against etcd in this process, with no-op minions
// that tell sent, unless it is nil, of their orders. What is later than grace is
// a misfire.
func startEngine(ctx context.Context, c *clientv3.Client, grace time.Duration, sent func([]job.Order)) (*noop, func() error, error) {
	keys := etcdkv.NewKeys("")
	meta := etcdkv.Meta{Schema: etcdkv.Schema, Epoch: 1, Shards: shards}
	known := cluster.New(c, keys, meta)
	n := &noop{sent: sent}
	engine, err := scheduler.New(scheduler.Config{
		Node: "bench", Identity: "bench", Keys: keys, Meta: meta, LeaseTTL: 30 * time.Second, MisfireGrace: grace,
	}, scheduler.Deps{
		Client: c, Cluster: known, Minions: n, History: n, Records: n, Schedules: schedule.NewCache(),
		Logger: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, nil, err
	}
	n.engine.Store(engine)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() { done <- known.Run(context.WithoutCancel(ctx)) }()
	go func() { done <- engine.Run(ctx) }()
	return n, func() error { cancel(); return <-done }, nil
}

// engineSpec is what an engine's process is told.
type engineSpec struct {
	Etcd         string
	MisfireGrace time.Duration
	ProfileAt    string // address that serves profiles; empty: none
	// Jobs and Period are for the bare one: how many there are, and in how many
	// seconds each is due once.
	Jobs, Period int
}

// engineStats are the answer to a line.
type engineStats struct {
	Jobs  int   // that are loaded
	Fired int64 // so far
	// Processor is the time that the process has used, in seconds.
	Processor float64
	Resident  int64 // bytes
}

// runEngine runs an engine with no-op minions. It answers each line by its
// engineStats.
func runEngine(ctx context.Context, spec engineSpec, lines <-chan string) error {
	serveProfiles(spec.ProfileAt)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{spec.Etcd}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	n, stop, err := startEngine(ctx, c, spec.MisfireGrace, nil)
	if err != nil {
		return err
	}
	for range lines {
		if err := tellStats(n.engine.Load().Jobs(), n.fired.Load()); err != nil {
			return err
		}
	}
	return stop()
}

func tellStats(jobs int, fired int64) error {
	resident, err := residentOf("self")
	if err != nil {
		return err
	}
	return answer(engineStats{Jobs: jobs, Fired: fired, Processor: cpuTime().Seconds(), Resident: resident})
}

// stats asks an engine's process.
func stats(ctx context.Context, e *env, p *process) (engineStats, error) {
	var s engineStats
	err := p.ask(ctx, "stats", e.patience, &s)
	return s, err
}

// awaitStats waits until an engine has come so far.
func awaitStats(ctx context.Context, e *env, p *process, what string, ok func(engineStats) bool) error {
	return e.until(ctx, what, func() (bool, error) {
		s, err := stats(ctx, e, p)
		return err == nil && ok(s), err
	})
}

// committedPerSecond measures how many fires a second an engine plans, commits
// to etcd, dispatches and closes on one node, with so many offered.
func committedPerSecond(ctx context.Context, e *env, jobs int, window time.Duration) (float64, error) {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return 0, err
	}
	defer store.close()
	if err := (&jobsOf{namespace: "bench", count: jobs, expr: always("@every 1s"), command: []string{"true"}}).put(ctx, store.Client); err != nil {
		return 0, err
	}
	p, err := start(ctx, "engine", engineSpec{Etcd: store.endpoint, MisfireGrace: time.Hour}) // it is always late
	if err != nil {
		return 0, err
	}
	defer p.kill()
	if err := awaitStats(ctx, e, p, "all jobs fire once", func(s engineStats) bool { return s.Fired >= int64(jobs) }); err != nil {
		return 0, err
	}
	from, err := stats(ctx, e, p)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := pause(ctx, window); err != nil {
		return 0, err
	}
	to, err := stats(ctx, e, p)
	if err != nil {
		return 0, err
	}
	return float64(to.Fired-from.Fired) / time.Since(begun).Seconds(), nil
}

// self is this program.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("own program: %w", err)
	}
	return path, nil
}
