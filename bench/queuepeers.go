package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// queueRivals measures how many items a second go through a queue here, through asynq on a
// Redis and through river on a PostgreSQL, in turns, each with a store of its own that has
// each write on its disk before it answers.
type queueRivals struct {
	ours, theirs int // items per round
	places       int // of each of our workers
	workers      int // of each peer
	// peer, unless empty, is a program that stands for both.
	peer string
}

func (b queueRivals) measure(ctx context.Context, e *env) error {
	dir, err := os.MkdirTemp("", "carillon-queues-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := b.peer
	if program == "" {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's account goes through it
			return err
		}
		if program, err = buildProgram(ctx, "queuepeer", dir); err != nil {
			return err
		}
	}
	var ours, asynq, river []float64
	versions := map[string]string{}
	side := func(name string, rates *[]float64, start func(context.Context, *env, string) (string, func(), error)) func(context.Context) error {
		return func(ctx context.Context) error {
			address, stop := "", func() {}
			if b.peer == "" {
				if address, stop, err = start(ctx, e, dir); err != nil {
					return fmt.Errorf("start the store of %s: %w", name, err)
				}
			}
			defer stop()
			rate, version, err := b.through(ctx, program, name, address)
			*rates, versions[name] = append(*rates, rate), version
			return err
		}
	}
	if err := e.inTurns(ctx,
		func(ctx context.Context) error {
			store, err := startEtcd(ctx, e)
			if err != nil {
				return err
			}
			defer store.close()
			rate, err := queueTasks{count: b.ours, places: b.places}.round(ctx, e, store.Client, etcdkv.NewKeys("/bench"))
			ours = append(ours, rate)
			return err
		},
		side("asynq", &asynq, startRedis),
		side("river", &river, startPostgres),
	); err != nil {
		return err
	}
	for _, p := range []struct {
		name, how string
		rates     []float64
	}{
		{"asynq", "Redis with appendfsync always, tasks put one by one", asynq},
		{"river", "PostgreSQL with fsync and synchronous_commit on, tasks put 50 at a time", river},
	} {
		if err := e.report("queue_"+p.name+"_per_s", "items/s", p.rates, fmt.Sprintf(
			"%s %s, %d no-op tasks, %d that put and %d workers; %s", p.name, versions[p.name], b.theirs, queuePutters, b.workers, p.how)); err != nil {
			return err
		}
		if err := e.ratio("queue_vs_"+p.name, ours, p.rates, "of the peer's rate; ours with etcd, which syncs each write"); err != nil {
			return err
		}
	}
	return nil
}

// through is a round of a peer.
func (b queueRivals) through(ctx context.Context, program, name, address string) (float64, string, error) {
	run := exec.CommandContext(ctx, program, name, address, strconv.Itoa(b.theirs), strconv.Itoa(b.workers))
	run.Stderr = os.Stderr
	begun := time.Now()
	out, err := run.Output()
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", name, err)
	}
	if b.peer != "" {
		return float64(b.theirs) / time.Since(begun).Seconds(), b.peer, nil
	}
	var r peerResult
	err = json.Unmarshal(out, &r)
	return r.PerSecond, r.Version, err
}

// serve starts a store, and waits until it takes connections.
func serve(ctx context.Context, e *env, cmd *exec.Cmd, network, address string) (func(), error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var why error
	go func() { defer close(ended); why = cmd.Wait() }()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it has ended, perhaps
		<-ended
	}
	err := e.until(ctx, "connect to "+address, func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("it has ended: %w", errors.Join(why, errors.New(cmd.String())))
		default:
		}
		c, err := net.Dial(network, address)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// startRedis starts a Redis that syncs each write, and returns its address.
func startRedis(ctx context.Context, e *env, dir string) (string, func(), error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, fmt.Errorf("redis-server is missing, and with it the comparison; install Debian's package redis-server: %w", err)
	}
	data, err := os.MkdirTemp(dir, "redis-")
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, program, "--port", port, "--bind", "127.0.0.1", "--dir", data, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	stop, err := serve(ctx, e, cmd, "tcp", address)
	return address, stop, err
}

// startPostgres starts a PostgreSQL that syncs each commit, and returns its URL.
func startPostgres(ctx context.Context, e *env, dir string) (string, func(), error) {
	const missing = "PostgreSQL is missing, and with it the comparison; install Debian's package postgresql"
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", nil, errors.New(missing)
	}
	bin := found[len(found)-1]
	data, err := os.MkdirTemp(dir, "postgres-")
	if err != nil {
		return "", nil, err
	}
	// It does not run as root.
	var as *syscall.SysProcAttr
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", missing, err)
		}
		uid, err1 := strconv.Atoi(account.Uid)
		gid, err2 := strconv.Atoi(account.Gid)
		if err := errors.Join(err1, err2, os.Chown(data, uid, gid)); err != nil {
			return "", nil, err
		}
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids of accounts
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(data, "db"), "-U", "bench", "-A", "trust")
	initdb.SysProcAttr, initdb.Dir = as, data
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "-D", filepath.Join(data, "db"), "-k", data,
		"-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_connections=200")
	cmd.SysProcAttr, cmd.Dir = as, data
	stop, err := serve(ctx, e, cmd, "unix", filepath.Join(data, ".s.PGSQL.5432"))
	if err != nil {
		return "", nil, err
	}
	// It takes connections before it has read its log, and refuses them.
	if err := e.until(ctx, "PostgreSQL is ready", func() (bool, error) {
		return exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-q", "-h", data, "-U", "bench", "-d", "postgres").Run() == nil, nil
	}); err != nil {
		stop()
		return "", nil, err
	}
	return fmt.Sprintf("postgres:///postgres?host=%s&user=bench&pool_max_conns=20", data), stop, err
}

// buildProgram builds a peer, a module of its own, into a directory.
func buildProgram(ctx context.Context, name, dir string) (string, error) {
	_, here, _, _ := runtime.Caller(0)
	program := filepath.Join(dir, name)
	build := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(filepath.Dir(here), name), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, out)
	}
	return program, nil
}
