package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// Scenario standby: two clusters, each with an etcd and three nodes of its own, of which one
// is active and the other its standby. The minions have the addresses of both. In turns the
// standby takes over by a planned switch, after the active cluster was killed, and after that
// was killed together with a minion, whose disk is lost. Then the former active one is there
// again, has to know that it was overtaken, and becomes the standby. Jobs are due every
// second throughout.
//
// doubled, missing and unaccounted are as in scenario restore. An occurrence whose end nobody
// knows is recorded as indeterminate, which is counted: that is unaccounted where no minion
// with its disk was lost. unnoticed are clusters that came back and did not know.
const (
	standbyScenario = "standby"
	// waitForMinions is how long a promoted cluster waits for minions that are lost.
	waitForMinions = 5 * time.Second
	// lagEvery is how often it is looked how far the standby is behind.
	lagEvery = 100 * time.Millisecond
)

// pair is a run of the scenario; restoring.c is the active cluster.
type pair struct {
	*restoring
	standby *cluster
	// lost are minions whose disks were lost.
	lost map[job.MinionID]bool
	// switches and takeovers are how long it took from the order until all shards had owners
	// and all minions were connected.
	switches, takeovers, lags []time.Duration
	// given are definitions that were lost with an active cluster.
	given int
}

// runStandby runs the scenario. The error tells what kept it from coming to a verdict.
func runStandby(parent context.Context, o options, out io.Writer) (*restoreResult, error) {
	res := &restoreResult{options: o, states: map[job.State]int{}}
	dir, err := withCluster(parent, o, out, func(ctx context.Context, cancel context.CancelCauseFunc, east *cluster) (bool, error) {
		west, err := secondCluster(east, o, func(err error) { cancel(err) })
		if err != nil {
			return false, err
		}
		defer west.close()
		p := &pair{restoring: newRestoring(res, east), standby: west, lost: map[job.MinionID]bool{}}
		if err := p.begin(ctx); err != nil {
			return false, err
		}
		kinds := []struct {
			name string
			play func(context.Context) error
		}{{"switch", p.planned}, {"death", func(ctx context.Context) error { return p.died(ctx, nil) }}, {"minion-death", p.diedWithMinion}}
		for end := time.Now().Add(o.length); len(p.rounds) < len(kinds) || time.Now().Before(end); {
			kind := kinds[len(p.rounds)%len(kinds)]
			if err := kind.play(ctx); err != nil {
				return false, fmt.Errorf("round %d, %s: %w", len(p.rounds)+1, kind.name, err)
			}
			p.rounds = append(p.rounds, kind.name)
		}
		if err := p.judge(ctx); err != nil {
			return false, err
		}
		if err := p.judgeUnknown(ctx); err != nil {
			return false, err
		}
		p.tell()
		return res.good(), nil
	})
	res.dir = dir
	return res, err
}

// secondCluster lays out another cluster beside one, which shares its minions.
func secondCluster(first *cluster, o options, died func(error)) (*cluster, error) {
	dir := filepath.Join(first.dir, "west")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	second, err := newCluster(dir, first.bin, scenarios()[standbyScenario], int((o.length+hangLimit)/time.Second), first.network, died, first.out)
	if err != nil {
		return nil, err
	}
	second.begun, second.workers = first.begun, nil
	for i, p := range second.schedulers {
		p.name = fmt.Sprintf("t%d", i+1)
		p.args[slices.Index(p.args, "--node")+1] = p.name
	}
	servers := slices.Concat(first.peers[:schedulerCount], second.peers[:schedulerCount])
	for _, w := range first.workers {
		w.args[slices.Index(w.args, "--servers")+1] = strings.Join(servers, ",")
	}
	for _, c := range []*cluster{first, second} {
		c.api.nodes = c.api.nodes[:schedulerCount]
	}
	return second, nil
}

