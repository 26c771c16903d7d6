package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// tenure is what a node does with its shards under one lease.
type tenure struct {
	e    *Engine
	sess *lock.Session
	self etcdkv.Member
	ctx  context.Context //nolint:containedctx // the lifetime of the lease
	wg   sync.WaitGroup

	mu sync.Mutex // guards busy and passing
	// busy marks shards that are being claimed, run, or passed on.
	busy map[job.ShardID]bool
	// passing are the shards that are being passed on.
	passing map[job.ShardID]bool
}

// maxPassing bounds how many shards are passed on at a time.
const maxPassing = 8

// tendEvery is how often ownership is looked at when nothing calls for it.
const tendEvery = 200 * time.Millisecond

// run holds shards until the lease is lost or ctx ends. When ctx ends the
// shards are handed over; nil is returned then.
func (t *tenure) run(ctx context.Context) error {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return t.drain()
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		case <-t.e.deps.Cluster.changed:
		case <-ticker.C:
		}
		t.tend()
	}
}

// tend compares what the node owns with what it ought to.
func (t *tenure) tend() {
	c := t.e.deps.Cluster
	if !c.Synced() {
		return
	}
	me := t.e.cfg.Node
	want := t.e.cfg.Mode.Place(t.e.cfg.Meta.Shards, t.candidates())
	stable := c.stableFor() >= t.e.cfg.RebalanceAfter
	for i, node := range want {
		id := job.ShardID(i) //nolint:gosec // an index
		o := c.owner(id)
		mine := o.node == me && o.lease == int64(t.sess.Lease())
		switch {
		case o.node == "" && node == me:
			t.start(id, func(ctx context.Context) (*lock.Ownership, error) { return t.claim(ctx, id) })
		case mine && !t.isBusy(id):
			t.start(id, func(ctx context.Context) (*lock.Ownership, error) {
				return t.sess.Adopt(ctx, t.e.cfg.Keys.Owner(id), o.rev)
			})
		case mine && node != me && node != "" && (stable || t.e.draining.Load()):
			if to, ok := c.member(node); ok {
				t.pass(id, &to)
			}
		}
	}
}

// candidates are the nodes that may hold shards.
func (t *tenure) candidates() []Candidate {
	var out []Candidate
	for _, m := range t.e.deps.Cluster.Members() {
		if m.Phase == etcdkv.PhaseReady && (m.Node != t.e.cfg.Node || !t.e.draining.Load()) {
			out = append(out, Candidate{Node: m.Node, Capacity: m.Capacity})
		}
	}
	return out
}

func (t *tenure) isBusy(id job.ShardID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy[id]
}

// start takes a shard and runs it, unless that is under way.
func (t *tenure) start(id job.ShardID, take func(context.Context) (*lock.Ownership, error)) {
	t.mu.Lock()
	if t.busy[id] || t.ctx.Err() != nil {
		t.mu.Unlock()
		return
	}
	t.busy[id] = true
	t.mu.Unlock()
	t.wg.Go(func() {
		defer func() {
			t.mu.Lock()
			delete(t.busy, id)
			delete(t.passing, id)
			t.mu.Unlock()
		}()
		bounded, cancel := context.WithTimeout(t.ctx, takeTimeout)
		own, err := take(bounded)
		cancel()
		if err != nil {
			if !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrFenced) && t.ctx.Err() == nil {
				t.e.log.Warn("shard not taken", zap.Stringer("shard", id), zap.Error(err))
			}
			return
		}
		t.hold(id, own)
	})
}

// takeTimeout bounds one try to take a shard.
const takeTimeout = 3 * time.Second

// claim takes a shard that nobody owns.
func (t *tenure) claim(ctx context.Context, id job.ShardID) (*lock.Ownership, error) {
	value, err := ownerValue(t.e.cfg.Node, "", t.e.deps.now())
	if err != nil {
		return nil, err
	}
	return t.sess.Claim(ctx, lock.Grant{Key: t.e.cfg.Keys.Owner(id), Value: value})
}

// hold runs an owned shard until it is lost or passed on.
func (t *tenure) hold(id job.ShardID, own *lock.Ownership) {
	e := t.e
	s := newShard(id, own, &e.cfg, &e.deps, e.met)
	e.mu.Lock()
	e.shards[id] = s
	e.mu.Unlock()
	e.met.owned.Inc()
	e.met.takeovers.WithLabelValues("gained").Inc()

	err := s.run(t.ctx)

	e.mu.Lock()
	delete(e.shards, id)
	e.mu.Unlock()
	s.leave()
	e.met.owned.Dec()
	how := "lost"
	if errors.Is(err, errYielded) {
		how = "passed-on"
	}
	e.met.takeovers.WithLabelValues(how).Inc()
	e.log.Info("shard left", zap.Stringer("shard", id), zap.String("how", how), zap.Error(err))
}

