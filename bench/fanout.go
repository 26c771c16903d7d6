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

const (
	fanOutMinions = 18_000 // a process may have 20,000 files
	fanOutRounds  = 7
	// roundPause lets acknowledgements and collected garbage of a round be over
	// before the next one begins.
	roundPause = 2 * time.Second
)

// fanOut measures runs on so many minions from the request to the record, and
// how long it takes until they are all back after a crash of their node.
func fanOut(ctx context.Context, count, rounds int) error {
	bare, err := startEchoes(ctx, count)
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	defer bare.stop()
	f, err := startFarm(ctx, 1)
	if err != nil {
		return err
	}
	defer f.close()
	idle, err := f.resident()
	if err != nil {
		return err
	}
	swarm, err := startSwarms(ctx, count, f.servers(), f.auth.Authority())
	if err != nil {
		return err
	}
	defer swarm.stop()
	if err := swarm.await(ctx, count, 5*time.Minute); err != nil {
		return err
	}
	if err := f.awaitPresent(ctx, count, 0, time.Minute); err != nil {
		return err
	}
	ours, theirs, err := inTurns(ctx, rounds,
		side{func() (roundTimes, error) { return f.round(ctx, count) }, append(slices.Clone(swarm), f.nodes...)},
		side{func() (roundTimes, error) { return bare.round(ctx) }, append(slices.Clone(bare.swarm), bare.server)})
	if err != nil {
		return err
	}
	bare.stop()
	full, err := f.resident()
	if err != nil {
		return err
	}
	name := "fanout_" + thousands(count)
	total, low, high := spread(ours, func(r roundTimes) float64 { return r.total })
	bareTotal, bareLow, bareHigh := spread(theirs, func(r roundTimes) float64 { return r.total })
	cpu, _, _ := spread(ours, func(r roundTimes) float64 { return r.cpu })
	bareCPU, _, _ := spread(theirs, func(r roundTimes) float64 { return r.cpu })
	started, _, _ := spread(ours, func(r roundTimes) float64 { return r.lastStart })
	report(name+"_s", total, fmt.Sprintf("s from the request to the run's record in history, median of %d rounds (%.2f to %.2f); one node, mutual TLS, %d minions that answer at once", len(ours), low, high, count))
	report(name+"_last_start_s", started, "s from the run's instant to the start of its last task")
	report(name+"_raw_grpc_s", bareTotal, fmt.Sprintf("s, one message out and one back on %d bare gRPC streams without TLS, median of %d rounds (%.2f to %.2f), in turns with the above", count, len(theirs), bareLow, bareHigh))
	report(name+"_vs_raw_grpc", total/bareTotal, "x")
	report(name+"_cpu_vs_raw_grpc", cpu/bareCPU, fmt.Sprintf("x, processor time of a round and the %s after it, node and minions (%.2f s) to server and clients (%.2f s)", roundPause, cpu, bareCPU))
	report("hub_kb_per_minion", float64(full-idle)/float64(count)/1000, fmt.Sprintf("kB of a node's resident memory for each of %d connected minions, after the rounds", count))
	return f.reconnect(ctx, swarm, count)
}

// roundTimes are what a round took, in seconds.
type roundTimes struct {
	total     float64
	lastStart float64
	cpu       float64
}

// spread returns the median, the least and the greatest of a figure.
func spread(rounds []roundTimes, of func(roundTimes) float64) (mid, low, high float64) {
	v := make([]float64, len(rounds))
	for i, r := range rounds {
		v[i] = of(r)
	}
	return median(v), slices.Min(v), slices.Max(v)
}

// side is one of two that are compared: its round, and the processes that do it.
type side struct {
	round     func() (roundTimes, error)
	processes []*process
}

// inTurns measures rounds of two sides in turns, so that whatever else the
// machine does meanwhile hits both. The first round of each warms up.
func inTurns(ctx context.Context, rounds int, a, b side) (ofA, ofB []roundTimes, err error) {
	one := func(s *side) (roundTimes, error) {
		before, err := processorTime(s.processes...)
		if err != nil {
			return roundTimes{}, err
		}
		r, err := s.round()
		if err != nil {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(roundPause):
		}
		after, err := processorTime(s.processes...)
		r.cpu = after - before
		return r, err
	}
	for i := range rounds + 1 {
		ra, err := one(&a)
		if err != nil {
			return nil, nil, err
		}
		rb, err := one(&b)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			ofA, ofB = append(ofA, ra), append(ofB, rb)
		}
	}
	return ofA, ofB, nil
}

// thousands is a count as it stands in a figure's name.
func thousands(n int) string {
	if n%1000 == 0 {
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// manifest is a command for all minions.
const manifest = `{"apiVersion":"carillon/v1","kind":"Job","metadata":{"namespace":"bench","name":"exec"},
"spec":{"command":["true"],"timeout":"5m","target":{"run":"all"}}}`

// round runs a command on all minions, until its record is in history.
func (f *farm) round(ctx context.Context, count int) (roundTimes, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	store, err := historyetcd.New(historyetcd.Config{Keys: etcdkv.NewKeys("")}, historyetcd.Deps{Client: f.client, Logger: zap.NewNop()})
	if err != nil {
		return roundTimes{}, err
	}
	records := f.client.Watch(ctx, etcdkv.NewKeys("").Runs(), clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithKeysOnly())
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

// reconnect kills the node, starts it again, and measures until all minions are
// back and in the presence.
func (f *farm) reconnect(ctx context.Context, swarm swarms, count int) error {
	got, err := f.client.Get(ctx, "revision")
	if err != nil {
		return err
	}
	begun := time.Now()
	f.nodes[0].kill()
	if err := f.startNode(ctx, 0); err != nil {
		return err
	}
	up := time.Since(begun)
	if err := f.awaitPresent(ctx, count, got.Header.Revision, 5*time.Minute); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := swarm.await(ctx, count, time.Minute); err != nil {
		return err
	}
	report("reconnect_"+thousands(count)+"_s", took.Seconds(), fmt.Sprintf(
		"s from kill -9 of the node until %d minions are back and in the presence, with session tickets; the node was ready again after %.1f s", count, up.Seconds()))
	return nil
}

// threeNodesMinions is how many minions three nodes get.
const threeNodesMinions = 50_000

// fanOutThreeNodes measures runs on minions of three nodes.
func fanOutThreeNodes(ctx context.Context, count, rounds int) error {
	f, err := startFarm(ctx, 3)
	if err != nil {
		return err
	}
	defer f.close()
	swarm, err := startSwarms(ctx, count, f.servers(), f.auth.Authority())
	if err != nil {
		return err
	}
	defer swarm.stop()
	if err := swarm.await(ctx, count, 10*time.Minute); err != nil {
		return err
	}
	if err := f.awaitPresent(ctx, count, 0, 5*time.Minute); err != nil {
		return err
	}
	var took []float64
	for i := range rounds + 1 {
		time.Sleep(roundPause)
		s, err := f.round(ctx, count)
		if err != nil {
			return err
		}
		if i > 0 { // the first one warms up
			took = append(took, s.total)
		}
	}
	report("fanout_3nodes_"+thousands(count)+"_s", median(took), fmt.Sprintf(
		"s from the request to the run's record, median of %d rounds (%.2f to %.2f); %d minions, mutual TLS, nodes and minions on one machine", len(took), slices.Min(took), slices.Max(took), count))
	return nil
}
