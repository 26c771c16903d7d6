package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/testkit/netproxy"
	"github.com/carillon-cron/carillon/internal/testkit/reap"
	"github.com/carillon-cron/carillon/scheduler"
	"github.com/carillon-cron/carillon/test/fault/faults"
)

// The size of the cluster, and the lease of its nodes.
const (
	schedulerCount = 3
	schedulerMost  = 5 // defined; the others are started when there are to be more
	shardCount     = 64
	workerCount    = 2
	leaseTTL       = 3 * time.Second
	defaultTTL     = scheduler.DefaultLeaseTTL // where nodes have their default settings
)

// cluster is the processes, and what looks at them.
type cluster struct {
	own        bool     // the schedulers keep the data themselves
	builds     []string // of the scheduler, where nodes change from one to another
	dir        string   // everything is below it
	bin        string   // the programs
	freePorts  func()   // gives the ports back
	etcds      []*process
	endpoints  []string // of etcds
	proxies    []*netproxy.Proxy
	schedulers []*process
	peers      []string // addresses of schedulers for minions
	workers    []*process
	hosts      []*host // of workers, where they have one each
	api        *apiClient
	client     *clientv3.Client
	takeovers  *takeovers
	network    *network
	receivers  map[string]*receiver // of alerts, by their notifiers

	// sites is the network of scenario site, dial is how etcd is reached there, and losses
	// are the sites that were lost.
	sites  *siteNet
	dial   []grpc.DialOption
	losses []siteLoss

	// size is the index of sizes that the cluster has; leastMoves is how many
	// shards had to move since.
	size, leastMoves int

	// unready are nodes that said too early that they were ready.
	unready []string

	begun   time.Time
	telling sync.Mutex // guards writes to out
	out     io.Writer  // nil: events are not told
}

// event tells what happens.
func (c *cluster) event(format string, args ...any) {
	if c.out != nil {
		c.telling.Lock()
		defer c.telling.Unlock()
		fmt.Fprintf(c.out, "%8.3f  %s\n", time.Since(c.begun).Seconds(), fmt.Sprintf(format, args...))
	}
}