// begin starts both clusters, has one follow the other, and jobs fire.
func (p *pair) begin(ctx context.Context) error {
	minions := p.c.workers
	p.c.workers = nil // until the other one is a standby both would take them
	for _, c := range []*cluster{p.standby, p.c} {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	if err := p.follow(ctx); err != nil {
		return err
	}
	p.c.workers, p.standby.workers = minions, minions
	for _, w := range minions {
		if err := w.start(); err != nil {
			return err
		}
	}
	if err := until(ctx, func() error { return p.c.whole(ctx) }); err != nil {
		return err
	}
	p.c.event("both clusters are ready")
	return p.apply(ctx, "steady", p.options.jobs, true)
}

// askCluster asks a cluster, by one node after another until one answers.
func askCluster[T any](ctx context.Context, c *cluster, ask func(context.Context, client.Standby) (T, error)) (out T, err error) {
	var errs []error
	for _, node := range c.api.nodes {
		one, err := client.New(client.Config{Server: node, By: "fault"})
		if err != nil {
			return out, err
		}
		out, err = ask(ctx, one.Standby)
		one.Close()
		if err == nil {
			return out, nil
		}
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// state is what a cluster is to the other one.
func state(ctx context.Context, c *cluster) (api.Standby, error) {
	return askCluster(ctx, c, func(ctx context.Context, s client.Standby) (api.Standby, error) { return s.Get(ctx) })
}

// follow has the standby follow the active cluster, and waits until it has a copy.
func (p *pair) follow(ctx context.Context) error {
	if err := until(ctx, func() error {
		_, err := askCluster(ctx, p.standby, func(ctx context.Context, s client.Standby) (api.Followed, error) {
			return s.Follow(ctx, api.FollowRequest{Order: api.Order{By: "fault"}, From: strings.Join(p.c.api.nodes, ","), Replace: true})
		})
		return err
	}); err != nil {
		return err
	}
	return until(ctx, func() error {
		s, err := state(ctx, p.standby)
		switch {
		case err != nil:
			return err
		case s.Role != api.RoleStandby || s.Copy == nil || !s.Copy.Whole || s.Copy.LagSeconds == nil || *s.Copy.LagSeconds > 5:
			return fmt.Errorf("the standby has no copy yet: %+v", s)
		}
		return nil
	})
}

// look lets jobs fire for a while, and looks how far the standby is behind.
func (p *pair) look(ctx context.Context) error {
	bounded, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() {
		for sleep(bounded, lagEvery) == nil {
			if s, err := state(bounded, p.standby); err == nil && s.Copy != nil && s.Copy.LagSeconds != nil {
				p.lags = append(p.lags, time.Duration(*s.Copy.LagSeconds*float64(time.Second)))
			}
		}
	})
	return p.fire(ctx)
}

// edit makes a job that is new, and returns its name.
func (p *pair) edit(ctx context.Context) (string, error) {
	name := fmt.Sprintf("late%d-", len(p.rounds))
	return name + "000", p.apply(ctx, name, 1, false)
}

// has counts the jobs of a name that the active cluster has.
func (p *pair) has(ctx context.Context, name string) (n int, err error) {
	jobs, err := p.c.api.jobs(ctx)
	for i := range jobs {
		if jobs[i].Name == name {
			n++
		}
	}
	return n, err
}

// planned is a planned switch: nothing is lost.
func (p *pair) planned(ctx context.Context) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	name, err := p.edit(ctx)
	if err != nil {
		return err
	}
	p.c.event("a planned switch")
	took, err := p.promote(ctx, api.PromoteRequest{Planned: true})
	if err != nil {
		return err
	}
	p.switches = append(p.switches, took)
	if n, err := p.has(ctx, name); err != nil {
		return err
	} else if n == 0 {
		p.missing = append(p.missing, fmt.Sprintf("round %d: the job %s was made before a planned switch", len(p.rounds)+1, name))
	}
	return p.again(ctx)
}

// died kills the active cluster. lose, unless it is nil, loses more.
func (p *pair) died(ctx context.Context, lose func() error) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	name, err := p.edit(ctx)
	if err != nil {
		return err
	}
	old := p.c
	nodes := old.running()
	p.c.event("the active cluster dies")
	if err := killAll(slices.Concat(nodes, old.etcds)); err != nil {
		return err
	}
	if lose != nil {
		if err := lose(); err != nil {
			return err
		}
	}
	req := api.PromoteRequest{}
	if lose != nil {
		req.AcceptAfter = waitForMinions
	}
	took, err := p.promote(ctx, req)
	if err != nil {
		return err
	}
	p.takeovers = append(p.takeovers, took)
	n, err := p.has(ctx, name)
	if err != nil {
		return err
	}
	p.given += 1 - n
	for _, e := range old.etcds {
		if err := e.start(); err != nil {
			return err
		}
	}
	if err := old.etcdAnswers(ctx); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	old.event("the dead cluster is back")
	return p.again(ctx)
}

