package main

import (
	"container/heap"
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// runBareEngine is what the cost of a fire is compared with: a timer heap, and
// bare transactions. Once a second it puts, per shard, a cursor and the packed
// fires that are due, if nobody else has written, and then deletes these. It
// answers lines as runEngine does.
func runBareEngine(ctx context.Context, spec engineSpec, lines <-chan string) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{spec.Etcd}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	e := bareEngine{client: c, period: time.Duration(spec.Period) * time.Second, cursors: make([]int64, shards)}
	begun := time.Now().Truncate(time.Second)
	for i := range spec.Jobs {
		e.due = append(e.due, bareJob{shard: i % shards, next: begun.Add(time.Duration(1+i%spec.Period) * time.Second)})
	}
	heap.Init(&e.due)
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case _, ok := <-lines:
			if !ok {
				return nil
			}
			if err := tellStats(spec.Jobs, e.fired); err != nil {
				return err
			}
		case now := <-ticks.C:
			if err := e.fire(ctx, now); err != nil {
				return err
			}
		}
	}
}

type bareEngine struct {
	client  *clientv3.Client
	period  time.Duration
	due     bareHeap
	cursors []int64 // the revision of each shard's cursor
	fired   int64
}

// bareFire is what stands for a fire in etcd: about as long as a packed one.
const bareFire = "00000000-0000-0000-0000-000000000000/0000000000000"

func (e *bareEngine) fire(ctx context.Context, now time.Time) error {
	fires := make([]int, shards)
	for len(e.due) > 0 && !e.due[0].next.After(now) {
		fires[e.due[0].shard]++
		e.due[0].next = e.due[0].next.Add(e.period)
		heap.Fix(&e.due, 0)
	}
	for shard, n := range fires {
		if n == 0 {
			continue
		}
		cursor, slot := fmt.Sprintf("/bench/bare/%d/cursor", shard), fmt.Sprintf("/bench/bare/%d/slot", shard)
		r, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(cursor), "=", e.cursors[shard])).
			Then(clientv3.OpPut(cursor, now.String()), clientv3.OpPut(slot, strings.Repeat(bareFire, n))).Commit()
		if err != nil {
			return err
		}
		if !r.Succeeded {
			return fmt.Errorf("somebody else has written %s", cursor)
		}
		e.cursors[shard] = r.Header.Revision
		if _, err := e.client.Delete(ctx, slot); err != nil {
			return err
		}
		e.fired += int64(n)
	}
	return nil
}

// bareJob is a job in the heap.
type bareJob struct {
	shard int
	next  time.Time
}

// bareHeap implements heap.Interface; the next one is on top.
type bareHeap []bareJob

func (h bareHeap) Len() int           { return len(h) }
func (h bareHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h bareHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *bareHeap) Push(x any)        { *h = append(*h, x.(bareJob)) }
func (h *bareHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
