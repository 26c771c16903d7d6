package scheduler

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/timekeeper"
)

// Engine is a scheduler node: it owns shards and fires their jobs. Use New and
// Run; an Engine runs once.
type Engine struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	met  *metrics

	// began is when the process was started, as far as others are told: it outlasts
	// the loss of a lease.
	began time.Time

	draining atomic.Bool
	lease    atomic.Int64
	// keeper has the clock compared with those of others.
	keeper *timekeeper.Keeper
	// clockChanged: the node may plan now, or may no more.
	clockChanged chan struct{}
	// tended is when ownership was looked at last, in Unix nanoseconds.
	tended atomic.Int64

	// loaded counts jobs that shards have read since memory was given back last,
	// loadedAt is when one did so, in Unix nanoseconds.
	loaded, loadedAt atomic.Int64

	mu sync.RWMutex // guards shards
	// shards are the owned ones that run.
	shards map[job.ShardID]*shard
}

// New returns an Engine.
func New(cfg Config, deps Deps) (*Engine, error) {
	if err := errors.Join(cfg.check(), deps.check()); err != nil {
		return nil, err
	}
	if deps.Time == nil {
		deps.Time = clock.New(clock.Config{}, clock.Deps{Wall: deps.Now, Mono: deps.Clock})
	}
	met, err := newMetrics(deps.Metrics)
	if err == nil {
		err = timekeeper.Register(deps.Metrics, deps.Time)
	}
	if err != nil {
		return nil, fmt.Errorf("scheduler metrics: %w", err)
	}
	deps.Logger = deps.Logger.Named("scheduler")
	e := &Engine{
		cfg: cfg.filled(), deps: deps, log: deps.Logger, met: met, began: time.Unix(0, deps.now()).UTC(),
		shards: map[job.ShardID]*shard{}, clockChanged: make(chan struct{}, 1),
	}
	e.keeper = timekeeper.New(timekeeper.Deps{
		Node: cfg.Node, Time: deps.Time, Clocks: deps.Clocks, Members: deps.Cluster, Logger: e.log, Steps: met.clockSteps,
		Changed: e.onClock,
	})
	return e, nil
}

// onClock has the node's health told, and ownership looked at: the node may go by its
// clock from now on, or may no more.
func (e *Engine) onClock() {
	select {
	case e.clockChanged <- struct{}{}:
	default:
	}
	e.deps.Cluster.Wake()
}

// errWentBack ends a membership, since etcd is older than what was seen of it.
var errWentBack = errors.New("etcd went back")

// ErrNameTaken is returned by Run when another node of the same name is alive.
var ErrNameTaken = errors.New("node name taken")

// Run joins the cluster, owns shards and fires jobs until ctx ends. It then
// hands its shards over and leaves. A lost lease is not the end: the node stops
// at once what it may no longer do, and joins again.
func (e *Engine) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(errYielded)
	e.deps.bestEffort, e.deps.load = newBestEffort(work), &fair.Load{}
	defer e.deps.bestEffort.wg.Wait()
	defer cancel(errYielded)

	var wg sync.WaitGroup
	defer wg.Wait()
	keeping, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	wg.Go(func() { e.keeper.Run(keeping) })

	for try := 0; ctx.Err() == nil; try++ {
		err := e.term(ctx, work)
		select {
		case <-e.deps.lost():
			<-ctx.Done() // the node opens anew, or not at all
			return nil
		default:
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrNameTaken):
			return err
		case ctx.Err() != nil:
			return nil // asked to end; what the term says is logged
		}
		e.log.Warn("membership ended, joining again", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Duration(try+1)*100*time.Millisecond, 2*time.Second)):
		}
	}
	return nil
}

// term is one membership: from joining until the lease is lost or ctx ends.
func (e *Engine) term(ctx, work context.Context) error {
	select {
	case <-e.deps.lost():
		return errWentBack
	default:
	}
	sess, err := lock.Open(ctx, lock.SessionConfig{
		Holder: string(e.cfg.Node), TTL: e.cfg.LeaseTTL, Epoch: e.cfg.Meta.Epoch, Marks: e.cfg.Keys.Marks(),
	}, lock.Deps{Client: e.deps.Client, Renewers: e.deps.Renewers, Logger: e.log, Metrics: e.deps.Metrics,
		Clock: e.deps.Clock})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	defer func() {
		bounded, cancel := context.WithTimeout(work, closeTimeout)
		defer cancel()
		e.setLease(0)
		if err := sess.Close(bounded); err != nil {
			e.log.Warn("lease not given back; it expires", zap.Error(err))
		}
	}()
	m, err := e.join(ctx, sess)
	if err != nil {
		return err
	}
	e.setLease(sess.Lease())
	e.log.Info("joined the cluster", zap.Int64("lease", int64(sess.Lease())), zap.Int("shards", e.cfg.Meta.Shards))

	held, cancel := sess.Context(work)
	defer cancel()
	t := e.newMembership(sess, m, held)
	var wg sync.WaitGroup
	defer t.node.Wait()
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { t.keepHealth(held) })
	wg.Go(func() { e.leaveIfLost(held, sess) })
	return t.node.Run(ctx)
}

