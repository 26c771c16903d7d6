package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// restoreScenario is the name of the scenario in which etcd is lost, and put back by a
// backup or by an old copy of its disk.
const restoreScenario = "restore"

// restoreResult is what a run of the scenario showed.
type restoreResult struct {
	options options
	rounds  []string
	fires   int
	states  map[job.State]int
	doubled, missing, unaccounted,
	// unnoticed are restores that no node has noticed.
	unnoticed []string
	dir string
	// figures end the line of the result.
	figures string
}

func (r *restoreResult) good() bool {
	return len(r.doubled)+len(r.missing)+len(r.unaccounted)+len(r.unnoticed) == 0 && r.fires > 0 && len(r.rounds) > 0
}

func (r *restoreResult) print(w io.Writer) {
	kinds := []struct {
		name string
		list []string
	}{{"doubled", r.doubled}, {"missing", r.missing}, {"unaccounted", r.unaccounted}, {"unnoticed", r.unnoticed}}
	for _, k := range kinds {
		for _, what := range k.list[:min(shown, len(k.list))] {
			fmt.Fprintf(w, "%s: %s\n", k.name, what)
		}
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d rounds=%s fires=%d", r.options.scenario, r.options.seed, r.options.load, strings.Join(r.rounds, ","), r.fires)
	for _, k := range kinds {
		fmt.Fprintf(w, " %s=%d", k.name, len(k.list))
	}
	for _, s := range slices.Sorted(maps.Keys(r.states)) {
		fmt.Fprintf(w, " %s=%d", s, r.states[s])
	}
	fmt.Fprintln(w, r.figures)
}

// restoring is a run of the scenario.
type restoring struct {
	*restoreResult
	c    *cluster
	rnd  *rand.Rand
	keys etcdkv.Keys
	// trace is where jobs leave their fire ids.
	trace string
}

func newRestoring(res *restoreResult, c *cluster) *restoring {
	return &restoring{res, c, rand.New(rand.NewPCG(res.options.seed, 0)), etcdkv.NewKeys(""), filepath.Join(c.dir, "fires")}
}

// runRestore runs the scenario. The error tells what kept it from coming to a verdict.
func runRestore(parent context.Context, o options, out io.Writer) (*restoreResult, error) {
	res := &restoreResult{options: o, states: map[job.State]int{}}
	dir, err := withCluster(parent, o, out, func(ctx context.Context, _ context.CancelCauseFunc, c *cluster) (bool, error) {
		c.api.nodes = c.api.nodes[:schedulerCount]
		if err := c.start(ctx); err != nil {
			return false, err
		}
		r := newRestoring(res, c)
		if err := r.apply(ctx, "steady", o.jobs, true); err != nil {
			return false, err
		}
		kinds := []struct {
			name string
			play func(context.Context) error
		}{
			{"backup", func(ctx context.Context) error { return r.fromBackup(ctx, nil) }},
			{"copy", func(ctx context.Context) error { return r.fromCopy(ctx, false) }},
			{"bumped", func(ctx context.Context) error { return r.fromCopy(ctx, true) }},
			{"minion-copy", r.withOldMinion},
			{"minions-lost", r.withLostMinions},
		}
		for end := time.Now().Add(o.length); len(r.rounds) < len(kinds) || time.Now().Before(end); {
			kind := kinds[len(r.rounds)%len(kinds)]
			if err := kind.play(ctx); err != nil {
				return false, fmt.Errorf("round %d, %s: %w", len(r.rounds)+1, kind.name, err)
			}
			r.rounds = append(r.rounds, kind.name)
			if err := r.fire(ctx); err != nil {
				return false, err
			}
		}
		if err := r.judge(ctx); err != nil {
			return false, err
		}
		return res.good(), nil
	})
	res.dir = dir
	return res, err
}

// apply applies jobs that are due every second, and leave their fire ids.
func (r *restoring) apply(ctx context.Context, name string, n int, enabled bool) error {
	var doc bytes.Buffer
	for i := range n {
		document(&doc, "Job", fmt.Sprintf("%s%03d", name, i), map[string]any{
			"schedule": "@every 1s", "enabled": enabled, "misfire": job.MisfireAll, "overlap": job.OverlapAllow,
			"command": []string{"sh", "-c", `echo "$CARILLON_FIRE_ID" >>` + r.trace},
		})
	}
	_, err := r.c.api.apply(ctx, doc.Bytes())
	return err
}

// fire lets jobs fire for a while.
func (r *restoring) fire(ctx context.Context) error {
	return sleep(ctx, between(r.rnd, 3*time.Second, 5*time.Second))
}

// killAll ends processes at once, in any order.
func (r *restoring) killAll(all ...*process) error {
	r.rnd.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	for _, p := range all {
		if _, err := p.stop(syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// fromBackup takes a backup, has more fired and a job made, loses nodes and etcd, and
// restores. lose, unless it is nil, loses more, and returns which minions do not know all.
func (r *restoring) fromBackup(ctx context.Context, lose func(context.Context) ([]job.MinionID, error)) error {
	if err := r.fire(ctx); err != nil {
		return err
	}
	kept, _, err := backup.Create(ctx, backup.FromEtcd(r.c.client, r.keys, ""), backup.Wish{To: backup.Directory(filepath.Join(r.c.dir, "backups"))})
	if err != nil {
		return err
	}
	r.c.event("backup at revision %d", kept.Revision)
	if err := r.fire(ctx); err != nil {
		return err
	}
	if err := r.apply(ctx, fmt.Sprintf("late%d-", len(r.rounds)), 1, true); err != nil {
		return err
	}
	if err := r.fire(ctx); err != nil {
		return err
	}
	nodes := r.c.running()
	r.c.event("all is lost")
	if err := r.killAll(slices.Concat(nodes, r.c.etcds)...); err != nil {
		return err
	}
	for _, e := range r.c.etcds {
		if err := os.RemoveAll(filepath.Join(r.c.dir, e.name)); err != nil {
			return err
		}
	}
	var gaps []job.MinionID
	if lose != nil {
		if gaps, err = lose(ctx); err != nil {
			return err
		}
	}
	if err := r.startEtcd(ctx); err != nil {
		return err
	}
	back, err := backup.Restore(ctx, r.c.client, r.keys, func() (io.ReadCloser, error) { return backup.Open(kept.Path, nil) }, backup.Options{By: "fault"})
	if err != nil {
		return err
	}
	r.c.event("restored in epoch %d", back.NewEpoch)
	for _, p := range nodes {
		if err := p.start(); err != nil {
			return err
		}
	}
	return r.recover(ctx, gaps)
}

func (r *restoring) startEtcd(ctx context.Context) error {
	for _, e := range r.c.etcds {
		if err := e.start(); err != nil {
			return err
		}
	}
	return r.c.etcdAnswers(ctx)
}

// fromCopy puts an old copy of etcd's disk in its place, under running nodes: all of them
// have to notice, also when its revision is raised far beyond what it was.
func (r *restoring) fromCopy(ctx context.Context, bumped bool) error {
	if err := r.fire(ctx); err != nil {
		return err
	}
	swap := func(from, to func(*process) string, anew bool) error {
		if err := r.killAll(slices.Clone(r.c.etcds)...); err != nil {
			return err
		}
		for _, e := range r.c.etcds {
			if anew {
				if err := os.RemoveAll(to(e)); err != nil {
					return err
				}
			}
			if err := os.CopyFS(to(e), os.DirFS(from(e))); err != nil {
				return err
			}
			if anew && bumped {
				if err := bump(to(e)); err != nil {
					return err
				}
			}
		}
		return r.startEtcd(ctx)
	}
	dir := func(e *process) string { return filepath.Join(r.c.dir, e.name) }
	old := func(e *process) string { return filepath.Join(r.c.dir, fmt.Sprintf("%s-old%d", e.name, len(r.rounds))) }
	if err := swap(dir, old, false); err != nil {
		return err
	}
	if err := until(ctx, func() error { return r.c.whole(ctx) }); err != nil {
		return err
	}
	if err := sleep(ctx, 6*time.Second); err != nil { // some marks
		return err
	}
	if err := swap(old, dir, true); err != nil {
		return err
	}
	r.c.event("etcd went back")
	for _, node := range r.c.api.nodes {
		noticed := func() error { return wentBack(ctx, r.c.api, node) }
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		err := until(bounded, noticed)
		cancel()
		if err != nil {
			r.unnoticed = append(r.unnoticed, fmt.Sprintf("round %d: %s: %v", len(r.rounds)+1, node, err))
		}
	}
	if len(r.unnoticed) > 0 {
		return errors.New(r.unnoticed[0])
	}
	if err := r.askRecover(ctx, map[string]any{"adopt": true}, nil); err != nil {
		return err
	}
	return r.recover(ctx, nil)
}

// wentBack returns nil once a node says that etcd went back.
func wentBack(ctx context.Context, a *apiClient, node string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && !bytes.Contains(text, []byte("etcd went back from")) {
		err = fmt.Errorf("it says %d %s", resp.StatusCode, text)
	}
	return err
}

func (r *restoring) askRecover(ctx context.Context, body map[string]any, out *api.Recovery) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if out == nil {
		out = &api.Recovery{}
	}
	return r.c.api.ask(ctx, http.MethodPost, "/v1/recover", text, out)
}

// recover recovers once all minions answer, but for those whose journals do not know all,
// which have to say so; and waits until the cluster is whole.
func (r *restoring) recover(ctx context.Context, gaps []job.MinionID) error {
	var plan api.Recovery
	if err := until(ctx, func() error {
		err := r.askRecover(ctx, map[string]any{"dryRun": true}, &plan)
		if err != nil {
			return err
		}
		for _, s := range plan.Silent {
			if !slices.Contains(gaps, s.Minion) || !strings.Contains(s.Reason, "data directory") {
				return fmt.Errorf("%d minions answered: %+v", plan.Answered, plan.Silent)
			}
		}
		switch answered := len(r.c.workers) - len(gaps); {
		case plan.Answered+len(plan.Silent) != len(r.c.workers):
			return fmt.Errorf("%d minions answered: %+v", plan.Answered, plan.Silent)
		case plan.Answered > answered:
			r.unnoticed = append(r.unnoticed, fmt.Sprintf("round %d: %v do not know all, and those that did not answer are %+v", len(r.rounds)+1, gaps, plan.Silent))
		}
		return nil
	}); err != nil {
		return err
	}
	r.c.event("the plan: %d ran, %d of them go on, %d left, %d jobs lost", plan.Ran, plan.Open, plan.Left, len(plan.Lost))
	var done api.Recovery
	if err := r.askRecover(ctx, map[string]any{"acceptUnknown": len(gaps) > 0}, &done); err != nil {
		return err
	}
	if !done.Done {
		return fmt.Errorf("it was not recovered: %+v", done)
	}
	return until(ctx, func() error { return r.c.whole(ctx) })
}

// judge disables the jobs, waits until nothing is open, and compares what ran with what is
// recorded.
func (r *restoring) judge(ctx context.Context) error {
	if err := r.apply(ctx, "steady", r.options.jobs, false); err != nil {
		return err
	}
	disabledAt := time.Now()
	if err := until(ctx, func() error {
		open, err := r.c.api.open(ctx)
		if err == nil && len(open) > 0 {
			err = fmt.Errorf("%d runs are open", len(open))
		}
		return err
	}); err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // what is due before, and not committed yet
		return err
	}
	jobs, err := r.c.api.jobs(ctx)
	if err != nil {
		return err
	}
	runs, err := r.c.api.runs(ctx)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(r.trace)
	if err != nil {
		return err
	}
	steady := map[job.UID]string{}
	for i := range jobs {
		if strings.HasPrefix(jobs[i].Name, "steady") {
			steady[jobs[i].UID] = jobs[i].Name
		}
	}
	r.compare(steady, strings.Fields(string(text)), runs, disabledAt)
	return nil
}

// compare holds the fire ids that jobs have left against the records.
func (r *restoreResult) compare(steady map[job.UID]string, fires []string, runs []job.Run, end time.Time) {
	traced := map[string]int{}
	for _, f := range fires {
		traced[f]++
	}
	r.fires = len(fires)
	for _, f := range slices.Sorted(maps.Keys(traced)) {
		if traced[f] > 1 {
			r.doubled = append(r.doubled, fmt.Sprintf("%s ran %d times", f, traced[f]))
		}
	}
	recorded := map[string]job.State{}
	instants := map[job.UID]map[int64]bool{}
	for i := range runs {
		run := &runs[i]
		if steady[run.FireID.Job] == "" {
			continue
		}
		id := run.FireID.String()
		recorded[id] = run.State
		r.states[run.State]++
		if run.State == job.StateSucceeded && traced[id] == 0 {
			r.unaccounted = append(r.unaccounted, fmt.Sprintf("%s is recorded as %s, and has left nothing", id, run.State))
		}
		of := instants[run.FireID.Job]
		if of == nil {
			of = map[int64]bool{}
			instants[run.FireID.Job] = of
		}
		last := max(run.FireID.At, run.Until.UnixNano())
		for at := run.FireID.At; at <= last; at += int64(time.Second) {
			of[at] = true
		}
	}
	for f := range traced {
		id, err := job.ParseFireID(f)
		if err != nil {
			r.unaccounted = append(r.unaccounted, fmt.Sprintf("%q is no fire id", f))
			continue
		}
		if steady[id.Job] == "" {
			continue // of a job that was lost
		}
		switch state, is := recorded[f]; {
		case !is:
			r.unaccounted = append(r.unaccounted, f+" ran, and has no record")
		case state == job.StateMissed || state == job.StateSkipped:
			r.unaccounted = append(r.unaccounted, fmt.Sprintf("%s ran, and is recorded as %s", f, state))
		}
	}
	for uid, name := range steady {
		of := instants[uid]
		if len(of) == 0 {
			r.missing = append(r.missing, name+" has no record")
			continue
		}
		at := slices.Min(slices.Collect(maps.Keys(of)))
		for ; at < end.Add(-2*time.Second).UnixNano(); at += int64(time.Second) {
			if !of[at] {
				r.missing = append(r.missing, fmt.Sprintf("%s at %s", name, time.Unix(0, at).UTC().Format(time.RFC3339)))
			}
		}
	}
}
