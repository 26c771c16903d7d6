package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
	planned "github.com/carillon-cron/carillon/plan"
)

// planLargeScenario is the name of the scenario in which one plan has many tasks, of several
// types, and everything is killed in turn until it has ended. Memory has to stay flat.
const planLargeScenario = "plan-large"

const (
	largeTypes, largeWorkers = 4, 8
	// largeEvery is the pause between kills.
	largeEvery = 15 * time.Second
)

// largeFaults are everything, in turn.
func largeFaults() []fault {
	return []fault{killScheduler, loseWorker, restartEtcd, killWorker, drainScheduler}
}

func largeQueue(i int) string { return fmt.Sprint(queueName, "-", i) }

// largeQueues is what a worker works on.
func largeQueues() string {
	var all []string
	for i := range largeTypes {
		all = append(all, fmt.Sprintf("%s/%s:1", queueSpace, largeQueue(i)))
	}
	return strings.Join(all, ",")
}

// largeManifest describes the queues. Their command writes down when it begins and ends.
func largeManifest(trace string) []byte {
	var out []byte
	for i := range largeTypes {
		doc := map[string]any{
			"apiVersion": job.APIVersion, "kind": job.KindQueue, "metadata": map[string]any{"namespace": queueSpace, "name": largeQueue(i)},
			"spec": map[string]any{
				"script":    fmt.Sprintf("for at in begin end; do echo \"$at $CARILLON_ITEM $CARILLON_ATTEMPT $CARILLON_ITEM_TOKEN $(date +%%s%%N)\" >> %s; done\n", trace),
				"lostAfter": job.MinLostAfter.String(), "timeout": "1m", "retry": map[string]any{"attempts": job.MaxAttempts, "backoff": "100ms", "maxBackoff": "1s"},
			},
		}
		b, err := json.Marshal(doc)
		if err != nil {
			panic(err) // of texts only
		}
		out = append(append(out, b...), "\n---\n"...)
	}
	return out
}

// playLarge sends the plan, and kills until it has ended.
func (r *planResult) playLarge(ctx context.Context, c *cluster, u *upstream, trace string) error {
	rnd := rand.New(rand.NewPCG(r.options.seed, 2)) //nolint:gosec // it has to be the same again
	doc := planDocument{Header: planned.Header{ID: "large", Upstream: planUpstream, Callback: u.url}}
	p := &sentPlan{tasks: r.options.tasks, after: map[int]int{}}
	for i := range p.tasks {
		t := planned.Task{ID: fmt.Sprintf("t%d", i), Type: largeQueue(i % largeTypes), Priority: rnd.IntN(10)}
		if i > 0 && rnd.IntN(2) == 0 {
			p.after[i] = rnd.IntN(i)
			t.After = []string{fmt.Sprintf("t%d", p.after[i])}
		}
		doc.Tasks = append(doc.Tasks, t)
	}
	begun := time.Now()
	r.sendTwice(ctx, c, &doc, p)
	r.accepting = time.Since(begun)
	c.event("the plan was accepted twice after %v", r.accepting)

	measuring, stop := context.WithCancel(ctx)
	defer stop()
	soak := &soaker{gauges: gauges{}}
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		for sleep(measuring, soakEvery) == nil {
			soak.measure(measuring, c)
		}
	}()
	each := largeFaults()
	for ended := false; !ended; {
		if err := each[r.disturbances%len(each)](ctx, c, rnd); err != nil {
			return err
		}
		r.disturbances++
		until := time.Now().Add(largeEvery)
		for !ended && time.Now().Before(until) {
			if err := sleep(ctx, time.Second); err != nil {
				r.stuck = append(r.stuck, fmt.Sprintf("the plan has not ended: %v", context.Cause(ctx)))
				return nil
			}
			var v api.Plan
			if err := c.api.ask(ctx, "GET", "/v1/namespaces/"+queueSpace+"/plans/"+planUpstream+"/large", nil, &v); err != nil {
				c.event("not known now: %v", err)
				continue
			}
			c.event("%v", v.Counts)
			ended = !v.EndedAt.IsZero()
		}
	}
	r.doing = time.Since(begun) - r.accepting
	stop()
	<-measured
	r.gauges = soak.gauges
	delete(r.gauges, "etcd_in_use_mb") // what has ended is kept
	r.grew = r.gauges.growing()
	return r.finish(ctx, c, u, trace, map[string]*sentPlan{doc.ID: p})
}

// printLarge tells what a large plan cost.
func (r *planResult) printLarge(w io.Writer) {
	if r.options.scenario != planLargeScenario {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.gauges)) {
		fmt.Fprintf(w, "%s: %.1f\n", name, r.gauges[name])
	}
	fmt.Fprintf(w, "%d tasks of %d types on %d workers: accepted and recognised in %.1f s, done in %.1f s, %.0f/s\n",
		r.options.tasks, largeTypes, largeWorkers, r.accepting.Seconds(), r.doing.Seconds(), float64(r.options.tasks)/r.doing.Seconds())
}
