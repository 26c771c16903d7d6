package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// cause is why a node loses its shards.
type cause string

const (
	causeKill      cause = "kill"      // SIGKILL
	causeHandover  cause = "handover"  // told to leave: no shard may be without an owner
	causePause     cause = "pause"     // SIGSTOP for longer than its lease
	causePartition cause = "partition" // cut off from etcd
)

// takeovers measures, for each shard of a node that is stopped, how long it
// takes until somebody is granted it. Only a grant writes an owner key.
type takeovers struct {
	mu     sync.Mutex // guards what follows
	owners map[job.ShardID]job.NodeID
	lost   map[job.ShardID]*loss
	took   map[cause][]time.Duration
	grants map[job.ShardID][]grant
	// ownerless is since when shards have no owner that had one.
	ownerless map[job.ShardID]time.Time
	// moves counts grants of hash shards to another node than before; gaps
	// those times that a shard was without an owner though nobody had crashed.
	moves, gaps int
	// ttl is of the nodes' leases.
	ttl time.Duration
}

// loss is what happened to a shard's owner.
type loss struct {
	node string
	at   time.Time
	why  cause
	// by is when it had happened for certain: the owner has renewed its lease before
	// that for the last time. Zero: it has not yet.
	by time.Time
}

// grant is an owner key as it was written.
type grant struct {
	rev int64
	at  time.Time
	// taken is what had happened to the owner before; nil: nothing that is known,
	// or it passed the shard on itself.
	taken *loss
}

func newTakeovers() *takeovers {
	return &takeovers{
		ttl:    leaseTTL,
		owners: map[job.ShardID]job.NodeID{}, lost: map[job.ShardID]*loss{},
		took: map[cause][]time.Duration{}, grants: map[job.ShardID][]grant{}, ownerless: map[job.ShardID]time.Time{},
	}
}

// lose notes that something happens to the node now.
func (t *takeovers) lose(node string, why cause) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for shard, owner := range t.owners {
		if _, already := t.lost[shard]; owner == job.NodeID(node) && !already {
			t.lost[shard] = &loss{node: node, at: now, why: why}
		}
	}
}

// struck notes that what was to happen to the node has happened.
func (t *takeovers) struck(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	set := func(l *loss) {
		if l != nil && l.node == node && l.by.IsZero() {
			l.by = now
		}
	}
	for _, l := range t.lost {
		set(l)
	}
	for _, list := range t.grants {
		for _, g := range list {
			set(g.taken) // somebody was quick
		}
	}
}

// forgive notes that the node is well again: what it did not lose meanwhile, it
// keeps.
func (t *takeovers) forgive(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for shard := range t.lost {
		if t.owners[shard] == job.NodeID(node) {
			delete(t.lost, shard)
		}
	}
}

func (t *takeovers) granted(shard job.ShardID, node job.NodeID, rev int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, known := t.owners[shard]; known && old != node && !shard.IsGroup() {
		t.moves++
	}
	t.owners[shard] = node
	delete(t.ownerless, shard)
	l, ok := t.lost[shard]
	g := grant{rev: rev, at: at}
	if ok && l.why != causeHandover {
		g.taken = l
	}
	t.grants[shard] = append(t.grants[shard], g)
	if ok {
		delete(t.lost, shard)
		t.took[l.why] = append(t.took[l.why], at.Sub(l.at))
	}
}

// freed notes that a shard has no owner.
func (t *takeovers) freed(shard job.ShardID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ownerless[shard] = time.Now()
	if l, ok := t.lost[shard]; !ok || l.why == causeHandover {
		t.gaps++
	}
}

// unowned returns since when shards have no owner that had one.
func (t *takeovers) unowned() map[job.ShardID]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.ownerless)
}

// placed counts the shards' owners, hash shards only.
func (t *takeovers) placed() map[job.ShardID]job.NodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[job.ShardID]job.NodeID{}
	for s, n := range t.owners {
		if !s.IsGroup() {
			out[s] = n
		}
	}
	return out
}

// counted returns the moves and the gaps so far.
func (t *takeovers) counted() (moves, gaps int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.moves, t.gaps
}

// times returns how long the takeovers took, sorted, by their cause.
func (t *takeovers) times() map[cause][]time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[cause][]time.Duration{}
	for why, took := range t.took {
		out[why] = slices.Sorted(slices.Values(took))
	}
	return out
}

// hold is how long after a renewal of its lease an owner's orders may start: the
// bound that package scheduler promises (I20).
func hold(ttl time.Duration) time.Duration { return ttl - ttl/5 }

// last returns until when a task may have been started under the token with the
// revision rev, whose owner has lost the shard by what happened to it. What an owner
// sent before it passed a shard on itself may be late, and is none the worse for
// it: false.
func (t *takeovers) last(shard job.ShardID, rev int64) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.grants[shard] {
		if g.rev > rev {
			if g.taken == nil || g.taken.by.IsZero() {
				return time.Time{}, false
			}
			return g.taken.by.Add(hold(t.ttl)), true
		}
	}
	return time.Time{}, false
}

// watchTakeovers follows the owner keys until stop is called, and returns once it
// has seen them all. What goes wrong later cancels the scenario.
func (c *cluster) watchTakeovers(ctx context.Context, cancel context.CancelCauseFunc) (stop func(), err error) {
	watch, end := context.WithCancel(ctx)
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := c.takeovers.watch(watch, c.client, etcdkv.NewKeys(""), ready); err != nil {
			cancel(err)
		}
	}()
	stop = func() { end(); <-done }
	select {
	case <-ready:
		return stop, nil
	case <-ctx.Done():
		stop()
		return nil, context.Cause(ctx)
	}
}

// watch follows the owner keys until ctx ends. ready is closed when it has
// seen them all.
func (t *takeovers) watch(ctx context.Context, client *clientv3.Client, keys etcdkv.Keys, ready chan<- struct{}) error {
	resp, err := client.Get(ctx, keys.Owners(), clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read owners: %w", err)
	}
	for _, kv := range resp.Kvs {
		if err := t.see(keys, string(kv.Key), kv.Value, kv.ModRevision); err != nil {
			return err
		}
	}
	close(ready)
	events := client.Watch(ctx, keys.Owners(), clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1))
	for answer := range events {
		if err := answer.Err(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch owners: %w", err)
		}
		for _, e := range answer.Events {
			if e.Type != clientv3.EventTypePut {
				if shard, err := keys.ParseOwner(string(e.Kv.Key)); err == nil {
					t.freed(shard)
				}
				continue
			}
			if err := t.see(keys, string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *takeovers) see(keys etcdkv.Keys, key string, value []byte, rev int64) error {
	shard, err := keys.ParseOwner(key)
	if err != nil {
		return err
	}
	owner, err := etcdkv.Decode[etcdkv.Owner](key, value)
	if err != nil {
		return err
	}
	t.granted(shard, owner.Node, rev, time.Now())
	return nil
}
