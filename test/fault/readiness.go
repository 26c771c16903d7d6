package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A node says that it is ready (/readyz) only when, as far as it knows, no shard is
// without an owner. Two things are looked at. While a cluster starts, and nothing is
// disturbed, shards only gain owners: when a node says that it is ready, all have one
// in etcd. Later a node may not know yet; it does after readyAfter.

// readyAfter is how long after a shard has lost its owner a node may still say that it
// is ready: what it knows may be so old, and the answer so long on its way. readyEvery
// is how often it is asked.
func (c *cluster) readyAfter() time.Duration { return 2 * c.takeovers.ttl }

const readyEvery = 300 * time.Millisecond

// firstReady waits until the nodes say that they are ready, and notes those that say
// so before all hash shards have owners.
func (c *cluster) firstReady(ctx context.Context) error {
	for i, node := range c.api.nodes[:c.api.must] {
		if err := until(ctx, func() error { return c.api.askNode(ctx, node, http.MethodGet, "/readyz", nil, nil) }); err != nil {
			return err
		}
		var owned int
		if err := until(ctx, func() (err error) {
			owned, err = c.owned(ctx)
			return err
		}); err != nil {
			return err
		}
		if owned < shardCount {
			c.unready = append(c.unready, fmt.Sprintf("node %s says that it is ready, and %d of %d shards have no owner", c.schedulers[i].name, shardCount-owned, shardCount))
		}
	}
	return nil
}

// owned counts the hash shards that have an owner, by etcd itself.
func (c *cluster) owned(ctx context.Context) (int, error) {
	keys := etcdkv.NewKeys("")
	resp, err := c.client.Get(ctx, keys.Owners(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, fmt.Errorf("read owners: %w", err)
	}
	n := 0
	for _, kv := range resp.Kvs {
		if shard, err := keys.ParseOwner(string(kv.Key)); err == nil && !shard.IsGroup() {
			n++
		}
	}
	return n, nil
}

// watchReady asks the nodes until ctx ends whether they are ready, and returns what was
// said though shards had no owner.
func (c *cluster) watchReady(ctx context.Context) (unready []string) {
	told := map[job.ShardID]bool{}
	patient := &http.Client{Timeout: c.readyAfter(), Transport: c.api.http.Transport}
	for sleep(ctx, readyEvery) == nil {
		for i, node := range c.api.nodes {
			asked := time.Now()
			if (&apiClient{http: patient}).askNode(ctx, node, http.MethodGet, "/readyz", nil, nil) != nil {
				continue
			}
			for shard, since := range c.takeovers.unowned() {
				if since.Before(asked.Add(-c.readyAfter())) && !told[shard] {
					told[shard] = true
					unready = append(unready, fmt.Sprintf("node %s says that it is ready, and shard %v has had no owner for %v", c.schedulers[i].name, shard, asked.Sub(since)))
				}
			}
		}
	}
	return unready
}
