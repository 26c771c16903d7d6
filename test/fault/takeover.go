package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// takeovers measures, for each shard of a node that is stopped, how long it
// takes until somebody is granted it. Only a grant writes an owner key.
type takeovers struct {
	mu     sync.Mutex // guards what follows
	owners map[job.ShardID]job.NodeID
	lost   map[job.ShardID]time.Time // since when the owner is gone
	took   []time.Duration
}

func newTakeovers() *takeovers {
	return &takeovers{owners: map[job.ShardID]job.NodeID{}, lost: map[job.ShardID]time.Time{}}
}

// lose notes that the node is being stopped now.
func (t *takeovers) lose(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for shard, owner := range t.owners {
		if _, already := t.lost[shard]; owner == job.NodeID(node) && !already {
			t.lost[shard] = now
		}
	}
}

func (t *takeovers) granted(shard job.ShardID, node job.NodeID, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owners[shard] = node
	if since, ok := t.lost[shard]; ok {
		delete(t.lost, shard)
		t.took = append(t.took, at.Sub(since))
	}
}

// times returns how long the takeovers took.
func (t *takeovers) times() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]time.Duration(nil), t.took...)
}

// watch follows the owner keys until ctx ends. ready is closed when it has
// seen them all.
func (t *takeovers) watch(ctx context.Context, client *clientv3.Client, keys etcdkv.Keys, ready chan<- struct{}) error {
	resp, err := client.Get(ctx, keys.Owners(), clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read owners: %w", err)
	}
	for _, kv := range resp.Kvs {
		if err := t.see(keys, string(kv.Key), kv.Value); err != nil {
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
				continue // nobody is granted anything by a deletion
			}
			if err := t.see(keys, string(e.Kv.Key), e.Kv.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *takeovers) see(keys etcdkv.Keys, key string, value []byte) error {
	shard, err := keys.ParseOwner(key)
	if err != nil {
		return err
	}
	owner, err := etcdkv.Decode[etcdkv.Owner](key, value)
	if err != nil {
		return err
	}
	t.granted(shard, owner.Node, time.Now())
	return nil
}
