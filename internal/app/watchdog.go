package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/backoff"
)

// WatchdogArg is the hidden first argument by which the scheduler runs its own
// program as its watchdog.
const WatchdogArg = "watchdog"

// watchdog is a second process that revokes the node's lease when the node's
// process dies, so that its shards are free at once and not only when the lease
// ends. It learns of the death from the kernel, which closes the pipe between
// them; so it says nothing of a node that merely stands still.
type watchdog struct {
	log *zap.Logger
	// again asks for another process.
	again chan struct{}

	mu    sync.Mutex // guards all below
	etcd  configs.Etcd
	pipe  io.WriteCloser
	lease clientv3.LeaseID
}

// watchdogRestart is the pause before a watchdog that ended is started again.
const watchdogRestart = time.Second

// run keeps a watchdog process until ctx ends.
func (w *watchdog) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.once(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("watchdog ended, starting another", zap.Error(err))
		}
		backoff.Sleep(ctx, watchdogRestart)
	}
}

// once runs one process. It ends in peace when ctx does.
func (w *watchdog) once(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	cmd := exec.Command(self, WatchdogArg) // it outlives us, on purpose
	cmd.Stderr = os.Stderr
	// Away from the terminal's signals: Ctrl-C is for the node.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w.mu.Lock()
	settings, err := json.Marshal(w.etcd)
	if err != nil {
		w.mu.Unlock()
		_ = pipe.Close()
		return errors.Join(err, cmd.Wait())
	}
	w.pipe = pipe
	_, err = fmt.Fprintf(pipe, "%s\n%x\n", settings, int64(w.lease))
	w.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which ends with the pipe
	if err == nil {
		select {
		case <-ctx.Done():
		case <-w.again:
		case err = <-ended:
			ended <- err
		}
	}
	w.mu.Lock()
	_, _ = fmt.Fprintf(pipe, "0\n") // nothing to revoke: we give the lease back ourselves
	_ = pipe.Close()
	w.pipe = nil
	w.mu.Unlock()
	return errors.Join(err, <-ended)
}

// follow has the watchdog go by other endpoints.
func (w *watchdog) follow(endpoints []string) {
	w.mu.Lock()
	w.etcd.Endpoints = endpoints
	w.mu.Unlock()
	select {
	case w.again <- struct{}{}:
	default: // it is asked to already
	}
}

// guard tells the watchdog which lease to revoke; 0: none.
func (w *watchdog) guard(lease clientv3.LeaseID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lease = lease
	if w.pipe == nil {
		return
	}
	if _, err := fmt.Fprintf(w.pipe, "%x\n", int64(lease)); err != nil {
		w.log.Warn("watchdog not told of the lease", zap.Error(err))
	}
}

// watchdogTries bounds how long the watchdog tries: the lease ends by itself
// meanwhile.
const watchdogTries = 30 * time.Second

// RunWatchdog is the watchdog's process: it reads the settings of etcd and then
// leases from in, one a line, and revokes the last one when in ends.
func RunWatchdog(in io.Reader) error {
	runtime.GOMAXPROCS(1) // it waits all its life
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.New("watchdog: no settings")
	}
	var settings configs.Etcd
	if err := json.Unmarshal(lines.Bytes(), &settings); err != nil {
		return fmt.Errorf("watchdog: settings: %w", err)
	}
	client, err := dialEtcd(context.Background(), settings.Endpoints, settings, startTimeout, zap.NewNop())
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer func() { _ = client.Close() }()
	client.ActiveConnection().Connect() // now, not when it is needed
	var lease int64
	for lines.Scan() {
		if lease, err = strconv.ParseInt(strings.TrimSpace(lines.Text()), 16, 64); err != nil {
			return fmt.Errorf("watchdog: lease: %w", err)
		}
	}
	if lease == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), watchdogTries)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, time.Second)
		_, err := client.Revoke(once, clientv3.LeaseID(lease))
		stop()
		if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
