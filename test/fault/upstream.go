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

// sentPlan is a plan as it was sent: by whose uid it was accepted, and which task each of some
// tasks waits for.
type sentPlan struct {
	uid   string
	tasks int
	after map[int]int
}

// planResult is what a run of the scenario showed.
type planResult struct {
	options             options
	plans, tasks, calls int
	disturbances        int
	// lost are tasks that did not succeed, or whose command never ended; doubled have several
	// ends, or were accepted twice; early have begun before those that they wait for had ended; gaps are what is missing in what the upstream was told;
	// forged are calls that were not signed.
	lost, doubled, early, gaps, forged, stuck []string
	dir                                       string // empty when it is removed

	// Of a large plan: how long it took, what was measured, and what of that has grown.
	accepting, doing time.Duration
	gauges           gauges
	grew             []string
}

func (r *planResult) good() bool {
	return r.plans > 0 && r.calls > 0 && len(r.lost)+len(r.doubled)+len(r.early)+len(r.gaps)+len(r.forged)+len(r.stuck)+len(r.grew) == 0
}

func (r *planResult) print(w io.Writer) {
	for _, kind := range []struct {
		name string
		list []string
	}{{"lost", r.lost}, {"doubled", r.doubled}, {"early", r.early}, {"gap", r.gaps}, {"forged", r.forged}, {"stuck", r.stuck}, {"grew", r.grew}} {
		for _, what := range kind.list[:min(shown, len(kind.list))] {
			fmt.Fprintf(w, "%s: %s\n", kind.name, what)
		}
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	r.printLarge(w)
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d disturbances=%d plans=%d tasks=%d calls=%d lost=%d doubled=%d early=%d gaps=%d forged=%d stuck=%d\n",
		r.options.scenario, r.options.seed, r.options.load, r.disturbances, r.plans, r.tasks, r.calls, len(r.lost), len(r.doubled), len(r.early), len(r.gaps), len(r.forged), len(r.stuck))
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
	large := r.options.scenario == planLargeScenario
	manifest := queueManifest(trace)
	if large {
		manifest = largeManifest(trace)
	}
	if _, err := c.api.apply(ctx, manifest); err != nil {
		return fmt.Errorf("apply the queues: %w", err)
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
	if large {
		return r.playLarge(ctx, c, u, trace)
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan map[string]*sentPlan, 1)
	go func() { sent <- r.send(sending, c, u.url) }()
	s := scenarios()[r.options.scenario]
	if r.options.once {
		r.disturbances, err = disturbOnce(ctx, c, s.each, r.options.seed)
	} else {
		r.disturbances, err = disturb(ctx, c, s.disturb, r.options.seed, r.options.length)
	}
	stop()
	plans := <-sent
	if err != nil {
		return err
	}
	c.event("%d plans were sent", len(plans))
	return r.finish(ctx, c, u, trace, plans)
}

// finish waits until plans have ended, and judges what became of them.
func (r *planResult) finish(ctx context.Context, c *cluster, u *upstream, trace string, plans map[string]*sentPlan) error {
	r.plans = len(plans)
	var ended []api.Plan
	err := until(ctx, func() error {
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
	r.judge(plans, ended, u, done)
	return nil
}

// send sends plans until ctx ends, each until it was answered, and once more. It returns them by
// their ids.
func (r *planResult) send(ctx context.Context, c *cluster, callback string) map[string]*sentPlan {
	rnd := rand.New(rand.NewPCG(r.options.seed, 2)) //nolint:gosec // it has to be the same again
	plans := map[string]*sentPlan{}
	for n := 0; sleep(ctx, planEvery) == nil; n++ {
		doc := planDocument{Header: planned.Header{ID: fmt.Sprintf("plan-%d", n), Upstream: planUpstream, Callback: callback}}
		p := &sentPlan{tasks: planTasks, after: map[int]int{}}
		for i := range planTasks {
			t := planned.Task{ID: fmt.Sprintf("t%d", i), Type: queueName, Priority: rnd.IntN(10)}
			if i > 0 && rnd.IntN(2) == 0 {
				p.after[i] = rnd.IntN(i)
				t.After = []string{fmt.Sprintf("t%d", p.after[i])}
			}
			doc.Tasks = append(doc.Tasks, t)
		}
		plans[doc.ID] = p
		r.sendTwice(ctx, c, &doc, p)
	}
	return plans
}

// planDocument is a plan as it is sent.
type planDocument struct {
	planned.Header
	Tasks []planned.Task `json:"tasks"`
}

// sendTwice sends a plan until it was answered, and once more: then it is recognised.
func (r *planResult) sendTwice(ctx context.Context, c *cluster, doc *planDocument, p *sentPlan) {
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err) // of texts and numbers only
	}
	for times := 0; times < 2; {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		var receipt api.PlanReceipt
		err := c.api.ask(bounded, http.MethodPost, "/v1/namespaces/"+queueSpace+"/plans", body, &receipt)
		cancel()
		if err != nil {
			c.event("not sent yet: %v", err)
			time.Sleep(queueEvery)
			continue
		}
		if p.uid != "" && (p.uid != receipt.UID || !receipt.Recognised) {
			r.doubled = append(r.doubled, fmt.Sprintf("plan %s was accepted as %s and %s", doc.ID, p.uid, receipt.UID))
		}
		p.uid = receipt.UID
		times++
	}
}

// judge says what is wrong with plans.
func (r *planResult) judge(plans map[string]*sentPlan, ended []api.Plan, u *upstream, done []begun) {
	// Of each item when it was begun first, and when the first attempt ended.
	first, last := map[string]int64{}, map[string]int64{}
	for i := range done {
		b := &done[i]
		if at, ok := first[b.item]; !ok || b.start < at {
			first[b.item] = b.start
		}
		if at := last[b.item]; b.end != 0 && (at == 0 || b.end < at) {
			last[b.item] = b.end
		}
	}
	if len(ended) != len(plans) {
		r.lost = append(r.lost, fmt.Sprintf("%d plans are listed, %d were sent", len(ended), len(plans)))
	}
	for i := range ended {
		p := &ended[i]
		sent := plans[p.ID]
		if sent == nil || sent.uid != p.UID {
			r.doubled = append(r.doubled, fmt.Sprintf("plan %s is listed as %s, which was not sent", p.ID, p.UID))
			continue
		}
		r.tasks += p.Tasks
		if p.Counts[string(planned.Succeeded)] != sent.tasks {
			r.lost = append(r.lost, fmt.Sprintf("plan %s (%s) has %v", p.ID, p.UID, p.Counts))
		}
		item := func(n int) string { return fmt.Sprintf("%s.%d", p.UID, n) }
		for n := range sent.tasks {
			if last[item(n)] == 0 {
				r.lost = append(r.lost, fmt.Sprintf("no command of task %d of plan %s has ended", n, p.ID))
			}
		}
		for n, before := range sent.after {
			if at, ok := first[item(n)]; ok && at < last[item(before)] {
				r.early = append(r.early, fmt.Sprintf("task %d of plan %s had begun before task %d had ended", n, p.ID, before))
			}
		}
		r.told(u, p, sent.tasks)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r.calls, r.forged = u.calls, append(r.forged, u.forged...)
}

// told says what is wrong with what the upstream was told of a plan.
func (r *planResult) told(u *upstream, p *api.Plan, tasks int) {
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
	if len(states) != tasks {
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
