package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// rivals measures the fires of this engine and those of go-etcd-cron in turns,
// each against an etcd of its own. Each side is offered more than twice of what
// it was seen to do; the peer runs as its users run it, with three instances that
// share the jobs.
type rivals struct {
	ours, theirs int // jobs, each due every second
	instances    int // of the peer
	window       time.Duration
}

func (b rivals) measure(ctx context.Context, e *env) error {
	dir, err := os.MkdirTemp("", "carillon-peer-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	peer, err := buildProgram(ctx, "peer", dir)
	if err != nil {
		return err
	}
	var ours, theirs []float64
	var version string
	if err := e.inTurns(ctx,
		func(ctx context.Context) error {
			rate, err := committedPerSecond(ctx, e, b.ours, b.window)
			ours = append(ours, rate)
			return err
		},
		func(ctx context.Context) error {
			r, err := b.peerFires(ctx, e, peer)
			theirs, version = append(theirs, r.PerSecond), r.Version
			return err
		},
	); err != nil {
		return err
	}
	if err := e.report("fires_committed_per_s", "fires/s", ours, fmt.Sprintf(
		"planned, committed, dispatched and closed; one engine, no-op minions, %d offered", b.ours)); err != nil {
		return err
	}
	if err := e.report("fires_go_etcd_cron_per_s", "fires/s", theirs, fmt.Sprintf(
		"go-etcd-cron %s, %d instances, no-op triggers, %d offered", version, b.instances, b.theirs)); err != nil {
		return err
	}
	return e.ratio("fires_vs_go_etcd_cron", ours, theirs, "of the peer's rate")
}

// peerResult is what the peer prints.
type peerResult struct {
	Version   string
	PerSecond float64
}

// peerFires runs the peer.
func (b rivals) peerFires(ctx context.Context, e *env, program string) (r peerResult, err error) {
	store, err := startEtcd(ctx, e)
	if err != nil {
		return r, err
	}
	defer store.close()
	run := exec.CommandContext(ctx, program, store.endpoint, strconv.Itoa(b.theirs), strconv.Itoa(b.instances), b.window.String())
	run.Stderr = os.Stderr
	out, err := run.Output()
	if err != nil {
		return r, fmt.Errorf("peer: %w", err)
	}
	return r, json.Unmarshal(out, &r)
}
