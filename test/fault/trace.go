package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// readTrace counts the lines of each fire in the tasks' file.
func readTrace(path string) (map[job.FireID]int, error) {
	f, err := os.Open(path) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	out := map[job.FireID]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		id, err := job.ParseFireID(strings.TrimSpace(lines.Text()))
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		out[id]++
	}
	return out, lines.Err()
}

// records gathers run records from the API; a final one replaces others.
type records struct {
	c    *cluster
	runs map[job.FireID]job.Run
}

// read pages through the runs, newest first, down to since. It returns how many
// of them have not ended.
func (r *records) read(ctx context.Context, since, until time.Time) (open int, err error) {
	cursor := ""
	for {
		var page control.RunPage
		if err := r.c.get(ctx, "/v1/runs?limit=1000&cursor="+cursor, &page); err != nil {
			return 0, err
		}
		for _, run := range page.Runs {
			if old, ok := r.runs[run.FireID]; !ok || !old.State.Final() || run.State.Final() {
				r.runs[run.FireID] = run
			}
			if !run.State.Final() && run.ScheduledAt.Before(until) {
				open++
			}
		}
		last := len(page.Runs) - 1
		if cursor = page.NextCursor; cursor == "" || last < 0 || page.Runs[last].ScheduledAt.Before(since) {
			return open, nil
		}
	}
}

// owners watches who owns which shard.
type owners struct {
	mu sync.Mutex // guards all below
	// now is the present owner of each shard's key; grants are all that were seen.
	now    map[string]job.NodeID
	losses map[string]time.Time
	took   []float64
}

// watchOwners follows the owner keys until ctx ends.
func watchOwners(ctx context.Context, c *clientv3.Client) *owners {
	o := &owners{now: map[string]job.NodeID{}, losses: map[string]time.Time{}}
	go func() {
		_ = etcdkv.Follow(ctx, c, etcdkv.NewKeys("").Owners(), func(b etcdkv.Batch) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, ev := range b.Events {
				v, err := etcdkv.Decode[etcdkv.Owner](ev.Key, ev.Value)
				if ev.Value == nil || err != nil {
					continue
				}
				o.now[ev.Key] = v.Node
				if at, lost := o.losses[ev.Key]; lost {
					o.took = append(o.took, float64(time.Since(at).Microseconds())/1000)
					delete(o.losses, ev.Key)
				}
			}
			return nil
		})
	}()
	return o
}

// lose notes that a node is taken down now: its shards wait for an owner.
func (o *owners) lose(node job.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, n := range o.now {
		if n == node {
			o.losses[key] = time.Now()
		}
	}
}

// takeovers returns the median and the longest time until a shard had an owner again.
func (o *owners) takeovers() (p50, longest float64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return percentile(o.took, .5), percentile(o.took, 1)
}
