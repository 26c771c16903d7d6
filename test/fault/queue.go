package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// queueScenario is the name of the scenario that puts items into a queue while nodes,
// minions and etcd servers die, and looks at what became of each.
const queueScenario = "queue"

const (
	queueSpace, queueName = "queued", "work"
	// queueKeep is how many records of items history keeps: all.
	queueKeep = 100_000
	// queueEvery is how often items are put, queueBatch how many.
	queueEvery = 100 * time.Millisecond
	queueBatch = 4
	// queueKeys is how many keys there are, of which one item is done at a time.
	queueKeys = 7
	// failsOnce is the payload of an item that fails when it is tried first.
	failsOnce = "fails-once"
)

// loseWorker ends a random worker with SIGKILL, and starts it again when its items have
// gone to others.
func loseWorker(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	p := c.workers[rnd.IntN(len(c.workers))]
	away := job.MinLostAfter + between(rnd, 3*time.Second, 6*time.Second)
	c.event("kill %s, back in %v", p.name, away)
	if _, err := p.stop(syscall.SIGKILL); err != nil {
		return err
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return p.start()
}

func queueFaults() []fault {
	return []fault{killScheduler, drainScheduler, standStill, killWorker, restartEtcd, loseWorker}
}

// queueResult is what a run of the scenario showed.
type queueResult struct {
	options      options
	put, retried int
	// instants are those of jobs that are dispatched to the queue.
	instants     int
	disturbances int
	judgedItems
	dir string // empty when it is removed
}

// judgedItems are what is wrong with items.
type judgedItems struct {
	// lost were put, and have no result; doubled have several, or one of their attempts
	// was started twice; untrue have one that no command had; crowded are pairs of one
	// key that were in hand together.
	lost, doubled, untrue, crowded, stuck []string
}

func (r *queueResult) good() bool {
	return r.put > 0 && r.instants > 0 && len(r.lost)+len(r.doubled)+len(r.untrue)+len(r.crowded)+len(r.stuck) == 0
}

func (r *queueResult) print(w io.Writer) {
	for _, kind := range []struct {
		name string
		list []string
	}{{"lost", r.lost}, {"doubled", r.doubled}, {"untrue", r.untrue}, {"crowded", r.crowded}, {"stuck", r.stuck}} {
		for _, what := range kind.list[:min(shown, len(kind.list))] {
			fmt.Fprintf(w, "%s: %s\n", kind.name, what)
		}
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d disturbances=%d items=%d instants=%d again=%d lost=%d doubled=%d untrue=%d crowded=%d stuck=%d\n",
		queueScenario, r.options.seed, r.options.load, r.disturbances, r.put, r.instants, r.retried, len(r.lost), len(r.doubled), len(r.untrue), len(r.crowded), len(r.stuck))
}

// runQueue runs the scenario. The error tells what kept it from coming to a verdict.
func runQueue(parent context.Context, o options, out io.Writer) (*queueResult, error) {
	res := &queueResult{options: o}
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

// play puts items while the cluster is disturbed, and judges what became of them.
func (r *queueResult) play(ctx context.Context, c *cluster) error {
	trace := filepath.Join(c.dir, "items")
	if err := os.WriteFile(trace, nil, 0o666); err != nil { //nolint:gosec // commands of others write there
		return fmt.Errorf("trace of items: %w", err)
	}
	if _, err := c.api.apply(ctx, queueManifest(trace)); err != nil {
		return fmt.Errorf("apply the queue: %w", err)
	}
	if _, err := c.api.apply(ctx, tickManifest(true)); err != nil {
		return fmt.Errorf("apply the jobs: %w", err)
	}
	putting, stop := context.WithCancel(ctx)
	defer stop()
	put := make(chan []string, 1)
	go func() { put <- putItems(putting, c, rand.New(rand.NewPCG(r.options.seed, 1))) }()
	s := scenarios()[queueScenario]
	var err error
	if r.options.once {
		r.disturbances, err = disturbOnce(ctx, c, s.each, r.options.seed)
	} else {
		r.disturbances, err = disturb(ctx, c, s.disturb, r.options.seed, r.options.length)
	}
	stop()
	ids := <-put
	if err != nil {
		return err
	}
	r.put = len(ids)
	c.event("%d items were put", len(ids))
	err = until(ctx, func() error {
		if _, err := c.api.apply(ctx, tickManifest(false)); err != nil {
			return err
		}
		open, err := c.api.open(ctx)
		if err != nil {
			return err
		}
		for i := range open {
			if strings.HasPrefix(open[i].Job, tickName) {
				return fmt.Errorf("run %s of %s is %s: %s", open[i].RunID, open[i].Job, open[i].State, open[i].Reason)
			}
		}
		var q api.Queue
		if err := c.api.ask(ctx, http.MethodGet, queuePath(""), nil, &q); err != nil {
			return err
		}
		if q.Waiting+q.InHand > 0 {
			return fmt.Errorf("%d items wait, and workers have %d", q.Waiting, q.InHand)
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
	runs, err := c.api.runsIn(ctx, queueSpace)
	if err != nil {
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
	var ticks []job.Run
	var origins, others []job.Run
	for i := range runs {
		switch {
		case strings.HasPrefix(runs[i].Job, tickName):
			ticks = append(ticks, runs[i])
		case runs[i].Params["fireId"] != "":
			origins = append(origins, runs[i])
		default:
			others = append(others, runs[i])
		}
	}
	r.judgedItems, r.retried = judgeItems(ids, others, done)
	r.instants = judgeTicks(&r.judgedItems, ticks, origins, done)
	return nil
}

func queuePath(more string) string {
	return "/v1/namespaces/" + queueSpace + "/queues/" + queueName + more
}

// queueManifest describes the queue. Its command writes down when it begins and ends.
func queueManifest(trace string) []byte {
	script := fmt.Sprintf(`note() { echo "$1 $CARILLON_ITEM $CARILLON_ATTEMPT $CARILLON_ITEM_TOKEN $(date +%%s%%N)" >> %s; }
note begin
sleep 0.0$((CARILLON_ATTEMPT + 1))
note end
test "$CARILLON_PAYLOAD" != %s || test "$CARILLON_ATTEMPT" != 1
`, trace, failsOnce)
	doc := map[string]any{
		"apiVersion": job.APIVersion, "kind": job.KindQueue, "metadata": map[string]any{"namespace": queueSpace, "name": queueName},
		"spec": map[string]any{
			"script": script, "lostAfter": job.MinLostAfter.String(), "timeout": "1m", "retry": map[string]any{"attempts": job.MaxAttempts, "backoff": "100ms", "maxBackoff": "1s"},
		},
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // of texts only
	}
	return b
}

// tickManifest describes the jobs that are dispatched to the queue, an occurrence a second
// of each. Whatever is missed is to run.
func tickManifest(enabled bool) []byte {
	var out []byte
	for i := range tickJobs {
		doc := map[string]any{
			"apiVersion": job.APIVersion, "kind": job.KindJob, "metadata": map[string]any{"namespace": queueSpace, "name": tickName + strconv.Itoa(i)},
			"spec": map[string]any{
				"schedule": "@every 1s", "enabled": enabled, "overlap": job.OverlapAllow, "misfire": job.MisfireAll, "catchUpEvery": "1ms",
				"dispatch": map[string]any{"queue": queueName, "priority": i},
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

const (
	tickName = "tick-"
	tickJobs = 4
)

// judgeTicks adds what is wrong with occurrences that were dispatched to the queue, by
// their records, those of their items, and what commands wrote. It returns how many there
// are. An instant without a record between others is lost.
func judgeTicks(j *judgedItems, runs, items []job.Run, done []begun) int {
	ended := map[string]bool{}
	for i := range done {
		if done[i].end != 0 {
			ended[done[i].item] = true
		}
	}
	of := map[string][]*job.Run{}
	for i := range items {
		of[items[i].Params["item"]] = append(of[items[i].Params["item"]], &items[i])
	}
	instants := map[string][]*job.Run{}
	for i := range runs {
		r := &runs[i]
		instants[r.Job] = append(instants[r.Job], r)
		if r.State == job.StateSkipped || r.State == job.StateMissed {
			continue // accounted for
		}
		all := of[string(r.RunID)]
		delete(of, string(r.RunID))
		switch {
		case len(all) > 1:
			j.doubled = append(j.doubled, fmt.Sprintf("%s of %s has %d items with a record", r.FireID, r.Job, len(all)))
		case len(all) == 0 || r.State != job.StateSucceeded || all[0].State != job.StateSucceeded || !ended[string(r.RunID)]:
			j.untrue = append(j.untrue, fmt.Sprintf("%s of %s is %s (%s), with %d records of its item", r.FireID, r.Job, r.State, r.Reason, len(all)))
		}
	}
	for id := range of {
		j.untrue = append(j.untrue, fmt.Sprintf("item %s has a record, and its occurrence has none", id))
	}
	for name, all := range instants {
		slices.SortFunc(all, func(a, b *job.Run) int { return cmp.Compare(a.FireID.At, b.FireID.At) })
		for i := 1; i < len(all); i++ {
			last := all[i-1].FireID.Time()
			if until := all[i-1].Until; until.After(last) {
				last = until
			}
			switch gap := all[i].FireID.Time().Sub(last); {
			case gap <= 0:
				j.doubled = append(j.doubled, fmt.Sprintf("%s of %s has several records", all[i].FireID, name))
			case gap > time.Second:
				j.lost = append(j.lost, fmt.Sprintf("%s of %s comes %v after the one before", all[i].FireID, name, gap))
			}
		}
	}
	return len(runs)
}

// putItems puts items until ctx ends, each until it was answered, and returns their ids.
func putItems(ctx context.Context, c *cluster, rnd *rand.Rand) []string {
	var ids []string
	for n := 0; sleep(ctx, queueEvery) == nil; n++ {
		var items []api.NewItem
		for i := range queueBatch {
			it := api.NewItem{ID: fmt.Sprintf("item-%d", n*queueBatch+i), Priority: rnd.IntN(10), Payload: "ok"}
			if rnd.IntN(10) == 0 {
				it.Payload = failsOnce
			}
			it.Key = keyOf(it.ID)
			items = append(items, it)
		}
		body, err := json.Marshal(map[string]any{"items": items})
		if err != nil {
			panic(err) // of texts only
		}
		// What was not answered may have been put: it is put again, also when it is time
		// to end, so that it is known.
		for {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			err := c.api.ask(bounded, http.MethodPost, queuePath("/items"), body, nil)
			cancel()
			if err == nil {
				break
			}
			c.event("not put yet: %v", err)
			time.Sleep(queueEvery)
		}
		for i := range items {
			ids = append(ids, items[i].ID)
		}
	}
	return ids
}

// keyOf is the key of an item; empty: it has none.
func keyOf(id string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "item-"))
	if err != nil || n%3 != 0 {
		return ""
	}
	return "key-" + strconv.Itoa(n%queueKeys)
}

// begun is what a command wrote of an attempt of an item. end is 0: it did not.
type begun struct {
	item       string
	attempt    int
	token      job.Token
	start, end int64
}

// readItems reads what commands wrote.
func readItems(text string) ([]begun, error) {
	type name struct {
		item    string
		attempt int
		token   job.Token
	}
	at := map[name]int{}
	var out []begun
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 5 {
			return nil, fmt.Errorf("trace of items: line %q", line)
		}
		attempt, err1 := strconv.Atoi(f[2])
		token, err2 := job.ParseToken(f[3])
		nanos, err3 := strconv.ParseInt(f[4], 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("trace of items: line %q: %w", line, err)
		}
		n := name{f[1], attempt, token}
		if f[0] == "end" {
			if i, ok := at[n]; ok {
				out[i].end = nanos
			}
			continue
		}
		at[n] = len(out)
		out = append(out, begun{item: f[1], attempt: attempt, token: token, start: nanos})
	}
	return out, nil
}

// judgeItems says what is wrong with items that were put, by their records and by what
// commands wrote, and how many were tried more than once.
func judgeItems(ids []string, runs []job.Run, done []begun) (judgedItems, int) {
	var j judgedItems
	results := map[string][]job.Run{}
	for i := range runs {
		id := runs[i].Params["item"]
		results[id] = append(results[id], runs[i])
	}
	starts, ended := map[string]map[int]int{}, map[string]*begun{}
	for i := range done {
		b := &done[i]
		if starts[b.item] == nil {
			starts[b.item] = map[int]int{}
		}
		starts[b.item][b.attempt]++
		if b.end != 0 {
			ended[fmt.Sprint(b.item, " ", b.attempt)] = b
		}
	}
	retried := 0
	byKey := map[string][]*begun{}
	for _, id := range ids {
		all := results[id]
		delete(results, id)
		switch {
		case len(all) == 0:
			j.lost = append(j.lost, id)
			continue
		case len(all) > 1:
			j.doubled = append(j.doubled, fmt.Sprintf("%s has %d records", id, len(all)))
		}
		r := &all[0]
		b := ended[fmt.Sprint(id, " ", r.Attempt)]
		if b != nil && keyOf(id) != "" {
			byKey[keyOf(id)] = append(byKey[keyOf(id)], b)
		}
		if r.State != job.StateSucceeded || b == nil {
			j.untrue = append(j.untrue, fmt.Sprintf("%s is %s by attempt %d, and the commands say %v", id, r.State, r.Attempt, starts[id]))
		}
		for attempt, n := range starts[id] {
			if n > 1 { // a minion starts no attempt twice
				j.doubled = append(j.doubled, fmt.Sprintf("%s was started %d times as attempt %d", id, n, attempt))
			}
		}
		if len(starts[id]) > 1 {
			retried++
		}
	}
	for id := range results {
		j.untrue = append(j.untrue, fmt.Sprintf("%q has a record, and was not put", id))
	}
	slices.Sort(j.untrue)
	// The attempts whose results count were in hand until they had ended.
	for key, all := range byKey {
		slices.SortFunc(all, func(a, b *begun) int { return cmp.Compare(a.start, b.start) })
		for i := 1; i < len(all); i++ {
			if all[i].start < all[i-1].end {
				j.crowded = append(j.crowded, fmt.Sprintf("%s and %s of %s", all[i-1].item, all[i].item, key))
			}
		}
	}
	return j, retried
}
