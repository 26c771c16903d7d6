package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/worker"
)

// minionArgument makes this program run a minion with a Go handler that does
// nothing; shimArgument is its supervisor.
const (
	minionArgument = "minion"
	shimArgument   = "shim"
)

// runMinion runs a minion until it is told to end; then it writes how late its
// tasks began, in milliseconds, as JSON.
func runMinion(dir, server string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var late []float64
	m, err := worker.New(worker.Config{
		ID: "bench", DataDir: dir, Servers: []string{server}, ShimCommand: []string{self, shimArgument}, MaxRunning: 8192,
	}, worker.Deps{Handlers: map[string]worker.Handler{
		"noop": func(_ context.Context, c *worker.Call) error {
			ms := float64(time.Since(c.ScheduledAt).Microseconds()) / 1000
			mu.Lock()
			late = append(late, ms)
			mu.Unlock()
			return nil
		},
	}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := m.Run(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(late)
}

// cluster is a node in this process, with etcd and a minion in processes of
// their own.
type cluster struct {
	client   *clientv3.Client
	stopEtcd func()
	stopNode func() error
	api      string
	minion   *exec.Cmd
	out      *bufio.Reader
	dir      string
}

// perJob is how many records the history keeps of a job: few, as jobs are due
// often.
const perJob = 10

func startCluster(ctx context.Context) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.client, c.stopEtcd, err = startEtcd(ctx); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return nil, err
	}
	cfg := configs.DefaultScheduler()
	cfg.Node, cfg.DataDir, cfg.Shards = "bench", filepath.Join(c.dir, "node"), shards
	cfg.Listen, cfg.PeerListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Etcd.Endpoints, cfg.LeaseTTL, cfg.History.PerJob = c.client.Endpoints(), 30*time.Second, perJob
	cfg.MisfireGrace = time.Hour
	node, err := app.Open(ctx, cfg, app.Build{Version: "bench"}, zap.NewNop())
	if err != nil {
		return nil, err
	}
	c.api = "http://" + node.APIAddr()
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Run(running, nil) }()
	c.stopNode = func() error { cancel(); return <-ended }
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c.minion = exec.CommandContext(ctx, self, minionArgument, filepath.Join(c.dir, "minion"), node.PeerAddr()) //nolint:gosec // ourselves
	c.minion.Stderr = os.Stderr
	pipe, err := c.minion.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(pipe)
	if err := c.minion.Start(); err != nil {
		return nil, err
	}
	return c, until(ctx, 30*time.Second, func() bool {
		n, err := c.metric("carillon_minions_connected")
		return err == nil && n == 1
	})
}

// lateness ends the minion and returns how late its tasks began, sorted.
func (c *cluster) lateness() ([]float64, error) {
	if err := c.minion.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	var late []float64
	err := json.NewDecoder(c.out).Decode(&late)
	slices.Sort(late)
	return late, errors.Join(err, c.minion.Wait())
}

func (c *cluster) close() {
	if c.minion != nil && c.minion.Process != nil {
		_ = c.minion.Process.Kill()
		_ = c.minion.Wait()
	}
	if c.stopNode != nil {
		_ = c.stopNode()
	}
	if c.stopEtcd != nil {
		c.stopEtcd()
	}
	_ = os.RemoveAll(c.dir)
}

// metric adds up the node's metrics of a name, which may end in labels.
func (c *cluster) metric(name string) (float64, error) {
	res, err := http.Get(c.api + "/metrics") //nolint:noctx // our own node
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	sum := 0.0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		text, value, _ := strings.Cut(lines.Text(), " ")
		if text == name || strings.HasPrefix(text, name+"{") {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum += v
		}
	}
	return sum, lines.Err()
}

// written returns how many run records are in history.
func (c *cluster) written() (float64, error) {
	return c.metric(`carillon_history_records_total{result="written"}`)
}

// endToEndJobs is how many jobs are due every second in endToEnd: more than a
// node, a minion and etcd can do together on two cores.
const endToEndJobs = 60_000

// endToEnd measures how many fires a second go all the way: planned, committed,
// sent to a minion, journaled there, run, reported, and written to history.
func endToEnd(ctx context.Context) error {
	c, err := startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err := putCommands(ctx, c.client, endToEndJobs, "@every 1s"); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, func() bool { n, err := c.written(); return err == nil && n > endToEndJobs }); err != nil {
		return err
	}
	const window = 15 * time.Second
	from, err := c.written()
	if err != nil {
		return err
	}
	rev, err := c.revision(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	time.Sleep(window)
	to, err := c.written()
	if err != nil {
		return err
	}
	took := time.Since(begun)
	rev2, err := c.revision(ctx)
	if err != nil {
		return err
	}
	report("fires_end_to_end_per_s", (to-from)/took.Seconds(), "fires/s (no-op Go handler on one minion, journaled and in history; one node)")
	report("etcd_writes_per_1000_fires", float64(rev2-rev)/(to-from)*1000, "transactions (commits, closing and history, at that rate)")
	return nil
}

// revision returns etcd's revision: each write is one.
func (c *cluster) revision(ctx context.Context) (int64, error) {
	r, err := c.client.Get(ctx, "revision")
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// latenesses measures how late tasks begin on their minion at two rates.
func latenesses(ctx context.Context) error {
	for _, rate := range []int{1000, 10_000} {
		if err := latenessAt(ctx, rate); err != nil {
			return err
		}
	}
	return nil
}

func latenessAt(ctx context.Context, rate int) error {
	c, err := startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err := putCommands(ctx, c.client, rate/10, "@every 100ms"); err != nil {
		return err
	}
	const window = 15 * time.Second
	time.Sleep(window)
	written, err := c.written()
	if err != nil {
		return err
	}
	late, err := c.lateness()
	if err != nil {
		return err
	}

	if len(late) < rate*5 {
		return fmt.Errorf("only %d tasks ran in %v", len(late), window)
	}
	what := fmt.Sprintf("ms from instant to start on the minion, at %d fires/s in ten bursts a second (%.0f/s were written to history)", rate, written/window.Seconds())
	report(fmt.Sprintf("lateness_ms_p50_at_%d_per_s", rate), late[len(late)/2], what)
	report(fmt.Sprintf("lateness_ms_p99_at_%d_per_s", rate), late[len(late)*99/100], what)
	return nil
}

// putCommands stores jobs that call the minion's handler.
func putCommands(ctx context.Context, c *clientv3.Client, count int, expr string) error {
	return putJobsWith(ctx, c, etcdkv.NewKeys(""), count, func(int) string { return expr }, []string{worker.HandlerPrefix + "noop"})
}