// pass hands a shard over to another node, or gives it back when to is nil.
func (t *tenure) pass(id job.ShardID, to *etcdkv.Member) {
	t.e.mu.RLock()
	s := t.e.shards[id]
	t.e.mu.RUnlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if s == nil || t.passing[id] || len(t.passing) >= maxPassing {
		return
	}
	t.passing[id] = true
	s.yield(t.ctx, to, func(err error) {
		if err != nil {
			t.mu.Lock()
			delete(t.passing, id)
			t.mu.Unlock()
			t.e.log.Warn("shard not passed on", zap.Stringer("shard", id), zap.Error(err))
		}
	})
}

// drain hands all shards over, or gives them back when no other node is ready.
func (t *tenure) drain() error {
	e := t.e
	e.draining.Store(true)
	ctx, cancel := context.WithTimeout(t.ctx, e.cfg.DrainTimeout)
	defer cancel()
	t.self.Phase, t.self.PhaseSince = etcdkv.PhaseDraining, time.Unix(0, e.deps.now()).UTC()
	if err := t.announce(ctx); err != nil {
		e.log.Warn("draining not announced", zap.Error(err))
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		e.mu.RLock()
		ids := make([]job.ShardID, 0, len(e.shards))
		for id := range e.shards {
			ids = append(ids, id)
		}
		e.mu.RUnlock()
		if len(ids) == 0 {
			e.log.Info("all shards handed over")
			return nil
		}
		others := t.candidates()
		want := e.cfg.Mode.Place(e.cfg.Meta.Shards, others)
		for _, id := range ids {
			if to, ok := e.deps.Cluster.member(want[id]); ok && len(others) > 0 {
				t.pass(id, &to)
			} else {
				t.pass(id, nil)
			}
		}
		select {
		case <-ctx.Done():
			e.log.Warn("drain timed out; the rest of the shards go with the lease", zap.Int("shards", len(ids)))
			return nil
		case <-ticker.C:
		}
	}
}

// join writes the node's member key. A key of the same data directory is left
// over from a process that is dead, since the directory is locked: its lease is
// revoked, which frees its shards at once.
func (e *Engine) join(ctx context.Context, sess *lock.Session) (etcdkv.Member, error) {
	incarnation, err := uuid.NewRandom()
	if err != nil {
		return etcdkv.Member{}, fmt.Errorf("new incarnation: %w", err)
	}
	m := etcdkv.Member{
		Schema: etcdkv.Schema, Node: e.cfg.Node, Identity: e.cfg.Identity, Incarnation: incarnation.String(),
		Site: e.cfg.Site, Priority: e.cfg.Priority, Capacity: e.cfg.Capacity, Phase: etcdkv.PhaseReady,
		PeerAddr: e.cfg.PeerAddr, APIAddr: e.cfg.APIAddr, Lease: int64(sess.Lease()),
		Version: e.cfg.Version, StartedAt: time.Unix(0, e.deps.now()).UTC(),
	}
	key := e.cfg.Keys.Member(e.cfg.Node)
	for range 10 {
		value, err := etcdkv.Encode(&m)
		if err != nil {
			return m, err
		}
		resp, err := e.deps.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(sess.Lease()))).
			Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return m, fmt.Errorf("join: %w", err)
		}
		if resp.Succeeded {
			return m, nil
		}
		kvs := resp.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 0 {
			continue
		}
		old, err := etcdkv.Decode[etcdkv.Member](key, kvs[0].Value)
		if err != nil {
			return m, err
		}
		if old.Incarnation == m.Incarnation {
			return m, nil // our own, after an answer that was lost
		}
		if old.Identity != e.cfg.Identity {
			return m, fmt.Errorf("%w: %q is alive at %s with another data directory; give this node a name of its own",
				ErrNameTaken, e.cfg.Node, old.PeerAddr)
		}
		e.log.Info("revoking the lease of this node's former process", zap.Int64("lease", kvs[0].Lease))
		if _, err := e.deps.Client.Revoke(ctx, clientv3.LeaseID(kvs[0].Lease)); err != nil {
			e.log.Debug("former lease not revoked", zap.Error(err))
		}
	}
	return m, fmt.Errorf("join: member key %s does not settle", key)
}

// announce writes what has changed about the node.
func (t *tenure) announce(ctx context.Context) error {
	value, err := etcdkv.Encode(&t.self)
	if err != nil {
		return err
	}
	key := t.e.cfg.Keys.Member(t.self.Node)
	_, err = t.e.deps.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue(key), "=", t.sess.Lease())).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(t.sess.Lease()))).Commit()
	return err
}

// ownerValue makes the value of an owner key.
func ownerValue(node, from job.NodeID, now int64) (string, error) {
	grant, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("new grant id: %w", err)
	}
	return etcdkv.Encode(etcdkv.Owner{
		Schema: etcdkv.Schema, Node: node, Grant: grant.String(), Since: time.Unix(0, now).UTC(), From: from,
	})
}
