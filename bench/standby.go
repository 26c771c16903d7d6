package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
)

// twoClusters are one that fires, with a minion that knows both, and another one that is its
// standby, each of a node and an etcd.
type twoClusters struct {
	active, standby *farm
	minion          *process
}

// startTwo starts them. The jobs are stored before the standby copies them.
func startTwo(ctx context.Context, e *env, jobs *jobsOf) (_ *twoClusters, err error) {
	c := &twoClusters{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.active, err = startFarm(ctx, e, 1, busySettings()); err != nil {
		return nil, err
	}
	if c.standby, err = startFarm(ctx, e, 1, busySettings()); err != nil {
		return nil, err
	}
	if err = jobs.put(ctx, c.active.etcd.Client); err != nil {
		return nil, err
	}
	if err = c.follow(ctx, int64(jobs.count)); err != nil {
		return nil, err
	}
	c.active.beside = c.standby.servers()
	c.minion, err = c.active.startMinion(ctx, false)
	return c, err
}

func (c *twoClusters) close() {
	if c.minion != nil {
		c.minion.kill()
	}
	for _, f := range []*farm{c.active, c.standby} {
		if f != nil {
			f.close()
		}
	}
}

// asked is a cluster's answer about what it is to another one.
func asked[T any](f *farm, ask func(client.Standby) (T, error)) (out T, err error) {
	c, err := client.New(client.Config{Server: f.api(), By: "bench"})
	if err != nil {
		return out, err
	}
	defer c.Close()
	return ask(c.Standby)
}

// follow has the standby follow the active cluster, and waits until its copy has so many
// jobs and is current.
func (c *twoClusters) follow(ctx context.Context, jobs int64) error {
	var refused error // a node that has just started may not answer at once
	if err := c.standby.env.until(ctx, "the standby follows", func() (bool, error) {
		_, refused = asked(c.standby, func(s client.Standby) (api.Followed, error) {
			return s.Follow(ctx, api.FollowRequest{Order: api.Order{By: "bench"}, From: c.active.api(), Replace: true})
		})
		return refused == nil, nil
	}); err != nil {
		return errors.Join(err, refused)
	}
	return c.standby.env.until(ctx, "the standby has a copy", func() (bool, error) {
		now, err := c.state(ctx)
		return now.Role == api.RoleStandby && now.Copy != nil && now.Copy.Whole && now.Copy.Jobs == jobs && now.Copy.LagSeconds != nil, err
	})
}

// state is what the standby is.
func (c *twoClusters) state(ctx context.Context) (api.Standby, error) {
	return asked(c.standby, func(s client.Standby) (api.Standby, error) { return s.Get(ctx) })
}

// standbyLag measures how far a standby is behind an active cluster whose jobs are due in ten
// bursts a second, as it tells when it is asked again and again.
type standbyLag struct {
	rate   int
	window time.Duration
}

func (b standbyLag) measure(ctx context.Context, e *env) error {
	c, err := startTwo(ctx, e, &jobsOf{namespace: "bench", count: b.rate / 10, expr: always("@every 100ms"), command: []string{noopTask}})
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.active.window(ctx, c.minion, time.Second); err != nil { // it warms up
		return err
	}
	var p50, p99 []float64
	var called, seconds float64
	for range e.rounds {
		bounded, stop := context.WithCancel(ctx)
		looked := make(chan []float64, 1)
		go func() { looked <- c.lags(bounded) }()
		w, err := c.active.window(ctx, c.minion, b.window)
		stop()
		lags := <-looked
		if err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
		if len(lags) == 0 {
			return errors.New("the standby has not told how far it is behind")
		}
		called, seconds = called+w.called, seconds+w.seconds
		p50, p99 = append(p50, quantile(lags, .5)), append(p99, quantile(lags, .99))
	}
	what := fmt.Sprintf("how far a standby is behind, asked 50 times a second, at %d fires/s in ten bursts a second (%.0f/s began); two nodes, two etcds, one host", b.rate, called/seconds)
	if err := e.report("standby_lag_ms_p50", "ms", p50, what); err != nil {
		return err
	}
	return e.report("standby_lag_ms_p99", "ms", p99, what)
}

// lags are how far the standby was behind, in milliseconds, sorted, until ctx ends.
func (c *twoClusters) lags(ctx context.Context) []float64 {
	var out []float64
	for pause(ctx, 20*time.Millisecond) == nil {
		if now, err := c.state(ctx); err == nil && now.Copy != nil && now.Copy.LagSeconds != nil {
			out = append(out, 1000**now.Copy.LagSeconds)
		}
	}
	slices.Sort(out)
	return out
}

// promotion measures how long a standby of so many jobs takes to go on in the place of an
// active cluster whose node was killed: from the order until it owns all shards and has the
// minion. Then the other one becomes its standby, and so on.
type promotion struct{ jobs int }

func (b promotion) measure(ctx context.Context, e *env) error {
	c, err := startTwo(ctx, e, &jobsOf{namespace: "bench", count: b.jobs, expr: always("@daily"), command: []string{noopTask}})
	if err != nil {
		return err
	}
	defer c.close()
	var took []float64
	for range e.rounds {
		c.active.nodes[0].kill()
		c.active.nodes[0] = nil
		begin := time.Now()
		var refused error // one that broke off is begun again, as people are told
		if err := e.until(ctx, "the standby is promoted", func() (bool, error) {
			_, refused = asked(c.standby, func(s client.Standby) (api.Promotion, error) {
				return s.Promote(ctx, api.PromoteRequest{Order: api.Order{By: "bench"}})
			})
			return refused == nil, nil
		}); err != nil {
			return errors.Join(err, refused)
		}
		if err := e.until(ctx, "the promoted cluster owns all shards and has the minion", func() (bool, error) {
			now, err := c.state(ctx)
			if err != nil || now.Role != api.RoleAlone { // its node opens anew, and asks the minion
				return false, ctx.Err()
			}
			nodes, err := c.standby.scrapes(ctx)
			if err != nil {
				return false, ctx.Err()
			}
			return nodes[0].sum("carillon_shards_owned") == shards && nodes[0].sum("carillon_minions_connected") == 1, nil
		}); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
		c.active, c.standby = c.standby, c.active
		if err := c.standby.startNode(ctx, 0); err != nil {
			return err
		}
		if err := c.follow(ctx, int64(b.jobs)); err != nil {
			return err
		}
	}
	return e.report("standby_promote_100k_s", "s", took, fmt.Sprintf("from the order, after the active node was killed, until the standby owns all %d shards and has the minion; %d jobs", shards, b.jobs))
}
