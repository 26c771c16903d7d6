package agentpush_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is some hubs that see one another, in one process.
type cluster struct {
	t     testing.TB
	nodes []*node
	ctx   context.Context

	mu sync.Mutex
	// mu guards what follows. A shard without an entry in owners belongs to
	// node 0; addrs has addresses that differ from the real ones.
	owners  map[job.ShardID]job.NodeID
	addrs   map[job.NodeID]string
	drained map[job.NodeID]bool
	minions map[job.MinionID]job.Minion
}

// node is one hub and its engine, a list of reports.
type node struct {
	c    *cluster
	id   job.NodeID
	addr string
	hub  *agentpush.Hub
	grpc *grpc.Server
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	reports []job.Report
	arrived chan struct{}
	live    []job.Run
	liveOf  []job.ShardID
	// ahead is how far the node's monotonic clock is ahead of the machine's.
	ahead time.Duration
	// muted drops the presence that this node writes.
	muted bool
	// texts are what minions may fetch; an empty one cannot be read now.
	texts map[string]string
	reads int
}

// Text implements agentpush.Texts.
func (n *node) Text(_ context.Context, sum string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reads++
	text, ok := n.texts[sum]
	switch {
	case !ok:
		return "", fmt.Errorf("text %s: %w", sum, job.ErrNotFound)
	case text == "":
		return "", job.ErrUnavailable
	}
	return text, nil
}

func (c *cluster) Owner(s job.ShardID) (job.NodeID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.owners[s]; ok {
		return n, n != ""
	}
	return c.nodes[0].id, true
}

func (c *cluster) own(s job.ShardID, n job.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owners[s] = n
}

func (c *cluster) PeerAddr(id job.NodeID) (string, bool) {
	c.mu.Lock()
	addr := c.addrs[id]
	c.mu.Unlock()
	for _, n := range c.nodes {
		if n.id == id {
			return cmp.Or(addr, n.addr), true
		}
	}
	return "", false
}

func (c *cluster) Nodes() []job.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []job.NodeID
	for _, n := range c.nodes {
		if !c.drained[n.id] {
			out = append(out, n.id)
		}
	}
	return out
}

func (c *cluster) Servers() []string {
	var out []string
	for _, n := range c.nodes {
		addr, _ := c.PeerAddr(n.id)
		out = append(out, addr)
	}
	return out
}

// lead makes the others look for a node at another address; empty: the real one.
func (c *cluster) lead(id job.NodeID, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs[id] = addr
}

func (n *node) Reports(rs []job.Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports = append(n.reports, rs...)
	close(n.arrived)
	n.arrived = make(chan struct{})
}

func (n *node) LiveRuns(string, string) ([]job.Run, []job.ShardID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.live), slices.Clone(n.liveOf)
}

func (n *node) Present(_ context.Context, bucket int, minions []agentpush.Present) error {
	n.mu.Lock()
	muted := n.muted
	n.mu.Unlock()
	if muted {
		return nil
	}
	for _, o := range n.c.nodes {
		o.hub.Inventory().SetPresence(n.id, bucket, minions)
	}
	return nil
}

func (n *node) Describe(_ context.Context, m job.Minion) error {
	n.c.mu.Lock()
	n.c.minions[m.ID] = m
	n.c.mu.Unlock()
	for _, o := range n.c.nodes {
		o.hub.Inventory().SetMinion(m)
	}
	return nil
}

// newCluster starts some hubs; they are stopped with the test.
func newCluster(t testing.TB, nodes int, adapt func(*agentpush.Config)) *cluster {
	t.Helper()
	return newClusterWith(t, nodes, adapt, func(*node, *agentpush.Deps) {})
}

// newClusterWith is newCluster of hubs with other dependencies.
func newClusterWith(t testing.TB, nodes int, adapt func(*agentpush.Config), change func(*node, *agentpush.Deps)) *cluster {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &cluster{t: t, ctx: ctx, owners: map[job.ShardID]job.NodeID{}, addrs: map[job.NodeID]string{}, drained: map[job.NodeID]bool{}, minions: map[job.MinionID]job.Minion{}}
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	var listeners []net.Listener
	for i := range nodes {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, lis)
		c.nodes = append(c.nodes, &node{
			c: c, id: job.NodeID(fmt.Sprintf("node-%d", i)), addr: lis.Addr().String(),
			arrived: make(chan struct{}), done: make(chan struct{}),
		})
	}
	for i, n := range c.nodes {
		cfg := agentpush.Config{
			Node: n.id, SessionBase: int64(100 - i), PresenceEvery: 5 * time.Millisecond,
			PeerReconnect: 20 * time.Millisecond, ResendAfter: 20 * time.Millisecond,
			BeatEvery: long, StallAfter: long, RebalanceAfter: long, ProbeWait: long, PeerWait: long, ReportRetry: long,
		}
		if adapt != nil {
			adapt(&cfg)
		}
		n.ahead = time.Duration(i+1) * 1000 * time.Hour
		deps := agentpush.Deps{
			Logger: log.Named(string(n.id)), Directory: c, Sink: n, Registry: n, Texts: n,
			Clock: func() time.Duration { return boottime.Now() + n.ahead },
		}
		change(n, &deps)
		hub, err := agentpush.New(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		n.hub = hub
	}
	for i, n := range c.nodes {
		n.grpc = grpc.NewServer(agentpush.ServerOptions()...)
		n.hub.Register(n.grpc)
		go func() { _ = n.grpc.Serve(listeners[i]) }()
		run, stop := context.WithCancel(ctx)
		n.stop = stop
		go func() {
			defer close(n.done)
			_ = n.hub.Run(run)
		}()
	}
	t.Cleanup(func() {
		cancel()
		for _, n := range c.nodes {
			n.kill()
		}
	})
	return c
}

