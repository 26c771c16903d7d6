package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// taskTimeout is how long a command of the parts may run; a minion has half of
// it to take the order.
const taskTimeout = 40 * time.Second

// fanout is a command that is to be run on hosts.
type fanout struct {
	on         string // target expression
	line       string // for the shell, after the mark
	timeout    time.Duration
	idempotent bool
	attempts   int
	lostAfter  time.Duration // 0: the default
}

// granted is a fan-out that was granted.
type granted struct {
	run   job.RunID
	shard job.ShardID
}

// spec returns the job of a fan-out, as a manifest has it.
func (f fanout) spec(marks string) map[string]any {
	if f.timeout == 0 {
		f.timeout = taskTimeout
	}
	spec := map[string]any{
		"target": map[string]any{"match": f.on, "run": job.SpreadAll},
		// The shell is the one process: the command is ended with it.
		"command": []string{"/bin/sh", "-c", markLine + f.line},
		"env":     map[string]string{marksVariable: marks},
		"timeout": f.timeout.String(),
	}
	if f.idempotent {
		spec["idempotent"] = true
	}
	if f.lostAfter > 0 {
		spec["lostAfter"] = f.lostAfter.String()
	}
	if f.attempts > 0 {
		spec["retry"] = map[string]any{"attempts": f.attempts, "backoff": "1s"}
	}
	return spec
}

// start asks for a fan-out until a node grants it. What was granted without an
// answer runs, too: the oracle looks at all runs.
func (s *stage) start(ctx context.Context, f fanout) (g *granted, err error) {
	err = until(ctx, func() (err error) {
		g, err = s.try(ctx, s.c.api, f)
		return err
	})
	return g, err
}

// try asks for a fan-out once. The error is job.ErrNoMinions when none of its
// hosts gets orders.
func (s *stage) try(ctx context.Context, at *apiClient, f fanout) (*granted, error) {
	var body bytes.Buffer
	documentIn(&body, s.name, job.KindJob, "exec", f.spec(s.marks))
	var v api.Exec
	err := at.ask(ctx, http.MethodPost, "/v1/exec", body.Bytes(), &v)
	switch {
	case err != nil && slices.ContainsFunc([]string{job.ErrNoMinions.Error(), "takes no orders", "none takes orders"}, func(what string) bool {
		return strings.Contains(err.Error(), what)
	}):
		return nil, job.ErrNoMinions
	case err != nil:
		return nil, err
	}
	s.orders = append(s.orders, order{v.RunID, v.Minions})
	return &granted{v.RunID, etcdkv.ShardOf(v.Job, shardCount)}, nil
}

// cancel asks for the end of a run.
func (s *stage) cancel(ctx context.Context, id job.RunID) error {
	return s.c.api.ask(ctx, http.MethodPost, "/v1/runs/"+string(id)+"/cancel", []byte(`{"by":"fault"}`), nil)
}

// owner returns the process of the node that owns a shard; nil when it does not
// run.
func (s *stage) owner(shard job.ShardID) *process {
	s.c.takeovers.mu.Lock()
	node := s.c.takeovers.owners[shard]
	s.c.takeovers.mu.Unlock()
	for _, p := range s.c.running() {
		if p.name == string(node) {
			return p
		}
	}
	return nil
}

// nodeOf returns the process of the node that a minion is connected to.
func (s *stage) nodeOf(ctx context.Context, id job.MinionID) (*process, error) {
	minions, err := s.c.api.minions(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range minions {
		for _, p := range s.c.schedulers {
			if m.ID == id && string(m.Node) == p.name {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("minion %s is connected to no node", id)
}

// without returns an api that asks all nodes but one.
func (s *stage) without(node *process) *apiClient {
	a := &apiClient{http: s.c.api.http}
	for i, p := range s.c.schedulers[:schedulerCount] {
		if p != node {
			a.nodes = append(a.nodes, s.c.api.nodes[i])
		}
	}
	return a
}

// back starts a node again and waits until it is ready.
func (s *stage) back(ctx context.Context, p *process) error {
	if err := p.start(); err != nil {
		return err
	}
	return until(ctx, func() error {
		for i, q := range s.c.schedulers[:schedulerCount] {
			if q == p {
				return s.c.api.askNode(ctx, s.c.api.nodes[i], http.MethodGet, "/readyz", nil, nil)
			}
		}
		return fmt.Errorf("%s is not a scheduler", p.name)
	})
}

// tick applies a job that is due every second on all hosts, or pauses it.
func (s *stage) tick(ctx context.Context, enabled bool) error {
	spec := fanout{on: on()}.spec(s.marks)
	spec["schedules"], spec["enabled"], spec["overlap"] = []string{every}, enabled, job.OverlapAllow
	var file bytes.Buffer
	documentIn(&file, s.name, job.KindJob, "tick", spec)
	_, err := s.c.api.apply(ctx, file.Bytes())
	return err
}

// documentIn writes a document of a manifest.
func documentIn(to *bytes.Buffer, namespace, kind, name string, spec any) {
	to.WriteString("---\n")
	// A buffer does not fail, and all of this can be written as JSON.
	_ = json.NewEncoder(to).Encode(map[string]any{
		"apiVersion": job.APIVersion, "kind": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name}, "spec": spec,
	})
}
