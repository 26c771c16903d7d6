package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/worker"
)

// build builds one of the commands into a directory.
func build(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/carillon-cron/carillon/cmd/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return program, nil
}

// idleMinions measures the memory of real worker processes that are connected
// and have nothing to do. Each is a round.
type idleMinions struct {
	count int
	idle  time.Duration // after they have come
}

func (b idleMinions) measure(ctx context.Context, e *env) error {
	f, err := startFarm(ctx, e, 1, nodeSettings{})
	if err != nil {
		return err
	}
	defer f.close()
	program, err := build(ctx, f.dir, "worker")
	if err != nil {
		return err
	}
	token, err := f.auth.CreateToken(ctx, registrar.TokenSpec{Uses: b.count, By: "bench"})
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
	for i := range b.count {
		id := string(minionName(i))
		m := exec.CommandContext(ctx, program, "--servers", f.servers()[0], "--id", id,
			"--data-dir", filepath.Join(f.dir, id), "--join-token", token.Text(), "--log-level", "error")
		m.Stderr = os.Stderr
		if err := m.Start(); err != nil {
			return err
		}
		minions = append(minions, m)
	}
	if err := f.awaitPresent(ctx, b.count, 0); err != nil {
		return err
	}
	if err := pause(ctx, b.idle); err != nil {
		return err
	}
	var resident []float64
	for _, m := range minions {
		n, err := residentOf(strconv.Itoa(m.Process.Pid))
		if err != nil {
			return err
		}
		resident = append(resident, float64(n)/1000)
	}
	return e.report("minion_rss_kb", "kB", resident, fmt.Sprintf(
		"of resident memory, each round one worker process, connected by mutual TLS and idle for %v (the pages of the program that all share included)", b.idle))
}

// fleetSpec is what a process of real minions is told.
type fleetSpec struct {
	Server, Dir  string
	First, Count int
	Authority    authority
}

// runFleet runs real minions, each with journal, spool and shim of its own, in
// one process.
func runFleet(ctx context.Context, spec fleetSpec, _ <-chan string) error {
	me, err := self()
	if err != nil {
		return err
	}
	errs := make([]error, spec.Count)
	var running sync.WaitGroup
	for i := range spec.Count {
		id := minionName(spec.First + i)
		transport, err := spec.Authority.transport(id)
		if err != nil {
			return err
		}
		m, err := worker.New(worker.Config{
			ID: id, DataDir: filepath.Join(spec.Dir, string(id)), Servers: []string{spec.Server},
			ShimCommand: []string{me, shimRole}, ShimIdle: shimIdle, Cgroup: worker.NoCgroup, Version: "bench",
		}, worker.Deps{Transport: transport})
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

// execAgainstClush measures `carillon exec` of a command that does nothing on so
// many real minions, and the same by clush on this host, in turns.
type execAgainstClush struct {
	peer      string // the program
	minions   int
	processes int
	pause     time.Duration // after each command
	built     bool          // run the real program, and not this one in its role
}

func (b execAgainstClush) measure(ctx context.Context, e *env) error {
	clush, err := exec.LookPath(b.peer)
	if err != nil {
		return fmt.Errorf("clush is missing, and with it the comparison; install Debian's package clustershell: %w", err)
	}
	f, err := startFarm(ctx, e, 1, nodeSettings{})
	if err != nil {
		return err
	}
	defer f.close()
	carillon, err := b.carillon(ctx, f.dir)
	if err != nil {
		return err
	}
	fleet, err := b.fleet(ctx, f)
	defer fleet.stop()
	if err != nil {
		return err
	}
	hosts := fmt.Sprintf("m[00000-%05d]", b.minions-1)
	var ours, theirs []float64
	side := func(into *[]float64, argv ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			s, err := timed(ctx, argv)
			*into = append(*into, s)
			if err != nil {
				return err
			}
			return pause(ctx, b.pause)
		}
	}
	us := side(&ours, append(carillon, "exec", "--server", f.api(), "--target", hosts, "--", "true")...)
	if err := us(ctx); err != nil { // it warms up
		return err
	}
	ours = nil
	if err := e.inTurns(ctx, us, side(&theirs, clush, "-R", "exec", "-f", "64", "-w", hosts, "true")); err != nil {
		return err
	}
	name := "exec_" + thousands(b.minions)
	if err := e.report(name+"_s", "s", ours, fmt.Sprintf(
		"of `carillon exec -- true` on %d real minions, each with journal, fsync, shim and mutual TLS, in %d processes on this host", b.minions, len(fleet))); err != nil {
		return err
	}
	if err := e.report(name+"_clush_s", "s", theirs, fmt.Sprintf("of `clush -R exec -f 64 -w %s true` on this host, which connects nowhere", hosts)); err != nil {
		return err
	}
	return e.ratio("exec_vs_clush", ours, theirs, "of its time (below 1: ours is faster)")
}

// carillon is the command line that runs carillon.
func (b execAgainstClush) carillon(ctx context.Context, dir string) ([]string, error) {
	if b.built {
		program, err := build(ctx, dir, "carillon")
		return []string{program}, err
	}
	me, err := self()
	return []string{me, "carillon"}, err
}

// fleet starts the real minions, and waits until they are in the presence.
func (b execAgainstClush) fleet(ctx context.Context, f *farm) (fleet swarms, err error) {
	a, err := f.credentials()
	if err != nil {
		return nil, err
	}
	each := (b.minions + b.processes - 1) / b.processes
	for first := 0; first < b.minions; first += each {
		p, err := start(ctx, "fleet", fleetSpec{
			Server: f.servers()[0], First: first, Count: min(each, b.minions-first), Dir: filepath.Join(f.dir, "minions"), Authority: a,
		})
		if err != nil {
			return fleet, err
		}
		fleet = append(fleet, p)
	}
	return fleet, f.awaitPresent(ctx, b.minions, 0)
}

// timed returns how many seconds a command took that must succeed.
func timed(ctx context.Context, argv []string) (float64, error) {
	begun := time.Now()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%v: %w: %s", argv, err, bytes.TrimSpace(out[max(0, len(out)-500):]))
	}
	return time.Since(begun).Seconds(), nil
}
