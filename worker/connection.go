package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// connection keeps a session with a node.
type connection struct {
	*base
	tasks     *tasks
	reporting *reporting
	admission *admission
	execution *execution
	facts     *hostFacts
	seen      *seen
	sharing   *sharing
	// status is the minion's.
	status func() Status

	mu sync.Mutex
	// mu guards the following: the node, empty when there is no session, and the
	// highest session that a node has given.
	node    job.NodeID
	session int64
}

// run keeps a session with some node open until ctx is done.
func (cn *connection) run(ctx context.Context) {
	servers := newServerList(cn.cfg.Servers, cn.cfg.allowed)
	retry := backoff.Backoff{Least: backoffMin, Most: backoffMax, Full: true}
	for ctx.Err() == nil {
		lasted := false
		for addr := range servers.round() {
			begin := time.Now()
			err := cn.open(ctx, addr, servers)
			if ctx.Err() != nil {
				return
			}
			cn.log.Info("no session", zap.String("server", addr), zap.Error(err))
			if strings.Contains(err.Error(), agentpb.Revoked) {
				cn.log.Error("this minion's certificate was revoked: it gets no orders until it has joined anew, by a token that is made from now on, or by approval with a new key",
					zap.String("minion", string(cn.cfg.ID)))
			}
			servers.lost(addr)
			if servers.follow(addr, err) {
				cn.log.Error("another live process has this minion's id; give each minion its own", zap.String("minion", string(cn.cfg.ID)), zap.Error(err))
			}
			if lasted = time.Since(begin) >= shortSession && !errors.Is(err, errNoSession) || errors.Is(err, errDrained); lasted {
				break // the others at once, in a new order
			}
		}
		if lasted {
			retry.Reset()
			continue
		}
		retry.Pause(ctx)
	}
}

// plainly says what is wrong where one side encrypts and the other does not.
func (cn *connection) plainly(addr string, err error) error {
	text := err.Error()
	switch {
	case cn.deps.Transport == nil && strings.Contains(text, "error reading server preface"):
		return fmt.Errorf("the server at %s closes plain connections: it speaks TLS, or is no node; leave --insecure out, and join by a token (carillon minions token): %w", addr, err)
	case cn.deps.Transport != nil && strings.Contains(text, "first record does not look like a TLS handshake"):
		return fmt.Errorf("the server at %s does not speak TLS: it runs with --insecure, or is no node: %w", addr, err)
	}
	return err
}

// dialOptions are the settings of a connection to a node. Small buffers keep
// TLS records, and so the node's buffers, small; static windows keep the
// bandwidth estimator and its pings off.
func (cn *connection) dialOptions() []grpc.DialOption {
	transport := cn.deps.Transport
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithReadBufferSize(4 << 10),
		grpc.WithWriteBufferSize(4 << 10),
		grpc.WithStaticStreamWindowSize(128 << 10),
		grpc.WithStaticConnWindowSize(128 << 10),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 15 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8 << 20)),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	}
	return append(opts, cn.deps.DialOptions...)
}

// open connects to addr and serves until the stream ends.
func (cn *connection) open(ctx context.Context, addr string, servers *serverList) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, cn.dialOptions()...)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSession, err)
	}
	defer func() { _ = conn.Close() }()
	// The stream outlives ctx by the farewell.
	sctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	early := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer early()
	slow := time.AfterFunc(welcomeWait, func() { cancel(errors.New("no welcome in time")) })
	defer slow.Stop()

	st, err := agentpb.NewPushClient(conn).Session(sctx)
	hello, edition := cn.hello()
	sent := time.Now() // the connection is there by now
	if err == nil {
		err = st.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: hello}})
	}
	var first *agentpb.ToMinion
	if err == nil || st != nil {
		first, err = st.Recv() // tells why, also when Send has failed
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSession, refused(st, cn.plainly(addr, err)))
	}
	received := time.Now()
	w := first.GetWelcome()
	if w == nil {
		return fmt.Errorf("%w: the node did not say welcome", errNoSession)
	}
	if err := cn.seen.welcome(w); err != nil {
		return fmt.Errorf("%w: %w", errNoSession, err)
	}
	slow.Stop()
	early()
	servers.learn(w.GetServers())
	s := &session{
		of: cn, stream: st, beat: time.Duration(w.GetBeatEvery()), chunks: make(chan *agentpb.OutputChunk),
		drain: make(chan time.Duration, 1), readings: map[uint64]*reading{},
		edition: edition, shared: make(chan *agentpb.Shared), done: sctx.Done(),
	}
	if s.beat <= 0 {
		s.beat = defaultBeat
	}
	cn.welcomed(w, sent, received)
	cn.log.Info("session opened", zap.String("server", addr), zap.String("node", w.GetNode()))
	defer func() {
		cn.mu.Lock()
		cn.node = ""
		cn.mu.Unlock()
	}()
	cn.sharing.opened(s, w.GetShares())
	defer cn.sharing.ended(s)
	return s.run(ctx, sctx, cancel, servers)
}

// hello returns what opens a session, and the edition of the inventory in it.
func (cn *connection) hello() (*agentpb.Hello, uint64) {
	inv, edition := cn.facts.now()
	cn.mu.Lock()
	session := cn.session
	cn.mu.Unlock()
	return &agentpb.Hello{
		Minion: string(cn.cfg.ID), Instance: cn.instance, BootId: cn.boot, Version: agentpb.Cut(cn.cfg.Version, agentpb.MaxVersion),
		Protocol: agentpb.Protocol, Session: session,
		Inventory: inv,
		WallClock: time.Now().UnixNano(), Running: int32(cn.status().Running),
		Clock: int64(cn.deps.clock()),
	}, edition
}

// unsaid reports whether there is something to say before the minion leaves.
func (cn *connection) unsaid() bool {
	s := cn.status()
	return s.Unacked > 0 || s.Handling > 0
}

// beat returns what is told now and then.
func (cn *connection) beat() *agentpb.Beat {
	s := cn.status()
	return &agentpb.Beat{
		Running: int32(s.Running), WallClock: time.Now().UnixNano(),
		ClockSkew: s.ClockSkew.Milliseconds(), Trouble: s.Trouble, Clock: int64(cn.deps.clock()),
	}
}

// welcomed begins a session: the clock is set and everything is told again.
func (cn *connection) welcomed(w *agentpb.Welcome, sent, received time.Time) {
	cn.metrics.sessions.Inc()
	cn.tasks.mu.Lock()
	if w.GetWallClock() != 0 {
		cn.tasks.clock.set(time.Unix(0, w.GetWallClock()).UTC(), sent, received)
	} else {
		cn.tasks.clock.set(received.UTC().Round(0), received, received)
	}
	cn.tasks.out.reset(cn.tasks.journal.taskTable)
	cn.tasks.texts.anew()
	var late []*job.Report
	if cn.tasks.client != nil {
		late = cn.tasks.release()
	}
	cn.tasks.mu.Unlock()
	cn.mu.Lock()
	cn.node = job.NodeID(w.GetNode())
	cn.session = max(cn.session, w.GetSession())
	cn.mu.Unlock()
	cn.reporting.settle(late)
	notify(cn.tasks.startWake)
}