// newCluster lays out a cluster below dir; nothing runs yet. bin holds the
// daemons, keep is how many records per job the history keeps, died is told of
// a process that ends by itself.
func newCluster(dir, bin string, s scenario, keep int, network *network, died func(error), out io.Writer) (*cluster, error) {
	members := max(s.members, 1)
	if s.own {
		members = schedulerCount // inside the schedulers
	}
	ports, free, err := freePorts(2*members + 2*schedulerMost)
	if err != nil {
		return nil, err
	}
	addr := func(host string, i int) string { return net.JoinHostPort(host, strconv.Itoa(ports[i])) }
	self := filepath.Join(bin, "fault")
	c := &cluster{own: s.own, dir: dir, begun: time.Now(), out: out, api: newAPI(), takeovers: newTakeovers(), network: network, bin: bin, freePorts: free}
	newProcess := func(name, path string, args ...string) *process {
		return &process{name: name, path: path, args: args, log: filepath.Join(dir, name+".log"), died: died}
	}
	var all []string
	for i := range members {
		all = append(all, fmt.Sprintf("etcd%d=http://%s", i+1, addr(network.etcd(), 2*i+1)))
	}
	var reached []string // by the schedulers
	for i := range members {
		if s.own {
			c.endpoints = append(c.endpoints, "https://"+addr(network.etcd(), 2*i))
			continue
		}
		name := fmt.Sprintf("etcd%d", i+1)
		c.etcds = append(c.etcds, newProcess(name, self, etcdArgument, filepath.Join(dir, name), addr(network.etcd(), 2*i), addr(network.etcd(), 2*i+1), name, strings.Join(all, ",")))
		c.endpoints = append(c.endpoints, "http://"+addr(network.etcd(), 2*i))
		reached = append(reached, c.endpoints[i])
		if s.proxied {
			p, err := netproxy.Listen(c.endpoints[i])
			if err != nil {
				return nil, err
			}
			c.proxies = append(c.proxies, p)
			reached[i] = p.Endpoint()
		}
	}
	inside := slices.Clone(ports[:2*members]) // of the etcds, where they are in the schedulers
	ports = ports[2*members:]
	for i := range schedulerMost {
		name, api, peer := fmt.Sprintf("s%d", i+1), addr(network.node(i), 2*i), addr(network.node(i), 2*i+1)
		scheme := "http://"
		if network.apart {
			scheme = "https://" // the API is beyond loopback
		}
		c.api.nodes = append(c.api.nodes, scheme+api)
		c.peers = append(c.peers, peer)
		args := []string{
			"--node", name, "--listen", api, "--peer-listen", peer, "--shards", strconv.Itoa(shardCount), "--access", "open",
			"--data-dir", filepath.Join(dir, name), "--lease-ttl", leaseTTL.String(), "--history-per-job", strconv.Itoa(keep),
		}
		switch {
		case !s.own:
			args = append(args, "--etcd-endpoints", strings.Join(reached, ","))
		case i < schedulerCount:
			args = append(args, c.ownArguments(i, net.JoinHostPort(network.etcd(), strconv.Itoa(inside[2*i])), net.JoinHostPort(network.etcd(), strconv.Itoa(inside[2*i+1])))...)
		}
		if s.queues != "" || s.receivers {
			args = append(args, "--egress-allow", "127.0.0.1/32") // who is called is on this host
		}
		if s.grace > 0 {
			args = append(args, "--misfire-grace", s.grace.String())
		}
		if network.apart {
			args = append(args, "--open-api")
		} else if s.own {
			args = append(args, "--api-plain")
		} else {
			args = append(args, "--insecure")
		}
		path, args := network.inside(i, filepath.Join(bin, "scheduler"), args)
		c.schedulers = append(c.schedulers, newProcess(name, path, args...))
		if s.early > 0 {
			c.schedulers[i].env = append(c.schedulers[i].env, faults.ClockEnv+"="+c.clockFile(name))
		}
	}
	for i := range s.hosts {
		h := newHost(i, dir, filepath.Join(bin, "worker"), c.peers[:schedulerCount], network)
		h.process = newProcess(string(h.id), h.path, h.args...)
		c.hosts, c.workers = append(c.hosts, h), append(c.workers, h.process)
	}
	for i := range cmp.Or(s.workers, workerCount) {
		if s.hosts > 0 {
			break
		}
		name := fmt.Sprintf("w%d", i+1)
		args := []string{"--id", name, "--servers", strings.Join(c.peers, ","), "--data-dir", filepath.Join(dir, name)}
		if !network.apart && !s.own {
			args = append(args, "--insecure")
		}
		if s.queues != "" {
			args = append(args, "--queue", s.queues)
		}
		c.workers = append(c.workers, newProcess(name, filepath.Join(bin, "worker"), args...))
	}
	if s.own {
		return c, nil // the client needs certificates of the first node
	}
	c.client, err = clientv3.New(clientv3.Config{Endpoints: c.endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return c, nil
}

// start starts all processes and waits until every node is ready, every shard
// has an owner and every minion is connected.
func (c *cluster) start(ctx context.Context) error {
	for _, p := range c.etcds {
		if err := p.start(); err != nil {
			return err
		}
	}
	if c.own {
		if err := c.startOwn(ctx); err != nil {
			return err
		}
	}
	if err := c.etcdAnswers(ctx); err != nil {
		return err
	}
	if c.network.apart {
		for i := range schedulerCount {
			if err := c.network.add(ctx, i); err != nil {
				return err
			}
		}
	}
	for _, h := range c.hosts {
		if err := h.make(ctx, c.network); err != nil {
			return err
		}
	}
	for _, p := range c.schedulers[:schedulerCount] {
		if c.own {
			break // they run
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	if c.network.apart || c.own { // minions on other hosts join by a token
		if err := until(ctx, func() error { return c.joinable(ctx) }); err != nil {
			return err
		}
	}
	for _, p := range c.workers {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := c.firstReady(ctx); err != nil {
		return err
	}
	return until(ctx, func() error { return c.whole(ctx) })
}

// tokenVariable tells a worker by which token it joins.
const tokenVariable = "CARILLON_JOIN_TOKEN"

// joinable makes a token by which all workers join.
func (c *cluster) joinable(ctx context.Context) error {
	if err := c.api.ready(ctx); err != nil {
		return err
	}
	token, err := c.api.joinToken(ctx, len(c.workers))
	if err != nil {
		return err
	}
	for _, w := range c.workers {
		w.env = append(w.env, tokenVariable+"="+token)
	}
	return nil
}

// running returns the schedulers that run.
func (c *cluster) running() []*process {
	var out []*process
	for _, p := range c.schedulers {
		if p.runs() {
			out = append(out, p)
		}
	}
	return out
}

// whole returns what the cluster lacks.
func (c *cluster) whole(ctx context.Context) error {
	if err := c.api.ready(ctx); err != nil {
		return err
	}
	minions, err := c.api.minions(ctx)
	if err != nil {
		return err
	}
	connected := 0
	for _, m := range minions {
		if m.State == "connected" && !inCrowd(m.ID) {
			connected++
		}
	}
	if connected != len(c.workers) {
		return fmt.Errorf("%d minions are connected, want %d", connected, len(c.workers))
	}
	shards, err := c.api.shards(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if s.Owner == "" {
			return fmt.Errorf("shard %v has no owner", s.ID)
		}
	}
	return nil
}

// close ends everything that was started.
func (c *cluster) close() {
	for _, p := range slices.Concat(c.workers, c.schedulers, c.etcds) {
		_, _ = p.stop(syscall.SIGKILL)
	}
	for _, p := range c.proxies {
		p.Close()
	}
	reap.Dir(c.dir) // shims, and through them their commands
	for _, h := range c.hosts {
		h.remove()
	}
	c.api.http.CloseIdleConnections()
	if c.client != nil {
		_ = c.client.Close()
	}
	c.freePorts()
}

// until calls ready until it returns nil, or ctx ends.
func until(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if ended := sleep(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("%w: %w", ended, err)
		}
	}
}
