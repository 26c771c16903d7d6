package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdArgument makes this program run the cluster's etcd.
const etcdArgument = "etcd-server"

func runEtcd(dir, endpoint string) error {
	client, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	peer := url.URL{Scheme: "unix", Host: "localhost:" + fmt.Sprint(os.Getpid())}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 100, 1000
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer srv.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.Err():
		return err
	}
}

// process is one member of the cluster, which can be started again.
type process struct {
	name string
	args []string
	log  string
	// api is a scheduler's address, empty for others.
	api string

	mu  sync.Mutex // guards cmd
	cmd *exec.Cmd
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.args[0], p.args[1:]...) //nolint:gosec,noctx // our own binaries, killed by name
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, filepath.Dir(p.log)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd = cmd
	return nil
}

// signal sends a signal and waits until the process has ended.
func (p *process) signal(sig os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// cluster is the processes of a run.
type cluster struct {
	dir        string
	etcd       *process
	schedulers []*process
	workers    []*process
	client     *clientv3.Client
	http       *http.Client
	verbose    bool
}

func (c *cluster) say(format string, args ...any) {
	if c.verbose {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
	}
}

// startCluster builds the binaries and starts the processes.
func startCluster(ctx context.Context, o options) (_ *cluster, err error) {
	c := &cluster{verbose: o.verbose, http: &http.Client{Timeout: 10 * time.Second}}
	if c.dir, err = os.MkdirTemp("", "carillon-fault-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.stop(true)
		}
	}()
	build := exec.CommandContext(ctx, "go", "build", "-o", c.dir+"/bin/", "github.com/carillon-cron/carillon/cmd/scheduler", "github.com/carillon-cron/carillon/cmd/worker")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + ports[0]
	c.etcd = c.process("etcd", self, etcdArgument, filepath.Join(c.dir, "etcd"), endpoint)
	var servers []string
	for i := range 3 {
		name := fmt.Sprintf("s%d", i+1)
		p := c.process(name, c.dir+"/bin/scheduler", "--etcd-endpoints", endpoint, "--node", name,
			"--listen", ports[1+2*i], "--peer-listen", ports[2+2*i], "--data-dir", filepath.Join(c.dir, name),
			"--lease-ttl", "3s", "--history-per-job", "1000")
		p.api = "http://" + ports[1+2*i]
		c.schedulers = append(c.schedulers, p)
		servers = append(servers, ports[2+2*i])
	}
	for i := range 2 {
		name := fmt.Sprintf("w%d", i+1)
		c.workers = append(c.workers, c.process(name, c.dir+"/bin/worker", "--servers", strings.Join(servers, ","),
			"--id", name, "--data-dir", filepath.Join(c.dir, name)))
	}
	if c.client, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()}); err != nil {
		return nil, err
	}
	if err := c.etcd.start(); err != nil {
		return nil, err
	}
	for _, p := range append(append([]*process{}, c.schedulers...), c.workers...) {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	return c, c.awaitReady(ctx)
}

func (c *cluster) process(name string, args ...string) *process {
	return &process{name: name, args: args, log: filepath.Join(c.dir, name+".log")}
}

// awaitReady waits until all schedulers are ready and both workers connected.
func (c *cluster) awaitReady(ctx context.Context) error {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		ready := 0
		for _, p := range c.schedulers {
			if resp, err := c.http.Get(p.api + "/readyz"); err == nil { //nolint:noctx // bounded by the client
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					ready++
				}
			}
		}
		var m struct{ Minions []struct{ State string } }
		if ready == len(c.schedulers) && c.get(ctx, "/v1/minions", &m) == nil && len(m.Minions) == len(c.workers) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("cluster not ready after a minute; logs are in %s", c.dir)
}

// stop kills everything and removes the files, unless keep.
func (c *cluster) stop(keep bool) {
	for _, p := range append(append(append([]*process{}, c.workers...), c.schedulers...), c.etcd) {
		if p != nil {
			p.signal(syscall.SIGKILL)
		}
	}
	if c.client != nil {
		_ = c.client.Close()
	}
	// The workers' shims outlive them; they know their directory.
	_ = exec.Command("pkill", "-KILL", "-f", c.dir).Run() //nolint:gosec,noctx // our own directory
	if keep {
		fmt.Fprintln(os.Stderr, "logs and data are kept in", c.dir)
		return
	}
	_ = os.RemoveAll(c.dir)
}

// get asks the first scheduler that answers.
func (c *cluster) get(ctx context.Context, path string, into any) error {
	var errs []error
	for _, p := range c.schedulers {
		err := c.ask(ctx, http.MethodGet, p.api+path, nil, into)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *cluster) ask(ctx context.Context, method, address string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.500s", method, address, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

// freePorts returns loopback addresses that are free now.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
