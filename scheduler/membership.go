package scheduler

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/ownership"
)

// membership is the engine under one lease: it runs the shards that the node holds.
type membership struct {
	e    *Engine
	sess *lock.Session
	node *ownership.Node
	// capsSeen are the caps as they were at the last look.
	capsSeen *cluster.Caps
}

// newMembership returns the engine's membership as self. held ends with the lease.
func (e *Engine) newMembership(sess *lock.Session, self etcdkv.Member, held context.Context) *membership {
	m := &membership{e: e, sess: sess}
	m.node = ownership.New(ownership.Config{
		Node: e.cfg.Node, Keys: e.cfg.Keys, Shards: e.cfg.Meta.Shards,
		ProbeEvery: e.cfg.ProbeEvery, RebalanceAfter: e.cfg.RebalanceAfter, DrainTimeout: e.cfg.DrainTimeout,
	}, ownership.Deps{
		Session: sess, Client: e.deps.Client, Cluster: e.deps.Cluster, Logger: e.log, Draining: &e.draining,
		Now: e.deps.now, Unfit: e.unfit, Fence: e.deps.fence, Spare: e.deps.bestEffort.do,
		Looking: m.looking, Seized: func() { e.met.takeovers.WithLabelValues("seized").Inc() },
		Run: m.hold, Running: e.running, Shards: e.runningIDs,
	}, self, held)
	return m
}

// looking does what else is due at each look at the shards.
func (m *membership) looking() {
	m.e.tended.Store(time.Now().UnixNano())
	m.e.tidy()
	m.e.wakeForCommands()
	m.wakeForCaps()
}

// running returns a shard of the node's that runs.
func (e *Engine) running(id job.ShardID) (ownership.Shard, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, runs := e.shards[id]
	return s, runs
}

// runningIDs returns which shards of the node's run.
func (e *Engine) runningIDs() []job.ShardID {
	e.mu.RLock()
	defer e.mu.RUnlock()
	ids := make([]job.ShardID, 0, len(e.shards))
	for id := range e.shards {
		ids = append(ids, id)
	}
	return ids
}

// hold runs an owned shard until it is lost or passed on.
func (m *membership) hold(ctx context.Context, id job.ShardID, own *lock.Ownership, beginning func() uint32) {
	e := m.e
	s := newShard(id, own, &e.cfg, &e.deps, e.met)
	if id.IsGroup() {
		s.turns = &turnPolicy{id: id, groups: e.deps.Cluster, node: m.node}
	}
	s.nextTerm = beginning
	s.term = s.nextTerm()
	s.loaded = func(n int) {
		e.loaded.Add(int64(n))
		e.loadedAt.Store(time.Now().UnixNano())
	}
	e.mu.Lock()
	e.shards[id] = s
	e.mu.Unlock()
	e.met.owned.Inc()
	e.met.takeovers.WithLabelValues("gained").Inc()

	beside := e.runBeside(ctx, id, own)
	err := s.run(ctx)
	beside()

	e.mu.Lock()
	delete(e.shards, id)
	e.mu.Unlock()
	s.leave()
	e.met.owned.Dec()
	how := "lost"
	switch {
	case errors.Is(err, errYielded):
		how = "passed-on"
	case errors.Is(err, errTimeMoved):
		how = "reckoned-anew"
	}
	e.met.takeovers.WithLabelValues(how).Inc()
	e.log.Debug("shard left", zap.Stringer("shard", id), zap.String("how", how), zap.Error(err))
}

// runBeside runs what is to be run beside the jobs of a shard, and returns what ends it.
func (e *Engine) runBeside(ctx context.Context, id job.ShardID, own *lock.Ownership) (end func()) {
	if e.deps.Beside == nil || id.IsGroup() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.deps.Beside(ctx, id, own)
	}()
	return func() {
		cancel()
		<-done
	}
}