// diedWithMinion is died, and a minion and its disk are lost as well. A new one takes its
// place at once.
func (p *pair) diedWithMinion(ctx context.Context) error {
	w := p.c.workers[p.rnd.IntN(len(p.c.workers))]
	return p.died(ctx, func() error {
		p.c.event("%s and its disk are lost", w.name)
		p.lost[job.MinionID(w.name)] = true
		return p.downMinion(w, func() error { return removeData(filepath.Join(filepath.Dir(w.log), w.name)) })
	})
}

// promote has the standby take over, and returns how long that took. It is the active
// cluster from then on.
func (p *pair) promote(ctx context.Context, req api.PromoteRequest) (time.Duration, error) {
	began := time.Now()
	req.Order = api.Order{By: "fault"}
	if err := until(ctx, func() error {
		_, err := askCluster(ctx, p.standby, func(ctx context.Context, s client.Standby) (api.Promotion, error) { return s.Promote(ctx, req) })
		if now, asked := state(ctx, p.standby); err != nil && asked == nil && now.Role != api.RoleStandby {
			return nil // it had begun
		}
		return err
	}); err != nil {
		return 0, err
	}
	p.c, p.standby = p.standby, p.c
	if err := until(ctx, func() error { return p.c.whole(ctx) }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	p.c.event("the standby has taken over, in %v", took.Round(time.Millisecond))
	return took, nil
}

// again waits until the former active cluster knows that it is overtaken, and has it follow.
func (p *pair) again(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := until(bounded, func() error {
		s, err := state(bounded, p.standby)
		if err == nil && s.Role != api.RoleOvertaken {
			err = fmt.Errorf("it is %q", s.Role)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		p.unnoticed = append(p.unnoticed, fmt.Sprintf("round %d: the former active cluster does not know that it was overtaken: %v", len(p.rounds)+1, err))
	}
	return p.follow(ctx)
}

// judgeUnknown looks at the occurrences whose ends nobody knows.
func (p *pair) judgeUnknown(ctx context.Context) error {
	runs, err := p.c.api.runs(ctx)
	if err != nil {
		return err
	}
	p.unaccounted = append(p.unaccounted, unexplained(runs, p.lost)...)
	return nil
}

// unexplained names runs of which nobody knows how they ended, though no minion was lost
// that may have run them.
func unexplained(runs []job.Run, lost map[job.MinionID]bool) []string {
	var out []string
	for i := range runs {
		r := &runs[i]
		if r.State != job.StateIndeterminate || len(lost) > 0 && !slices.ContainsFunc(r.Tasks, func(t job.Task) bool { return !lost[t.Minion] }) {
			continue
		}
		out = append(out, fmt.Sprintf("%s is indeterminate, and no minion that may have run it was lost: %s", r.FireID, r.Reason))
	}
	return out
}

// tell adds the figures of the run.
func (p *pair) tell() {
	for _, of := range [][]time.Duration{p.switches, p.takeovers, p.lags} {
		slices.Sort(of)
	}
	ms := func(of []time.Duration, q float64) int64 { return quantile(of, q).Milliseconds() }
	p.figures = fmt.Sprintf(" definitions_lost=%d lag_ms_p50=%d lag_ms_p99=%d lag_ms_max=%d switch_ms_max=%d takeover_ms_max=%d",
		p.given, ms(p.lags, 0.5), ms(p.lags, 0.99), ms(p.lags, 1), ms(p.switches, 1), ms(p.takeovers, 1))
}
