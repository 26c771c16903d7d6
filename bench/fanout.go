package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// roundPause lets acknowledgements and collected garbage of a round be over
// before the next one begins.
const roundPause = 2 * time.Second

// fanOut measures runs on so many fake minions from the request to the record,
// in turns with bare gRPC streams, and how long it takes until they are all back
// after a crash of their node.
type fanOut struct {
	minions int
	pause   time.Duration // after a round
}

func (b fanOut) measure(ctx context.Context, e *env) error {
	bare, err := startEchoes(ctx, e, b.minions)
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	defer bare.stop()
	f, err := startFarm(ctx, e, 1, nodeSettings{})
	if err != nil {
		return err
	}
	defer f.close()
	idle, err := f.resident()
	if err != nil {
		return err
	}
	swarm, err := f.startSwarms(ctx, b.minions)
	if err != nil {
		return err
	}
	defer swarm.stop()
	var each []float64 // kB of the node for each minion, after a round
	ours := fanOutSide{
		round: func(ctx context.Context) (roundTimes, error) {
			r, err := f.round(ctx, b.minions)
			if err != nil {
				return r, err
			}
			full, err := f.resident()
			each = append(each, float64(full-idle)/float64(b.minions)/1000)
			return r, err
		},
		processes: append(slices.Clone(swarm), f.nodes...), pause: b.pause,
	}
	theirs := fanOutSide{
		round:     func(ctx context.Context) (roundTimes, error) { return bare.round(ctx, e) },
		processes: append(slices.Clone(bare.swarm), bare.server), pause: b.pause,
	}
	for _, s := range []*fanOutSide{&ours, &theirs} { // a round that warms up
		if err := s.once(ctx); err != nil {
			return err
		}
		s.times = nil
	}
	if err := e.inTurns(ctx, ours.once, theirs.once); err != nil {
		return err
	}
	bare.stop()
	if err := b.report(e, &ours, &theirs); err != nil {
		return err
	}
	if err := e.report("hub_kb_per_minion", "kB", each, fmt.Sprintf(
		"of a node's resident memory for each of %d connected minions, after each round", b.minions)); err != nil {
		return err
	}
	return f.reconnects(ctx, swarm, b.minions)
}

func (b fanOut) report(e *env, ours, theirs *fanOutSide) error {
	name := "fanout_" + thousands(b.minions)
	total, bareTotal := ours.of(total), theirs.of(total)
	if err := e.report(name+"_s", "s", total, fmt.Sprintf(
		"from the request to the run's record in history; one node, mutual TLS, %d fake minions that answer at once", b.minions)); err != nil {
		return err
	}
	if err := e.report(name+"_last_start_s", "s", ours.of(lastStart), "from the run's instant to the start of its last task"); err != nil {
		return err
	}
	if err := e.report(name+"_raw_grpc_s", "s", bareTotal, fmt.Sprintf(
		"one message out and one back on %d bare gRPC streams without TLS", b.minions)); err != nil {
		return err
	}
	if err := e.ratio(name+"_vs_raw_grpc", total, bareTotal, "of its time"); err != nil {
		return err
	}
	return e.ratio(name+"_cpu_vs_raw_grpc", ours.of(processor), theirs.of(processor), fmt.Sprintf(
		"of its processor time, in a round and the %s after it: node and minions to server and clients", b.pause))
}

// roundTimes are what a round took, in seconds.
type roundTimes struct {
	total     float64
	lastStart float64
	processor float64
}

func total(r roundTimes) float64     { return r.total }
func lastStart(r roundTimes) float64 { return r.lastStart }
func processor(r roundTimes) float64 { return r.processor }

// fanOutSide is one of two that are compared: its round, and the processes that
// do it.
type fanOutSide struct {
	round     func(context.Context) (roundTimes, error)
	processes []*process
	pause     time.Duration
	times     []roundTimes
}

func (s *fanOutSide) once(ctx context.Context) error {
	before, err := processorTime(s.processes...)
	if err != nil {
		return err
	}
	r, err := s.round(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, s.pause); err != nil {
		return err
	}
	after, err := processorTime(s.processes...)
	// A round may use less than one tick of the kernel's clock.
	r.processor = max(after-before, 1.0/ticksPerSecond)
	s.times = append(s.times, r)
	return err
}

// of returns a figure by round.
func (s *fanOutSide) of(figure func(roundTimes) float64) []float64 {
	v := make([]float64, len(s.times))
	for i, r := range s.times {
		v[i] = figure(r)
	}
	return v
}

