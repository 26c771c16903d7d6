package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// dispatchScenario is the name of the scenario whose parts are below.
const dispatchScenario = "dispatch"

// part is something that happens to nodes, minions or hosts while orders are on
// their way.
type part struct {
	name string
	run  func(ctx context.Context, s *stage) error
}

// parts lists the parts in the order in which they are run.
func parts() []part {
	return []part{
		{"scheduler-kill", killOwners},
		{"minion-kill", killMinions},
		{"reboot", rebootHosts},
		{"partition", cutHosts},
		{"two-owners", pauseOwners},
		{"cancel", overtake},
		{"cloned-id", cloneMinion},
		{"revoked", revokeMinion},
		{"gone", leaveForGood},
		{"shim-kill", killShims},
		{"etcd-outage", outlastEtcd},
		{"stalled", stallMinion},
		{"escape", escape},
		{"output", flood},
		{"disk-full", fillDisks}, // leaves minions that get no orders for a while
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// outcome is what a part came to.
type outcome struct {
	judged

	part string
	took time.Duration
	// notes are figures and remarks that decide nothing.
	notes []string
}

// dispatchResult is what a run of the scenario showed.
type dispatchResult struct {
	options  options
	outcomes []outcome
	dir      string // empty when it is removed
}

func (r *dispatchResult) good() bool {
	for i := range r.outcomes {
		if !r.outcomes[i].good() {
			return false
		}
	}
	return len(r.outcomes) > 0
}

// print writes a line for each part, and the total as the last line.
func (r *dispatchResult) print(w io.Writer) {
	tasks, counts := 0, map[string]int{}
	for i := range r.outcomes {
		o := &r.outcomes[i]
		for _, kind := range o.figures() {
			for _, what := range kind.list[:min(shown, len(kind.list))] {
				fmt.Fprintf(w, "%s: %s: %s\n", o.part, kind.name, what)
			}
		}
		for _, n := range o.notes {
			fmt.Fprintf(w, "%s: %s\n", o.part, n)
		}
		fmt.Fprintf(w, "part=%s seconds=%.1f tasks=%d", o.part, o.took.Seconds(), o.tasks)
		for _, kind := range o.figures() {
			fmt.Fprintf(w, " %s=%d", kind.name, len(kind.list))
			counts[kind.name] += len(kind.list)
		}
		for _, s := range slices.Sorted(maps.Keys(o.states)) {
			fmt.Fprintf(w, " %s=%d", s, o.states[s])
		}
		fmt.Fprintln(w)
		tasks += o.tasks
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d parts=%d tasks=%d", dispatchScenario, r.options.seed, r.options.load, len(r.outcomes), tasks)
	for _, kind := range (&judged{}).figures() {
		fmt.Fprintf(w, " %s=%d", kind.name, counts[kind.name])
	}
	fmt.Fprintln(w)
}

// runDispatch runs the parts that the options select. The error tells what kept
// it from coming to a verdict.
func runDispatch(parent context.Context, o options, out io.Writer) (*dispatchResult, error) {
	res := &dispatchResult{options: o}
	dir, err := withCluster(parent, o, out, func(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) (bool, error) {
		c.api.nodes = c.api.nodes[:schedulerCount]
		if err := c.start(ctx); err != nil {
			return false, err
		}
		stop, err := c.watchTakeovers(ctx, cancel)
		if err != nil {
			return false, err
		}
		defer stop()
		c.event("the cluster is ready")
		for _, p := range parts() {
			if len(o.parts) > 0 && !slices.Contains(o.parts, p.name) {
				continue
			}
			outcome, err := p.play(ctx, c, o)
			if err != nil {
				return false, fmt.Errorf("part %s: %w", p.name, err)
			}
			res.outcomes = append(res.outcomes, outcome)
			if len(outcome.stuck) > 0 {
				return false, nil // it has waited for as long as it may
			}
		}
		return res.good(), leave(c)
	})
	res.dir = dir
	return res, err
}

// play runs a part on a cluster that is well, and judges what became of it.
func (p part) play(ctx context.Context, c *cluster, o options) (outcome, error) {
	begun := time.Now()
	s := &stage{
		c: c, name: p.name, marks: filepath.Join(c.dir, "marks-"+p.name), length: o.length,
		rnd: rand.New(rand.NewPCG(o.seed, uint64(len(p.name)))),
	}
	if err := os.Mkdir(s.marks, 0o777); err != nil { // commands of others write there
		return outcome{}, fmt.Errorf("marks: %w", err)
	}
	c.event("part %s", p.name)
	if err := s.well(ctx); err != nil {
		return outcome{}, fmt.Errorf("before: %w", err)
	}
	if err := p.run(ctx, s); err != nil {
		return outcome{}, err
	}
	c.event("part %s: the disturbances are over", p.name)
	f, err := s.settle(ctx)
	var stuck []string
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errHangs):
		stuck = append(stuck, err.Error())
	case err != nil:
		return outcome{}, err
	}
	out := outcome{part: p.name, judged: judgeFanouts(f)}
	out.stuck = stuck
	for _, check := range s.checks {
		out.untrue = append(out.untrue, check(f)...)
	}
	out.untrue = append(out.untrue, s.wrong...)
	if out.tasks == 0 {
		out.lost = append(out.lost, "nothing was ordered")
	}
	out.notes, out.took = s.notes, time.Since(begun)
	return out, nil
}

// stage is where a part is played.
type stage struct {
	c      *cluster
	name   string // of the part, and of the namespace of its runs
	marks  string // directory
	rnd    *rand.Rand
	length time.Duration // how long a part that repeats itself goes on

	orders []order
	notes  []string
	// wrong is what the part itself saw that must not be; checks look at the end
	// for more, and return it.
	wrong  []string
	checks []func(fanouts) []string
}

// note adds a remark to the result.
func (s *stage) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// mustNot adds something that is wrong to the result.
func (s *stage) mustNot(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// well waits until the cluster lacks nothing and every minion gets orders.
func (s *stage) well(ctx context.Context) error {
	return until(ctx, func() error {
		if err := s.c.whole(ctx); err != nil {
			return err
		}
		for _, node := range s.c.api.nodes { // what one node knows another may not know yet
			one := &apiClient{nodes: []string{node}, http: s.c.api.http}
			minions, err := one.minions(ctx)
			if err != nil {
				return err
			}
			for _, m := range minions {
				if inCrowd(m.ID) {
					continue
				}
				if m.Trouble != "" || m.State != "connected" {
					return fmt.Errorf("minion %s is %s: %s", m.ID, m.State, m.Trouble)
				}
			}
		}
		return nil
	})
}

// settle waits until no run of the part is open, and gathers the evidence.
func (s *stage) settle(ctx context.Context) (fanouts, error) {
	f := fanouts{orders: s.orders}
	err := until(ctx, func() error {
		var err error
		if f.runs, err = s.c.api.runsIn(ctx, s.name); err != nil {
			return err
		}
		known := map[job.RunID]bool{}
		for i := range f.runs {
			if r := &f.runs[i]; !r.State.Final() {
				return fmt.Errorf("run %s is %s", r.RunID, r.State)
			}
			known[f.runs[i].RunID] = true
		}
		for _, o := range f.orders {
			if !known[o.run] {
				return fmt.Errorf("run %s has no record yet", o.run)
			}
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	f.marks, err = readMarks(s.marks)
	return f, err
}

// check adds something to be looked at when all runs have ended: it wants a task
// of the run on the minion, and returns what is wrong about it, or nothing.
func (s *stage) check(id job.RunID, m job.MinionID, want func(*job.Run, *job.Task) string) {
	s.checks = append(s.checks, func(f fanouts) []string {
		for i := range f.runs {
			r := &f.runs[i]
			for k := range r.Tasks {
				if t := &r.Tasks[k]; r.RunID == id && t.Minion == m {
					if what := want(r, t); what != "" {
						return []string{fmt.Sprintf("run %s on %s: %s; it is %s: %s", id, m, what, t.State, t.Reason)}
					}
					return nil
				}
			}
		}
		return nil // it is lost, and that is found already
	})
}

// succeeds wants tasks to succeed.
func (s *stage) succeeds(g *granted, on ...*host) { s.ends(g, on, job.StateSucceeded) }

// ends wants tasks to end in one of the states.
func (s *stage) ends(g *granted, on []*host, states ...job.State) {
	for _, h := range on {
		s.check(g.run, h.id, func(_ *job.Run, t *job.Task) string {
			if !slices.Contains(states, t.State) {
				return fmt.Sprintf("it should be %v", states)
			}
			return ""
		})
	}
}

// countMarks returns how many marks the part has.
func (s *stage) countMarks() (int, error) {
	marks, err := readMarks(s.marks)
	n := 0
	for _, k := range marks {
		n += k
	}
	return n, err
}

// marked waits until the part has n marks.
func (s *stage) marked(ctx context.Context, n int) error {
	return until(ctx, func() error {
		switch have, err := s.countMarks(); {
		case err != nil:
			return err
		case have < n:
			return fmt.Errorf("%d marks, want %d", have, n)
		}
		return nil
	})
}

// everyHost is a target expression for all hosts.
const everyHost = "h*"

// on returns a target expression for the hosts; none stand for all.
func on(hosts ...*host) string {
	if len(hosts) == 0 {
		return everyHost
	}
	var names []string
	for _, h := range hosts {
		names = append(names, string(h.id))
	}
	return strings.Join(names, " or ")
}
