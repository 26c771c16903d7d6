package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// busySettings are those of nodes whose jobs are due often: they keep few
// records of each, and do not lose their lease for being busy.
func busySettings() nodeSettings {
	return nodeSettings{LeaseTTL: 30 * time.Second, MisfireGrace: time.Hour, PerJob: 10}
}

// startCluster starts nodes with a minion.
func startCluster(ctx context.Context, e *env, nodes int, settings nodeSettings, plain bool) (*farm, *process, error) {
	f, err := startFarm(ctx, e, nodes, settings)
	if err != nil {
		return nil, nil, err
	}
	minion, err := f.startMinion(ctx, plain)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	return f, minion, nil
}

// endToEnd measures how many fires a second go all the way: planned, committed,
// sent to a minion, journaled there, run, reported, and written to history. Of
// jobs there are more, due every second, than a node, a minion and etcd can do
// together.
type endToEnd struct {
	jobs   int
	window time.Duration
	// plain: the minion connects in plain text, and so not at all.
	plain bool
}

func (b endToEnd) measure(ctx context.Context, e *env) error {
	f, minion, err := startCluster(ctx, e, 1, busySettings(), b.plain)
	if err != nil {
		return err
	}
	defer f.close()
	defer minion.kill()
	if err := (&jobsOf{namespace: "bench", count: b.jobs, expr: always("@every 1s"), command: []string{noopTask}}).put(ctx, f.etcd.Client); err != nil {
		return err
	}
	if err := e.until(ctx, "all jobs are in history once", func() (bool, error) {
		r, err := f.results(ctx)
		return r.written >= float64(b.jobs), err
	}); err != nil {
		return err
	}
	var rates, writes []float64
	failed := map[string]float64{}
	for range e.rounds {
		w, err := f.window(ctx, minion, b.window)
		if err != nil {
			return err
		}
		for state, n := range w.failed {
			failed[state] += n
		}
		rates = append(rates, w.succeeded/w.seconds)
		writes = append(writes, w.writes/w.written*1000)
	}
	note := fmt.Sprintf("no-op Go handlers on one minion, journaled and in history; one node; %d offered; mutual TLS", b.jobs)
	if len(failed) > 0 {
		note += fmt.Sprintf("; some ended as %v", failed)
	}
	if err := e.report("fires_end_to_end_per_s", "fires/s", rates, note); err != nil {
		return err
	}
	return e.report("etcd_writes_per_1000_fires", "transactions", writes, "commits, closing and history, at that rate")
}

// window is what happened in a time.
type window struct {
	results
	seconds float64
	called  float64 // on the minion
	// writes and bytes are etcd's: transactions that wrote, and what clients sent
	// and got.
	writes, received, sent float64
	// processor is the time that nodes and etcd used, in seconds.
	processor float64
}

// look sums up what has happened so far.
func (f *farm) look(ctx context.Context, minion *process) (w window, err error) {
	if w.results, err = f.results(ctx); err != nil {
		return w, err
	}
	w.seconds = float64(time.Now().UnixNano()) / 1e9
	if err = minion.ask(ctx, "count", f.env.patience, &w.called); err != nil {
		return w, err
	}
	revision, err := f.etcd.revision(ctx)
	if err != nil {
		return w, err
	}
	w.writes = float64(revision)
	m, err := scrape(ctx, f.etcd.endpoint)
	if err != nil {
		return w, err
	}
	w.received, w.sent = m.sum("etcd_network_client_grpc_received_bytes_total"), m.sum("etcd_network_client_grpc_sent_bytes_total")
	w.processor, err = processorTime(append(f.running(), f.etcd.process)...)
	return w, err
}

// window looks at what happens in a time. There is no window in which nothing is
// called and written to history: it lasts until something is.
func (f *farm) window(ctx context.Context, minion *process, d time.Duration) (window, error) {
	a, err := f.look(ctx, minion)
	if err != nil {
		return a, err
	}
	if err := pause(ctx, d); err != nil {
		return a, err
	}
	var w window
	err = f.env.until(ctx, "fires in a window", func() (bool, error) {
		b, err := f.look(ctx, minion)
		if err != nil {
			return false, err
		}
		w = window{
			results: b.since(&a.results),
			seconds: b.seconds - a.seconds, called: b.called - a.called, writes: b.writes - a.writes,
			received: b.received - a.received, sent: b.sent - a.sent, processor: b.processor - a.processor,
		}
		return w.written > 0 && w.called > 0 && w.succeeded > 0 && w.processor > 0, nil
	})
	return w, err
}

// lateness measures how late tasks begin on their minion at some rates, in ten
// bursts a second.
type lateness struct {
	rates  []int
	window time.Duration
}

func (b lateness) measure(ctx context.Context, e *env) error {
	for _, rate := range b.rates {
		if err := b.at(ctx, e, rate); err != nil {
			return err
		}
	}
	return nil
}

func (b lateness) at(ctx context.Context, e *env, rate int) error {
	f, minion, err := startCluster(ctx, e, 1, busySettings(), false)
	if err != nil {
		return err
	}
	defer f.close()
	defer minion.kill()
	if err := (&jobsOf{namespace: "bench", count: rate / 10, expr: always("@every 100ms"), command: []string{noopTask}}).put(ctx, f.etcd.Client); err != nil {
		return err
	}
	if _, err := f.window(ctx, minion, time.Second); err != nil { // it warms up
		return err
	}
	var p50, p99 []float64
	var called, seconds float64
	for range e.rounds {
		var late []float64
		if err := minion.ask(ctx, "late", e.patience, &late); err != nil { // those before
			return err
		}
		w, err := f.window(ctx, minion, b.window)
		if err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
		called, seconds = called+w.called, seconds+w.seconds
		if err := minion.ask(ctx, "late", e.patience, &late); err != nil {
			return err
		}
		if len(late) == 0 {
			return errors.New("the minion was not called")
		}
		p50, p99 = append(p50, quantile(late, .5)), append(p99, quantile(late, .99))
	}
	what := fmt.Sprintf("from instant to start on the minion, at %d fires/s in ten bursts a second (%.0f/s began); mutual TLS", rate, called/seconds)
	if err := e.report(fmt.Sprintf("lateness_ms_p50_at_%d_per_s", rate), "ms", p50, what); err != nil {
		return err
	}
	return e.report(fmt.Sprintf("lateness_ms_p99_at_%d_per_s", rate), "ms", p99, what)
}
