package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/shim"
)

// node is a node as a minion sees it.
type node struct {
	// handlers are those of the minions that are started for it.
	handlers map[string]Handler
	// allow is the list of the minions that are started for it.
	allow *allow.List
	// change is made to what minions that are started for it depend on.
	change func(*Deps)
	agentpb.UnimplementedPushServer
	t    testing.TB
	addr string
	srv  *grpc.Server

	mu       sync.Mutex
	stream   grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]
	hellos   []*agentpb.Hello
	taken    map[uint64]bool
	reports  []job.Report
	chunks   map[uint64][]*agentpb.OutputChunk
	beats    int
	lastBeat *agentpb.Beat
	told     []*agentpb.Inventory
	fetches  [][]string
	seq      uint64
	ahead    *int64        // is said of the clocks in offers
	noAck    bool          // keeps acknowledgements back
	clock    time.Duration // is added to the time in Welcome
	servers  []string
	sessions int
	cluster  string // told in Welcome, with the epoch
	epoch    int64
}

func newNode(t testing.TB) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, addr: l.Addr().String(), taken: map[uint64]bool{}, chunks: map[uint64][]*agentpb.OutputChunk{}}
	n.srv = grpc.NewServer(grpc.MaxRecvMsgSize(256 << 10))
	agentpb.RegisterPushServer(n.srv, n)
	done := make(chan struct{})
	go func() { defer close(done); _ = n.srv.Serve(l) }()
	t.Cleanup(func() { n.srv.Stop(); <-done })
	return n
}

func (n *node) Session(st grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	n.mu.Lock()
	err = st.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Welcome{Welcome: &agentpb.Welcome{
		Node: "n1", WallClock: time.Now().Add(n.clock).UnixNano(), Servers: n.servers, BeatEvery: int64(50 * time.Millisecond), Session: 5, Cluster: n.cluster, Epoch: n.epoch,
	}}})
	n.hellos = append(n.hellos, first.GetHello())
	n.stream = st
	n.sessions++
	n.mu.Unlock()
	for err == nil {
		var msg *agentpb.FromMinion
		if msg, err = st.Recv(); err == nil {
			err = n.take(st, msg)
		}
	}
	n.mu.Lock()
	if n.stream == st {
		n.stream = nil
	}
	n.mu.Unlock()
	return nil
}

func (n *node) take(st grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion], msg *agentpb.FromMinion) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch b := msg.GetBody().(type) {
	case *agentpb.FromMinion_Taken:
		n.taken[b.Taken.GetSeq()] = true
	case *agentpb.FromMinion_Beat:
		n.beats++
		n.lastBeat = b.Beat
	case *agentpb.FromMinion_Inventory:
		n.told = append(n.told, b.Inventory)
	case *agentpb.FromMinion_Fetch:
		n.fetches = append(n.fetches, b.Fetch.GetSha256())
	case *agentpb.FromMinion_Output:
		n.chunks[b.Output.GetId()] = append(n.chunks[b.Output.GetId()], b.Output)
	case *agentpb.FromMinion_Reports:
		ack := &agentpb.Ack{}
		for _, w := range b.Reports.GetReports() {
			r, err := agentpb.ToReport(w, "m1")
			if err != nil {
				n.t.Error(err)
				continue
			}
			n.reports = append(n.reports, r)
			if r.Spooled {
				ack.Tasks = append(ack.Tasks, w.GetTask())
			}
		}
		if len(ack.Tasks) > 0 && !n.noAck {
			return st.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Ack{Ack: ack}})
		}
	}
	return nil
}

// await waits until cond, called with mu held, is true.
func (n *node) await(what string, cond func() bool) {
	n.t.Helper()
	await.Missing(n.t, func() string {
		n.mu.Lock()
		defer n.mu.Unlock()
		if cond() {
			return ""
		}
		return fmt.Sprintf("%s; reports: %s", what, describe(n.reports))
	})
}

func describe(reports []job.Report) string {
	var b strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&b, "\n  %v known=%v %s %q", r.Task, r.Known, r.State, r.Reason)
	}
	return b.String()
}

// connected waits for a session.
func (n *node) connected() {
	n.t.Helper()
	n.await("session", func() bool { return n.stream != nil })
}

// offer sends an offer and returns its number.
func (n *node) offer(o *agentpb.Offer) uint64 {
	n.t.Helper()
	n.connected()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	o.Seq, o.Ahead = n.seq, n.ahead
	if n.stream != nil {
		_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: o}})
	}
	return o.GetSeq()
}

// order offers orders and waits until they are taken.
func (n *node) order(orders ...*job.Order) {
	n.t.Helper()
	o := &agentpb.Offer{}
	for _, x := range orders {
		o.Orders = append(o.Orders, agentpb.FromOrder(x))
	}
	seq := n.offer(o)
	n.await("taken", func() bool { return n.taken[seq] })
}

// giveText answers a fetch, or what nobody asked for.
func (n *node) giveText(w *agentpb.Text) {
	n.t.Helper()
	n.connected()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stream != nil {
		_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Text{Text: w}})
	}
}

func (n *node) cancel(o *job.Order, reason string) {
	n.t.Helper()
	seq := n.offer(&agentpb.Offer{Cancels: []*agentpb.Cancel{{
		Task: agentpb.FromTask(o.Task), Shard: uint32(o.Shard),
		TokenEpoch: o.Token.Epoch, TokenRevision: o.Token.Revision, Reason: reason,
	}}})
	n.await("taken", func() bool { return n.taken[seq] })
}

