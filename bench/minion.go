package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// authority signs the certificates of minions.
type authority struct{ Certificate, Key string }

// transport makes a minion's certificate, and what its connections are
// protected with.
func (a *authority) transport(id job.MinionID) (credentials.TransportCredentials, error) {
	ca, err := auth.ParseAuthority([]byte(a.Certificate), []byte(a.Key))
	if err != nil {
		return nil, err
	}
	conf, err := minionTLS(ca, id)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}

// minionSpec is what the process of a real minion is told.
type minionSpec struct {
	Dir     string
	Servers []string
	// Authority signs its certificate. Nil: it connects in plain text, which
	// nodes refuse.
	Authority *authority
}

// The minion's Go handlers: both do nothing but remember when they were called.
const (
	noopTask  = worker.HandlerPrefix + "noop"
	probeTask = worker.HandlerPrefix + "probe"
)

// shimIdle is how long the supervisors of a benchmark's minions live once these
// are gone.
const shimIdle = 5 * time.Second

// runMinion runs a minion. A line on its input asks for its calls:
//
//	count          how many calls there were
//	late           how late they began: sorted, in milliseconds; these are forgotten then
//	probes FROM TO the calls of the probe whose instants are in between, as probes
func runMinion(ctx context.Context, spec minionSpec, lines <-chan string) error {
	me, err := self()
	if err != nil {
		return err
	}
	var deps worker.Deps
	if spec.Authority != nil {
		if deps.Transport, err = spec.Authority.transport(benchMinion); err != nil {
			return err
		}
	}
	var calls calls
	deps.Handlers = map[string]worker.Handler{"noop": calls.noop, "probe": calls.probe}
	m, err := worker.New(worker.Config{
		ID: benchMinion, DataDir: spec.Dir, Servers: spec.Servers, ShimCommand: []string{me, shimRole}, ShimIdle: shimIdle,
		MaxRunning: 8192, Cgroup: worker.NoCgroup, Version: "bench",
	}, deps)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	for line := range lines {
		if err := answer(calls.answer(line)); err != nil {
			return err
		}
	}
	return <-ended
}

// benchMinion is the name of the only minion.
const benchMinion job.MinionID = "bench"

// calls are what a minion's handlers remember.
type calls struct {
	mu     sync.Mutex // guards all below
	count  int
	late   []float64
	probes map[int64]probes // by their instant
}

// probes are what came of the probes of some instants.
type probes struct {
	Count  int
	LateMs float64 // the latest
}

func (c *calls) noop(_ context.Context, call *worker.Call) error {
	ms := sinceMs(call.ScheduledAt)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.late = append(c.late, ms)
	return nil
}

func (c *calls) probe(_ context.Context, call *worker.Call) error {
	ms := sinceMs(call.ScheduledAt)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.probes == nil {
		c.probes = map[int64]probes{}
	}
	at := call.ScheduledAt.UnixMilli()
	p := c.probes[at]
	c.probes[at] = probes{Count: p.Count + 1, LateMs: max(p.LateMs, ms)}
	return nil
}

func sinceMs(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

func (c *calls) answer(line string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch question, rest, _ := strings.Cut(line, " "); question {
	case "count":
		return c.count
	case "late":
		late := c.late
		c.late = nil
		slices.Sort(late)
		return late
	case "probes":
		var from, to int64
		if _, err := fmt.Sscan(rest, &from, &to); err != nil {
			return err.Error()
		}
		sum := probes{}
		for at, p := range c.probes {
			if at >= from && at <= to {
				sum = probes{Count: sum.Count + p.Count, LateMs: max(sum.LateMs, p.LateMs)}
			}
		}
		return sum
	default:
		return "what is " + line
	}
}

// startMinion starts a farm's minion, and waits until it is connected.
func (f *farm) startMinion(ctx context.Context, plain bool) (*process, error) {
	spec := minionSpec{Dir: filepath.Join(f.dir, "minion"), Servers: append(f.servers(), f.beside...)}
	if !plain {
		a, err := f.credentials()
		if err != nil {
			return nil, err
		}
		spec.Authority = &a
	}
	p, err := start(ctx, "minion", spec)
	if err != nil {
		return nil, err
	}
	if err := f.awaitMinion(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// awaitMinion waits until the minion is connected.
func (f *farm) awaitMinion(ctx context.Context) error {
	e := *f.env
	e.patience = cmp.Or(e.connects, e.patience)
	return e.until(ctx, "the minion is connected", func() (bool, error) {
		nodes, err := f.scrapes(ctx)
		n := 0.0
		for _, m := range nodes {
			n += m.sum("carillon_minions_connected")
		}
		return n == 1, err
	})
}
