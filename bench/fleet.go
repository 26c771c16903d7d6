package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/worker"
)

// build builds one of the commands into a directory.
func build(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/carillon-cron/carillon/cmd/"+name) //nolint:gosec // our own
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return program, nil
}

// idleMinions is how many worker processes minionMemory looks at.
const idleMinions = 5

// minionMemory measures the memory of real worker processes that are connected
// and have nothing to do.
func minionMemory(ctx context.Context) error {
	f, err := startFarm(ctx, 1)
	if err != nil {
		return err
	}
	defer f.close()
	program, err := build(ctx, f.dir, "worker")
	if err != nil {
		return err
	}
	token, err := f.auth.CreateToken(ctx, registrar.TokenSpec{Uses: idleMinions, By: "bench"})
	if err != nil {
		return err
	}
	var minions []*exec.Cmd
	defer func() {
		for _, m := range minions {
			_ = m.Process.Signal(syscall.SIGTERM)
			_ = m.Wait()
		}
	}()
	for i := range idleMinions {
		id := string(minionName(i))
		m := exec.CommandContext(ctx, program, "--servers", f.servers()[0], "--id", id, //nolint:gosec // what we built
			"--data-dir", filepath.Join(f.dir, id), "--join-token", token.Text(), "--log-level", "error")
		m.Stderr = os.Stderr
		if err := m.Start(); err != nil {
			return err
		}
		minions = append(minions, m)
	}
	if err := f.awaitPresent(ctx, idleMinions, 0, time.Minute); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	var rss []float64
	for _, m := range minions {
		n, err := residentOf(strconv.Itoa(m.Process.Pid))
		if err != nil {
			return err
		}
		rss = append(rss, float64(n)/1000)
	}
	report("minion_rss_kb", median(rss), fmt.Sprintf("kB of resident memory, median of %d worker processes, connected by mutual TLS and idle for 10 s (the pages of the program that all share included)", len(rss)))
	return nil
}

// fleetSpec is what a process of real minions is told.
type fleetSpec struct {
	Server       string
	First, Count int
	CA, Key, Dir string
}

// runFleet runs real minions, each with journal, spool and shim of its own, in
// one process.
func runFleet(ctx context.Context, text json.RawMessage, _ <-chan string) error {
	var spec fleetSpec
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	ca, err := auth.ParseAuthority([]byte(spec.CA), []byte(spec.Key))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	errs := make([]error, spec.Count)
	var running sync.WaitGroup
	for i := range spec.Count {
		id := minionName(spec.First + i)
		conf, err := minionTLS(ca, id)
		if err != nil {
			return err
		}
		m, err := worker.New(worker.Config{
			ID: id, DataDir: filepath.Join(spec.Dir, string(id)), Servers: []string{spec.Server},
			ShimCommand: []string{self, shimArgument}, ShimIdle: 10 * time.Minute, Cgroup: worker.NoCgroup, Version: "bench",
		}, worker.Deps{Transport: credentials.NewTLS(conf)})
		if err != nil {
			return err
		}
		running.Go(func() { errs[i] = m.Run(ctx) })
		// One after the other: hosts start their shims each on its own.
		for !m.Status().Shim && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
	running.Wait()
	return errors.Join(errs...)
}

const (
	clushMinions   = 1000
	clushRounds    = 5
	fleetProcesses = 4
)

// execAgainstClush measures `carillon exec` of a command that does nothing on
// 1,000 minions, and the same by clush on this host, in turns.
func execAgainstClush(ctx context.Context) error {
	peer, err := exec.LookPath("clush")
	if err != nil {
		return fmt.Errorf("clush is missing, and with it the comparison; install Debian's package clustershell: %w", err)
	}
	return execAgainst(ctx, peer, clushMinions, clushRounds)
}

func execAgainst(ctx context.Context, clush string, count, rounds int) error {
	f, err := startFarm(ctx, 1)
	if err != nil {
		return err
	}
	defer f.close()
	program, err := build(ctx, f.dir, "carillon")
	if err != nil {
		return err
	}
	key, err := f.auth.Authority().KeyPEM()
	if err != nil {
		return err
	}
	var fleet swarms
	defer func() { fleet.stop() }()
	each := (count + fleetProcesses - 1) / fleetProcesses
	for first := 0; first < count; first += each {
		p, err := start(ctx, "fleet", fleetSpec{
			Server: f.servers()[0], First: first, Count: min(each, count-first), Dir: filepath.Join(f.dir, "minions"),
			CA: string(f.auth.Authority().CertificatePEM()), Key: string(key),
		})
		if err != nil {
			return err
		}
		fleet = append(fleet, p)
	}
	if err := f.awaitPresent(ctx, count, 0, 5*time.Minute); err != nil {
		return err
	}
	var ours, theirs []float64
	for i := range rounds + 1 {
		hosts := fmt.Sprintf("m[00000-%05d]", count-1)
		a, err := timed(ctx, program, "exec", "--server", f.api(), "--target", hosts, "--", "true")
		if err != nil {
			return err
		}
		time.Sleep(roundPause)
		b, err := timed(ctx, clush, "-R", "exec", "-f", "64", "-w", hosts, "true")
		if err != nil {
			return err
		}
		if i == 0 {
			continue // it warms up
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	name := "exec_" + thousands(count)
	report(name+"_s", median(ours), fmt.Sprintf("s of `carillon exec -- true` on %d real minions, each with journal, fsync, shim and mutual TLS, in %d processes on this host; median of %d (%.2f to %.2f)", count, len(fleet), len(ours), slices.Min(ours), slices.Max(ours)))
	report(name+"_clush_s", median(theirs), fmt.Sprintf("s of `clush -R exec -f 64 -w m[00000-%05d] true` on this host, which connects nowhere; median of %d (%.2f to %.2f)", count-1, len(theirs), slices.Min(theirs), slices.Max(theirs)))
	report("exec_vs_clush", median(ours)/median(theirs), "x (below 1: ours is faster)")
	return nil
}

// timed returns how many seconds a command took that must succeed.
func timed(ctx context.Context, name string, args ...string) (float64, error) {
	begun := time.Now()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // our own arguments
	if err != nil {
		return 0, fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(out[max(0, len(out)-500):]))
	}
	return time.Since(begun).Seconds(), nil
}
