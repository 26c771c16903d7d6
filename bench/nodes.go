package main

import (
	"context"
	"fmt"
	"time"
)

// nodes measures what the same fires cost with three nodes and with one, at the
// same rate, on the same etcd and with the same minion.
type nodes struct {
	jobs          int
	every, window time.Duration
}

func (b nodes) measure(ctx context.Context, e *env) error {
	const three = 3
	f, minion, err := startCluster(ctx, e, three, busySettings(), false)
	if err != nil {
		return err
	}
	defer f.close()
	defer minion.kill()
	if err := (&jobsOf{namespace: "bench", count: b.jobs, expr: always("@every " + b.every.String()), command: []string{noopTask}}).put(ctx, f.etcd.Client); err != nil {
		return err
	}
	var alone, together nodesCost
	side := func(count int, into *nodesCost) func(context.Context) error {
		return func(ctx context.Context) error {
			for i := range three {
				switch {
				case i < count && f.nodes[i] == nil:
					if err := f.startNode(ctx, i); err != nil {
						return err
					}
				case i >= count && f.nodes[i] != nil:
					f.stopNode(i)
				}
			}
			if err := f.awaitBalance(ctx); err != nil {
				return err
			}
			if err := f.awaitMinion(ctx); err != nil {
				return err
			}
			if _, err := f.window(ctx, minion, b.every); err != nil { // it warms up
				return err
			}
			w, err := f.window(ctx, minion, b.window)
			if err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			into.add(w)
			return nil
		}
	}
	if err := e.inTurns(ctx, side(1, &alone), side(three, &together)); err != nil {
		return err
	}
	per := fmt.Sprintf("for 1,000 fires, at %.0f fires/s of no-op Go handlers, journaled and in history; mutual TLS", float64(b.jobs)/b.every.Seconds())
	for _, of := range []struct {
		name, unit, what string
		one, three       []float64
	}{
		{"writes", "transactions", "that wrote to etcd", alone.writes, together.writes},
		{"received_kb", "kB", "that etcd got of nodes", alone.received, together.received},
		{"sent_kb", "kB", "that nodes got of etcd", alone.sent, together.sent},
		{"cpu_ms", "ms", "of processor time of the nodes and etcd", alone.processor, together.processor},
	} {
		if err := e.report("nodes_1_"+of.name, of.unit, of.one, of.what+" "+per); err != nil {
			return err
		}
		if err := e.report("nodes_3_"+of.name, of.unit, of.three, of.what+" "+per); err != nil {
			return err
		}
		if err := e.ratio("nodes_3_vs_1_"+of.name, of.three, of.one, "three nodes to one"); err != nil {
			return err
		}
	}
	return nil
}

// nodesCost is what 1,000 fires cost, by round.
type nodesCost struct{ writes, received, sent, processor []float64 }

func (c *nodesCost) add(w window) {
	per := 1000 / w.written
	c.writes = append(c.writes, w.writes*per)
	c.received = append(c.received, w.received*per/1000)
	c.sent = append(c.sent, w.sent*per/1000)
	c.processor = append(c.processor, w.processor*per*1000)
}