// startSwarms starts fake minions, and waits until they are in the presence.
func (f *farm) startSwarms(ctx context.Context, count int) (swarms, error) {
	a, err := f.credentials()
	if err != nil {
		return nil, err
	}
	s, err := startSwarms(ctx, f.env, count, f.servers(), &a)
	if err != nil {
		return nil, err
	}
	if err := f.awaitPresent(ctx, count, 0); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// thousands is a count as it stands in a figure's name.
func thousands(n int) string {
	if n%1_000_000 == 0 {
		return fmt.Sprintf("%dm", n/1_000_000)
	}
	if n%1000 == 0 {
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// manifest is a command for all minions.
const manifest = `{"apiVersion":"carillon/v1","kind":"Job","metadata":{"namespace":"bench","name":"exec"},
"spec":{"command":["true"],"timeout":"1h","target":{"run":"all"}}}`

// round runs a command on all minions, until its record is in history.
func (f *farm) round(ctx context.Context, count int) (roundTimes, error) {
	ctx, cancel := context.WithTimeout(ctx, f.env.patience)
	defer cancel()
	store, err := historyetcd.New(historyetcd.Config{Keys: etcdkv.NewKeys("")}, historyetcd.Deps{Client: f.etcd.Client, Logger: zap.NewNop()})
	if err != nil {
		return roundTimes{}, err
	}
	records := f.etcd.Watch(ctx, etcdkv.NewKeys("").Runs(), clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithKeysOnly())
	<-records
	begun := time.Now()
	id, err := f.exec(ctx)
	if err != nil {
		return roundTimes{}, err
	}
	for w := range records {
		took := time.Since(begun)
		if err := w.Err(); err != nil {
			return roundTimes{}, err
		}
		run, err := store.Get(ctx, id)
		if errors.Is(err, job.ErrNotFound) {
			continue
		}
		if err != nil {
			return roundTimes{}, err
		}
		if run.State != job.StateSucceeded || len(run.Tasks) != count {
			return roundTimes{}, fmt.Errorf("the run ended as %s with %d tasks of %d in its record: %s", run.State, len(run.Tasks), count, run.Reason)
		}
		last := run.ScheduledAt
		for i := range run.Tasks {
			if at := run.Tasks[i].StartedAt; at.After(last) {
				last = at
			}
		}
		if after := last.Sub(begun.Add(took)); after > 0 {
			return roundTimes{}, fmt.Errorf("by its record the run's last task started %v after the record was there", after)
		}
		return roundTimes{total: took.Seconds(), lastStart: last.Sub(run.ScheduledAt).Seconds()}, nil
	}
	return roundTimes{}, fmt.Errorf("run %s has no record: %w", id, ctx.Err())
}

func (f *farm) exec(ctx context.Context) (job.RunID, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.api()+"/v1/exec", bytes.NewReader([]byte(manifest)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/yaml")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("exec: %s: %s", res.Status, body)
	}
	var v struct {
		RunID job.RunID `json:"runId"`
	}
	return v.RunID, json.Unmarshal(body, &v)
}

// reconnects kills the node, starts it again, and measures until all minions are
// back and in the presence.
func (f *farm) reconnects(ctx context.Context, swarm swarms, count int) error {
	var up, back []float64
	for range f.env.rounds {
		revision, err := f.etcd.revision(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		f.nodes[0].kill()
		if err := f.startNode(ctx, 0); err != nil {
			return err
		}
		up = append(up, time.Since(begun).Seconds())
		if err := f.awaitPresent(ctx, count, revision); err != nil {
			return err
		}
		back = append(back, time.Since(begun).Seconds())
		if err := swarm.await(ctx, f.env, count); err != nil {
			return err
		}
	}
	name := "reconnect_" + thousands(count)
	if err := f.env.report(name+"_node_s", "s", up, "from kill -9 of the node until it is ready again"); err != nil {
		return err
	}
	return f.env.report(name+"_s", "s", back, fmt.Sprintf(
		"from kill -9 of the node until %d minions are back and in the presence; mutual TLS with session tickets", count))
}

// fanOutThreeNodes measures runs on fake minions of three nodes.
type fanOutThreeNodes struct {
	minions int
	pause   time.Duration // before a round
}

func (b fanOutThreeNodes) measure(ctx context.Context, e *env) error {
	f, err := startFarm(ctx, e, 3, nodeSettings{})
	if err != nil {
		return err
	}
	defer f.close()
	swarm, err := f.startSwarms(ctx, b.minions)
	if err != nil {
		return err
	}
	defer swarm.stop()
	var took []float64
	for i := range e.rounds + 1 {
		if err := pause(ctx, b.pause); err != nil {
			return err
		}
		r, err := f.round(ctx, b.minions)
		if err != nil {
			return err
		}
		if i > 0 { // the first one warms up
			took = append(took, r.total)
		}
	}
	return e.report("fanout_3nodes_"+thousands(b.minions)+"_s", "s", took, fmt.Sprintf(
		"from the request to the run's record; %d fake minions, mutual TLS, nodes and minions on one machine", b.minions))
}