// kill ends the node's hub and server.
func (n *node) kill() {
	n.stop()
	<-n.done
	n.grpc.Stop()
}

// minion starts a fake minion that connects to the nodes by turns.
func (c *cluster) minion(cfg agenttest.Config, nodes ...*node) *agenttest.Minion {
	c.t.Helper()
	m := c.start(cfg, nodes...)
	c.eventually("minion "+string(m.ID())+" is connected", m.Connected)
	return m
}

func (c *cluster) start(cfg agenttest.Config, nodes ...*node) *agenttest.Minion {
	if cfg.Dial == nil {
		turn := 0
		cfg.Dial = func() (*grpc.ClientConn, error) {
			n := nodes[turn%len(nodes)]
			turn++
			return agenttest.Dialer(n.addr)()
		}
	}
	m := agenttest.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	c.t.Cleanup(func() {
		cancel()
		<-done
	})
	return m
}

// long is what no test sees the end of: nothing ends by its age.
const long = time.Hour

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	await.Until(c.t, what, ok)
}

// await waits until the node's engine has n reports that ok admits.
func (n *node) await(count int, what string, ok func(*job.Report) bool) []job.Report {
	n.c.t.Helper()
	for {
		n.mu.Lock()
		var found []job.Report
		for i := range n.reports {
			if ok(&n.reports[i]) {
				found = append(found, n.reports[i])
			}
		}
		arrived, all := n.arrived, len(n.reports)
		n.mu.Unlock()
		if len(found) >= count {
			return found
		}
		await.From(n.c.t, fmt.Sprintf("%s: %d reports: %s; there are %d, and %d in all", n.id, count, what, len(found), all), arrived)
	}
}

// unknown waits until the minions have said of all these tasks that they know
// nothing of them. As the engine does, it asks again: a question does not wait for
// long.
func (n *node) unknown(refs []job.Ref) {
	n.c.t.Helper()
	open := map[job.TaskID]job.Ref{}
	for _, r := range refs {
		open[r.Task] = r
	}
	asked := time.Now()
	n.c.eventually("every question is answered", func() bool {
		n.mu.Lock()
		for i := range n.reports {
			if r := &n.reports[i]; !r.Known {
				delete(open, r.Task)
			}
		}
		n.mu.Unlock()
		if time.Since(asked) > 5*time.Second {
			asked = time.Now()
			n.hub.Ask(slices.Collect(maps.Values(open)))
		}
		return len(open) == 0
	})
}

func (n *node) count(ok func(*job.Report) bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := 0
	for i := range n.reports {
		if ok(&n.reports[i]) {
			found++
		}
	}
	return found
}

func inState(s job.State) func(*job.Report) bool {
	return func(r *job.Report) bool { return r.State == s }
}

// orders makes n orders for a minion, in different seconds of one job.
func orders(minion job.MinionID, n int, life time.Duration) []job.Order {
	uid, err := job.NewUID()
	if err != nil {
		panic(err)
	}
	out := make([]job.Order, n)
	now := time.Now()
	for i := range out {
		fire := job.FireID{Job: uid, At: now.UnixNano() + int64(i), Trigger: job.TriggerSchedule}
		out[i] = job.Order{
			Task: job.TaskID{Fire: fire, Minion: minion, Attempt: 1}, Shard: 7, Token: job.Token{Epoch: 1, Revision: 10},
			Key: job.Key{Namespace: "default", Name: "j"}, RunID: fire.RunID(), Command: []string{"true"},
			ScheduledAt: now, NotAfter: now.Add(life), Timeout: time.Minute,
		}
	}
	return out
}

// TestPeersReadOneAnothersClocks by round trips.
func TestPeersReadOneAnothersClocks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	begun := boottime.Now()
	r, err := c.nodes[0].hub.PeerClock(t.Context(), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	took := boottime.Now() - begun
	want := time.Now().UnixNano() - int64(boottime.Now()+c.nodes[0].ahead)
	if off := time.Duration(r.Origin - want).Abs(); off > r.Err+time.Second || r.Err > took {
		t.Errorf("off by %v, error %v, took %v", off, r.Err, took)
	}
	if _, err := c.nodes[0].hub.PeerClock(t.Context(), "node-9"); err == nil {
		t.Error("a node that is not there has a clock")
	}
}