// leaveIfLost ends the session once etcd has gone back: its lease may have come back with
// it, and nothing is to be done under that, nor handed over.
func (e *Engine) leaveIfLost(held context.Context, sess *lock.Session) {
	select {
	case <-held.Done():
		return
	case <-e.deps.lost():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(held), closeTimeout)
	defer cancel()
	if err := sess.Close(bounded); err != nil {
		e.log.Warn("lease not given back; it expires", zap.Error(err))
	}
}

// unfit says why the node may neither plan nor hold shards; empty: it may.
func (e *Engine) unfit() string {
	if why := e.deps.why(); why != "" {
		return why
	}
	return e.keeper.Unfit()
}

// closeTimeout bounds the giving back of a lease.
const closeTimeout = 3 * time.Second

func (e *Engine) setLease(id clientv3.LeaseID) {
	e.lease.Store(int64(id))
	if e.deps.OnLease != nil {
		e.deps.OnLease(id)
	}
}

// Lease returns the lease of the node's present membership.
func (e *Engine) Lease() (clientv3.LeaseID, bool) {
	id := e.lease.Load()
	return clientv3.LeaseID(id), id != 0
}

// Reports takes what minions say about tasks. It does not block. Reports on
// shards that this node does not own are dropped; minions repeat what matters.
func (e *Engine) Reports(reports []job.Report) {
	groups := map[job.ShardID][]job.Report{}
	for _, r := range reports {
		groups[r.Shard] = append(groups[r.Shard], r)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for id, group := range groups {
		if s := e.shards[id]; s != nil {
			s.do(func() { s.onReports(group) })
		}
	}
}

// Revoked takes that nothing more will be heard of a minion, since its certificate
// was revoked. It does not block.
func (e *Engine) Revoked(id job.MinionID) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.shards {
		s.do(func() { s.onRevoked(id) })
	}
}

// liveTimeout bounds how long a shard may take to list its open fires.
const liveTimeout = time.Second

// LiveRuns returns the open runs of this node's shards, and the shards of which
// they are all. Others are loading, or did not answer in time. Empty strings mean
// any namespace, any name.
func (e *Engine) LiveRuns(namespace, name string) (open []job.Run, of []job.ShardID) {
	type answer struct {
		runs []job.Run
		of   job.ShardID
		all  bool
	}
	e.mu.RLock()
	answers := make(chan answer, len(e.shards)) // one place per shard: no answer waits
	asked := 0
	for _, s := range e.shards {
		asked++
		s.do(func() { answers <- answer{s.live(namespace, name), s.id, s.synced && s.own.Held()} })
	}
	e.mu.RUnlock()
	timeout := time.NewTimer(liveTimeout)
	defer timeout.Stop()
	for range asked {
		select {
		case a := <-answers:
			open = append(open, a.runs...)
			if a.all {
				of = append(of, a.of)
			}
		case <-timeout.C:
			return open, of
		}
	}
	return open, of
}

// Ready returns the reasons why the node is not ready; none means it is.
func (e *Engine) Ready() []string {
	var out []string
	if why := e.deps.why(); why != "" {
		out = append(out, why)
	}
	if !e.deps.Cluster.Synced() {
		out = append(out, "the view of the cluster is not read yet")
	}
	if e.lease.Load() == 0 {
		out = append(out, "the node holds no lease: etcd cannot be reached, or it has just lost it")
	}
	if e.draining.Load() {
		out = append(out, "the node is draining")
	}
	if why := e.keeper.Unfit(); why != "" {
		out = append(out, why)
	}
	if n := e.behind(); n > 0 {
		out = append(out, fmt.Sprintf("%d shards plan nothing: their view of jobs, pauses or groups lacks an edit", n))
	}
	if n := e.deps.Cluster.Unowned(); len(out) == 0 && n > 0 {
		out = append(out, fmt.Sprintf("%d shards have no owner yet", n))
	}
	return out
}

// Loading leaves about as much behind as the jobs themselves take. After so many
// jobs, and this long after the last shard, it is given back.
const (
	tidyJobs  = 100_000
	tidyAfter = time.Second
)

// tidy gives back the memory that loading many jobs has left behind.
func (e *Engine) tidy() {
	if e.loaded.Load() < tidyJobs || time.Since(time.Unix(0, e.loadedAt.Load())) < tidyAfter {
		return
	}
	e.deps.bestEffort.do(func(context.Context) {
		if e.loaded.Swap(0) >= tidyJobs {
			debug.FreeOSMemory()
		}
	})
}

// Jobs returns how many jobs this node's loaded shards hold.
func (e *Engine) Jobs() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n := int64(0)
	for _, s := range e.shards {
		n += s.count.Load()
	}
	return int(n)
}
