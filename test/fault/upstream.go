package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/webhook"
	planned "github.com/carillon-cron/carillon/plan"
)

// planScenario is the name of the scenario that sends plans while nodes, minions and etcd
// servers die, and looks at what became of each task, and at what the upstream was told.
const planScenario = "plan"

const (
	planUpstream = "erp"
	// planEvery is how often a plan is sent, planTasks how many tasks it has.
	planEvery = time.Second
	planTasks = 30
)

// planResult is what a run of the scenario showed.
type planResult struct {
	options             options
	plans, tasks, calls int
	disturbances        int
	// lost are tasks that did not succeed, or whose command never ended; doubled have several
	// ends, or were accepted twice; gaps are what is missing in what the upstream was told;
	// forged are calls that were not signed.
	lost, doubled, gaps, forged, stuck []string
	dir                                string // empty when it is removed
}

func (r *planResult) good() bool {
	return r.plans > 0 && r.calls > 0 && len(r.lost)+len(r.doubled)+len(r.gaps)+len(r.forged)+len(r.stuck) == 0
}

func (r *planResult) print(w io.Writer) {
	for _, kind := range []struct {
		name string
		list []string
	}{{"lost", r.lost}, {"doubled", r.doubled}, {"gap", r.gaps}, {"forged", r.forged}, {"stuck", r.stuck}} {
		for _, what := range kind.list[:min(shown, len(kind.list))] {
			fmt.Fprintf(w, "%s: %s\n", kind.name, what)
		}
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d disturbances=%d plans=%d tasks=%d calls=%d lost=%d doubled=%d gaps=%d forged=%d stuck=%d\n",
		planScenario, r.options.seed, r.options.load, r.disturbances, r.plans, r.tasks, r.calls, len(r.lost), len(r.doubled), len(r.gaps), len(r.forged), len(r.stuck))
}

// runPlans runs the scenario. The error tells what kept it from coming to a verdict.
func runPlans(parent context.Context, o options, out io.Writer) (*planResult, error) {
	res := &planResult{options: o}
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
		if err := res.play(ctx, c); err != nil {
			return false, err
		}
		return res.good(), leave(c)
	})
	res.dir = dir
	return res, err
}

// play sends plans while the cluster is disturbed, and judges what became of them.
func (r *planResult) play(ctx context.Context, c *cluster) error {
	trace := filepath.Join(c.dir, "items")
	if err := os.WriteFile(trace, nil, 0o666); err != nil { //nolint:gosec // commands of others write there
		return fmt.Errorf("trace of items: %w", err)
	}
	if _, err := c.api.apply(ctx, queueManifest(trace)); err != nil {
		return fmt.Errorf("apply the queue: %w", err)
	}
	u, err := newUpstream()
	if err != nil {
		return err
	}
	defer func() { _ = u.server.Close() }()
	var made api.WebhookSecret
	if err := c.api.ask(ctx, http.MethodPost, "/v1/namespaces/"+queueSpace+"/upstreams/"+planUpstream+"/secret", []byte("{}"), &made); err != nil {
		return fmt.Errorf("the secret of callbacks: %w", err)
	}
	if u.secret, err = webhook.ParseSecret(made.Secret); err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan map[string]string, 1)
	go func() { sent <- r.send(sending, c, u.url) }()
	s := scenarios()[planScenario]
	if r.options.once {
		r.disturbances, err = disturbOnce(ctx, c, s.each, r.options.seed)
	} else {
		r.disturbances, err = disturb(ctx, c, s.disturb, r.options.seed, r.options.length)
	}
	stop()
	uids := <-sent
	if err != nil {
		return err
	}
	r.plans = len(uids)
	c.event("%d plans were sent", len(uids))
	var ended []api.Plan
	err = until(ctx, func() error {
		var list struct{ Plans []api.Plan }
		if err := c.api.ask(ctx, http.MethodGet, "/v1/plans?namespace="+queueSpace, nil, &list); err != nil {
			return err
		}
		ended = list.Plans
		for i := range ended {
			if p := &ended[i]; p.EndedAt.IsZero() || p.Telling {
				return fmt.Errorf("plan %s has not ended, or is not told: %v", p.ID, p.Counts)
			}
		}
		return nil
	})
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errHangs):
		r.stuck = append(r.stuck, err.Error())
		return nil
	case err != nil:
		return err
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return fmt.Errorf("trace of items: %w", err)
	}
	done, err := readItems(string(text))
	if err != nil {
		return err
	}
	r.judge(uids, ended, u, done)
	return nil
}