func (n *node) ask(id job.TaskID, shard job.ShardID, token job.Token) {
	n.t.Helper()
	n.offer(&agentpb.Offer{Questions: []*agentpb.Question{{
		Task: agentpb.FromTask(id), Shard: uint32(shard), TokenEpoch: token.Epoch, TokenRevision: token.Revision, Term: askedTerm,
	}}})
}

// askedTerm is the term of all questions.
const askedTerm = 3

// report waits for a report about the task that match accepts.
func (n *node) report(id job.TaskID, what string, match func(*job.Report) bool) job.Report {
	n.t.Helper()
	var got job.Report
	n.await(what, func() bool {
		for i := range n.reports {
			if r := &n.reports[i]; keyOf(r.Task) == keyOf(id) && match(r) {
				got = *r
				return true
			}
		}
		return false
	})
	return got
}

// final waits for the final report about the task.
func (n *node) final(o *job.Order) job.Report {
	n.t.Helper()
	return n.report(o.Task, "final report", func(r *job.Report) bool { return r.State.Final() })
}

func (n *node) running(o *job.Order) job.Report {
	n.t.Helper()
	return n.report(o.Task, "running report", func(r *job.Report) bool {
		return r.State == job.StateRunning && !r.StartedAt.IsZero()
	})
}

// forget drops the reports that came so far.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports = nil
}

// states lists the states that were reported for the task.
func (n *node) states(o *job.Order) []job.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []job.State
	for _, r := range n.reports {
		if keyOf(r.Task) == keyOf(o.Task) {
			out = append(out, r.State)
		}
	}
	return out
}

var orderCount atomic.Int64

// newOrder returns an order of a new fire.
func newOrder(command ...string) *job.Order {
	n := orderCount.Add(1)
	fire := job.FireID{Job: job.UID{15: byte(n), 14: byte(n >> 8), 13: byte(n >> 16), 0: 1}, At: time.Now().UnixNano(), Trigger: job.TriggerSchedule}
	return &job.Order{
		Task:  job.TaskID{Fire: fire, Minion: "m1", Attempt: 1},
		Shard: 3, Token: job.Token{Epoch: 1, Revision: 10},
		Key: job.Key{Namespace: "default", Name: "test"}, RunID: fire.RunID(),
		Command: command, ScheduledAt: fire.Time(),
		NotAfter: time.Now().Add(time.Minute).UTC(), Timeout: time.Minute,
	}
}

func shell(format string, args ...any) *job.Order {
	return newOrder("/bin/sh", "-c", fmt.Sprintf(format, args...))
}

// dataDir returns a directory that is left only once the shim in it has ended.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	t.Cleanup(func() { waitShim(t, dir) })
	return dir
}

// waitShim waits for the end of the shim in dir.
func waitShim(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "shim", "lock"))
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	// One whose minion was killed waits for the next: it is told that none comes.
	none := shim.Config{Dir: filepath.Join(dir, "shim"), Command: []string{"false"}}
	if client, _, err := shim.Attach(context.Background(), none); err == nil {
		_ = client.Leave()
	}
	poll(t, "end of the shim", func() bool {
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
}

// poll waits for a condition that nothing announces.
func poll(t testing.TB, what string, cond func() bool) {
	t.Helper()
	await.Until(t, what, cond)
}

// start runs a minion inside the test; the function that it returns stops it.
func start(t testing.TB, n *node, dir string, change ...func(*Config)) (*Minion, func()) {
	t.Helper()
	cfg := Config{
		ID: "m1", DataDir: dir, Servers: []string{n.addr}, ShimCommand: shimCommand(),
		ShimIdle: 300 * time.Millisecond, KillGrace: 300 * time.Millisecond, Cgroup: NoCgroup,
	}
	for _, f := range change {
		f(&cfg)
	}
	deps := Deps{Handlers: n.handlers, Allow: n.allow}
	if n.change != nil {
		n.change(&deps)
	}
	if tt, ok := t.(*testing.T); ok {
		deps.Logger = zaptest.NewLogger(tt)
	}
	m, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		// A program that another test is about to start has this process's files,
		// and with them the lock of the minion before, until it is the other program.
		err := m.Run(ctx)
		for errors.Is(err, ErrInUse) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			err = m.Run(ctx)
		}
		done <- err
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// What is offered next must not go to the session that has ended.
		n.await("end of the session", func() bool {
			return n.stream == nil || n.hellos[len(n.hellos)-1].GetInstance() != m.instance
		})
	})
	t.Cleanup(stop)
	return m, stop
}

// process is a minion in a process of its own.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}
}

// spawn starts a minion process that kills itself at the crash point.
func spawn(t testing.TB, n *node, dir, crash string, maxRunning int) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.Command(exe, "minion", dir, n.addr, fmt.Sprint(maxRunning), crash)
	if testing.Verbose() {
		p.cmd.Stdout, p.cmd.Stderr = os.Stderr, os.Stderr
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// died waits for the process to kill itself.
func (p *process) died() {
	p.t.Helper()
	await.From(p.t, "the minion's crash point", p.done)
}

// lines returns the lines of a file, none if it is not there.
func lines(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

func touch(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// offerOrders sends orders and does not wait.
func (n *node) offerOrders(orders ...*job.Order) {
	n.t.Helper()
	o := &agentpb.Offer{}
	for _, x := range orders {
		o.Orders = append(o.Orders, agentpb.FromOrder(x))
	}
	n.offer(o)
}

// outputNumbers returns the numbers in the output file of a task.
func outputNumbers(t testing.TB, dir string, o *job.Order) []int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "output", keyOf(o.Task).String()))
	if err != nil || len(b) < 5 {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b[5:])) {
		if x, err := strconv.Atoi(f); err == nil {
			out = append(out, x)
		}
	}
	return out
}

// alive reports whether a process runs and is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func killPID(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
