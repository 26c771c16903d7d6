package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// herd measures how long jobs that are due in the same second take to be
// committed and dispatched, and how late others are meanwhile. The others are
// due ten times a second; the herd once in so many seconds.
type herd struct {
	jobs, others, every int
}

// The namespaces of the herd and of the others.
const (
	herdName   = "herd"
	othersName = "others"
)

func (b herd) measure(ctx context.Context, e *env) error {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return err
	}
	defer store.close()
	together := jobsOf{namespace: herdName, count: b.jobs, expr: always(fmt.Sprintf("@every %ds", b.every)), command: []string{"true"}, misfire: job.MisfireSkip}
	if err := together.put(ctx, store.Client); err != nil {
		return err
	}
	steady := jobsOf{namespace: othersName, count: b.others, expr: always("@every 100ms"), command: []string{"true"}, misfire: job.MisfireSkip}
	if err := steady.put(ctx, store.Client); err != nil {
		return err
	}
	var watch herdWatch
	n, stop, err := startEngine(ctx, store.Client, time.Hour, watch.orders)
	if err != nil {
		return err
	}
	// The engine ends before its etcd does, and nothing is held meanwhile.
	defer func() { _ = stop() }()
	if err := e.until(ctx, "all jobs are loaded", func() (bool, error) {
		return n.engine.Load().Jobs() == b.jobs+b.others, nil
	}); err != nil {
		return err
	}
	every := time.Duration(b.every) * time.Second
	at := time.Now().Add(time.Second).Truncate(every)
	var drained, p99 []float64
	for range e.rounds {
		at = at.Add(every)
		if err := e.until(ctx, "the herd and others are sent", func() (bool, error) {
			sent, others := watch.round(at)
			return sent.count >= b.jobs && len(others) > 0, nil
		}); err != nil {
			return err
		}
		sent, others := watch.round(at)
		if sent.count != b.jobs {
			return fmt.Errorf("%d of a herd of %d were sent", sent.count, b.jobs)
		}
		drained = append(drained, sent.last.Sub(at).Seconds())
		slices.Sort(others)
		p99 = append(p99, quantile(others, .99))
	}
	name := "herd_" + thousands(b.jobs)
	if err := e.report(name+"_drain_s", "s", drained, fmt.Sprintf("from their second to the last order of %d jobs that are due in the same one", b.jobs)); err != nil {
		return err
	}
	return e.report(name+"_others_late_ms_p99", "ms", p99, fmt.Sprintf("of %d jobs that are due ten times a second meanwhile", b.others))
}

// herdWatch remembers what was sent.
type herdWatch struct {
	mu     sync.Mutex         // guards all below
	herds  map[int64]herdSent // by their instant
	others []otherSent
}

// herdSent is what became of one herd.
type herdSent struct {
	count int
	last  time.Time
}

// otherSent is an order of one of the others.
type otherSent struct {
	due  time.Time
	late time.Duration
}

// orders is called by the engine.
func (w *herdWatch) orders(orders []job.Order) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.herds == nil {
		w.herds = map[int64]herdSent{}
	}
	for i := range orders {
		o := &orders[i]
		if o.Key.Namespace == herdName {
			at := o.ScheduledAt.UnixNano()
			w.herds[at] = herdSent{count: w.herds[at].count + 1, last: now}
			continue
		}
		w.others = append(w.others, otherSent{due: o.ScheduledAt, late: now.Sub(o.ScheduledAt)})
	}
}

// round returns what became of the herd of an instant, and how late the others
// were, in milliseconds, while it drained.
func (w *herdWatch) round(at time.Time) (herdSent, []float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.herds[at.UnixNano()]
	var late []float64
	for _, o := range w.others {
		if !o.due.Before(at) && !o.due.After(sent.last) {
			late = append(late, float64(o.late.Microseconds())/1000)
		}
	}
	return sent, late
}
