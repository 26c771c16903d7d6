package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The peer is offered more than twice of what it was seen to do, and runs as
// its users run it: three instances that share the jobs.
const (
	peerJobs      = 30_000
	peerInstances = 3
	peerSeconds   = 10
)

// firesAgainstPeer measures the fires of this engine and those of go-etcd-cron,
// one after the other, each against an etcd of its own.
func firesAgainstPeer(ctx context.Context) error {
	ours, err := committedPerSecond(ctx)
	if err != nil {
		return err
	}
	theirs, err := peerFires(ctx)
	if err != nil {
		return err
	}
	report("fires_committed_per_s", ours, "fires/s")
	report("fires_committed_offered_per_s", committedJobs, "fires/s")
	report("fires_go_etcd_cron_per_s", theirs, "fires/s (v0.10.0, 3 instances, no-op triggers)")
	report("fires_go_etcd_cron_offered_per_s", peerJobs, "fires/s")
	report("fires_vs_go_etcd_cron", ours/theirs, "x")
	return nil
}

// peerFires builds and runs the peer, a module of its own.
func peerFires(ctx context.Context) (float64, error) {
	dir, err := os.MkdirTemp("", "carillon-peer-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "peer")
	build := exec.CommandContext(ctx, "go", "build", "-C", "bench/peer", "-o", program, ".") //nolint:gosec // our own module
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the peer (run from the top of the repository): %w: %s", err, bytes.TrimSpace(out))
	}
	c, stopEtcd, err := startEtcd(ctx)
	if err != nil {
		return 0, err
	}
	defer stopEtcd()
	run := exec.CommandContext(ctx, program, c.Endpoints()[0], strconv.Itoa(peerJobs), strconv.Itoa(peerInstances), strconv.Itoa(peerSeconds)) //nolint:gosec // what we built
	run.Stderr = os.Stderr
	out, err := run.Output()
	if err != nil {
		return 0, fmt.Errorf("peer: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