// send sends plans until ctx ends, each until it was answered, and once more. It returns the uids
// by the plans' ids.
func (r *planResult) send(ctx context.Context, c *cluster, callback string) map[string]string {
	rnd := rand.New(rand.NewPCG(r.options.seed, 2)) //nolint:gosec // it has to be the same again
	uids := map[string]string{}
	for n := 0; sleep(ctx, planEvery) == nil; n++ {
		doc := struct {
			planned.Header
			Tasks []planned.Task `json:"tasks"`
		}{Header: planned.Header{ID: fmt.Sprintf("plan-%d", n), Upstream: planUpstream, Callback: callback}}
		for i := range planTasks {
			t := planned.Task{ID: fmt.Sprintf("t%d", i), Type: queueName, Priority: rnd.IntN(10)}
			if i > 0 && rnd.IntN(2) == 0 {
				t.After = []string{fmt.Sprintf("t%d", rnd.IntN(i))}
			}
			doc.Tasks = append(doc.Tasks, t)
		}
		body, err := json.Marshal(doc)
		if err != nil {
			panic(err) // of texts and numbers only
		}
		for times := 0; times < 2; { // the second one is recognised
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			var receipt api.PlanReceipt
			err := c.api.ask(bounded, http.MethodPost, "/v1/namespaces/"+queueSpace+"/plans", body, &receipt)
			cancel()
			if err != nil {
				c.event("not sent yet: %v", err)
				time.Sleep(queueEvery)
				continue
			}
			if was, ok := uids[doc.ID]; ok && (was != receipt.UID || !receipt.Recognised) {
				r.doubled = append(r.doubled, fmt.Sprintf("plan %s was accepted as %s and %s", doc.ID, was, receipt.UID))
			}
			uids[doc.ID] = receipt.UID
			times++
		}
	}
	return uids
}

// judge says what is wrong with plans.
func (r *planResult) judge(uids map[string]string, ended []api.Plan, u *upstream, done []begun) {
	succeeded := map[string]bool{}
	for i := range done {
		if done[i].end != 0 {
			succeeded[done[i].item] = true
		}
	}
	if len(ended) != len(uids) {
		r.lost = append(r.lost, fmt.Sprintf("%d plans are listed, %d were sent", len(ended), len(uids)))
	}
	for i := range ended {
		p := &ended[i]
		r.tasks += p.Tasks
		if uids[p.ID] != p.UID || p.Counts[string(planned.Succeeded)] != planTasks {
			r.lost = append(r.lost, fmt.Sprintf("plan %s (%s) has %v", p.ID, p.UID, p.Counts))
		}
		for n := range planTasks {
			if !succeeded[fmt.Sprintf("%s.%d", p.UID, n)] {
				r.lost = append(r.lost, fmt.Sprintf("no command of task %d of plan %s has ended", n, p.ID))
			}
		}
		r.told(u, p)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r.calls, r.forged = u.calls, append(r.forged, u.forged...)
}

// told says what is wrong with what the upstream was told of a plan.
func (r *planResult) told(u *upstream, p *api.Plan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	states, ends := map[string]planned.State{}, 0
	next := int64(1)
	for _, call := range u.of[p.UID] {
		if call.Data.First != next {
			r.gaps = append(r.gaps, fmt.Sprintf("plan %s: change %d comes where %d is next", p.ID, call.Data.First, next))
		}
		if call.Type == "plan.ended" {
			ends++
		}
		for _, e := range call.Data.Tasks {
			was := planned.Pending
			if s, ok := states[e.Task]; ok {
				was = s
			}
			if !was.May(e.State) {
				r.doubled = append(r.doubled, fmt.Sprintf("task %s of plan %s went from %s to %s", e.Task, p.ID, was, e.State))
			}
			states[e.Task] = e.State
			next = e.Seq + 1
		}
	}
	if ends != 1 {
		r.gaps = append(r.gaps, fmt.Sprintf("plan %s: its end was told %d times", p.ID, ends))
	}
	for task, s := range states {
		if s != planned.Succeeded {
			r.gaps = append(r.gaps, fmt.Sprintf("task %s of plan %s was told to be %s", task, p.ID, s))
		}
	}
	if len(states) != planTasks {
		r.gaps = append(r.gaps, fmt.Sprintf("plan %s: %d tasks were told of", p.ID, len(states)))
	}
}

// planCall is a callback as an upstream reads it.
type planCall struct {
	Type string
	Data struct {
		UID   string
		First int64
		Tasks []struct {
			Seq   int64
			Task  string
			State planned.State
		}
	}
}

// upstream takes callbacks, and fails now and then.
type upstream struct {
	server *http.Server
	url    string
	secret webhook.Secret

	mu     sync.Mutex
	rnd    *rand.Rand
	seen   map[string]bool
	of     map[string][]planCall
	calls  int
	forged []string
}

func newUpstream() (*upstream, error) {
	u := &upstream{rnd: rand.New(rand.NewPCG(1, 3)), seen: map[string]bool{}, of: map[string][]planCall{}} //nolint:gosec // it has to be the same again
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the upstream: %w", err)
	}
	u.url = "http://" + listener.Addr().String() + "/hook"
	u.server = &http.Server{Handler: http.HandlerFunc(u.take), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = u.server.Serve(listener) }() // until it is closed
	return u, nil
}

func (u *upstream) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	var call planCall
	if err == nil {
		err = errors.Join(u.secret.Verify(webhook.Of(req.Header), body, time.Now()), json.Unmarshal(body, &call))
	}
	if err != nil {
		u.forged = append(u.forged, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	how := u.rnd.IntN(10)
	if how == 0 {
		w.WriteHeader(http.StatusServiceUnavailable) // it was not taken
		return
	}
	if id := req.Header.Get("webhook-id"); !u.seen[id] {
		u.seen[id] = true
		u.of[call.Data.UID] = append(u.of[call.Data.UID], call)
	}
	if how == 1 {
		w.WriteHeader(http.StatusBadGateway) // it was, and the answer is lost
	}
}
