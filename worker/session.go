package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 10 * time.Second
	// welcomeWait is how long a node may take to accept a session.
	welcomeWait = 10 * time.Second
	// shortSession: one that ends sooner counts as a failed try.
	shortSession = 2 * time.Second
	// defaultBeat is used when a node does not say how often it wants beats.
	defaultBeat = 10 * time.Second
	// maxReaders bounds how many outputs one session reads at a time.
	maxReaders = 16
)

var errDrained = errors.New("the node asked to connect elsewhere")

// serveSessions keeps a session with some node open until ctx is done.
func (m *Minion) serveSessions(ctx context.Context) {
	servers := newServerList(m.cfg.Servers, m.cfg.allowed)
	backoff := backoffMin
	for ctx.Err() == nil {
		lasted := false
		for addr := range servers.round() {
			begin := time.Now()
			err := m.runSession(ctx, addr, servers)
			if ctx.Err() != nil {
				return
			}
			m.log.Info("no session", zap.String("server", addr), zap.Error(err))
			if strings.Contains(err.Error(), agentpb.Revoked) {
				m.log.Error("this minion's certificate was revoked: it gets no orders until it has joined anew, by a token that is made from now on, or by approval with a new key",
					zap.String("minion", string(m.cfg.ID)))
			}
			servers.lost(addr)
			if servers.follow(addr, err) {
				m.log.Error("another live process has this minion's id; give each minion its own", zap.String("minion", string(m.cfg.ID)), zap.Error(err))
			}
			if lasted = time.Since(begin) >= shortSession && !errors.Is(err, errNoSession) || errors.Is(err, errDrained); lasted {
				break // the others at once, in a new order
			}
		}
		if lasted {
			backoff = backoffMin
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(backoff)): // full jitter
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// refusal is a node's word that a session is not to be at that node.
type refusal struct {
	// server is where to try next; empty: the node does not say.
	server string
	// taken: another live process has the minion's id there.
	taken bool
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// refused reads what a node has said in place of a welcome.
func refused(st stream, err error) error {
	r := &refusal{taken: status.Code(err) == codes.AlreadyExists, err: err}
	if st != nil {
		if named := st.Trailer().Get(agentpb.ServerTrailer); len(named) > 0 {
			r.server = named[0]
		}
	}
	return r
}

// plainly says what is wrong where one side encrypts and the other does not.
func (m *Minion) plainly(addr string, err error) error {
	text := err.Error()
	switch {
	case m.deps.Transport == nil && strings.Contains(text, "error reading server preface"):
		return fmt.Errorf("the server at %s closes plain connections: it speaks TLS, or is no node; leave --insecure out, and join by a token (carillon minions token): %w", addr, err)
	case m.deps.Transport != nil && strings.Contains(text, "first record does not look like a TLS handshake"):
		return fmt.Errorf("the server at %s does not speak TLS: it runs with --insecure, or is no node: %w", addr, err)
	}
	return err
}

// errNoSession is wrapped by what went wrong before a node's welcome.
var errNoSession = errors.New("not accepted")

// serverList is where the minion may connect to.
type serverList struct {
	allowed    func(string) bool
	configured []string
	learned    []string
	last       string
	// next is the server that a node has named; empty: none. only is the one that
	// has another process with our id: it alone can tell when that has gone, and
	// others would take us for the one that has moved.
	next, only string
}

func newServerList(configured []string, allowed func(string) bool) *serverList {
	return &serverList{configured: configured, allowed: allowed}
}

// learn takes the addresses that a node has told.
func (s *serverList) learn(addrs []string) {
	if len(addrs) > 0 {
		s.learned = slices.Clone(addrs)
	}
}

// lost puts the server at the end of the next round.
func (s *serverList) lost(addr string) { s.last = addr }

// follow takes what a server's refusal says of where to go. It reports whether
// another process has our id.
func (s *serverList) follow(addr string, err error) (taken bool) {
	s.only = ""
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	if r.taken {
		s.only = addr
	}
	if r.server != "" && s.allowed(r.server) {
		s.next = r.server
	}
	return r.taken
}

// round yields the servers to try. What is followed meanwhile counts at once.
func (s *serverList) round() iter.Seq[string] {
	return func(yield func(string) bool) {
		all := s.shuffled()
		if s.only != "" {
			all = []string{s.only}
		}
		for len(all) > 0 || s.next != "" {
			addr := s.next
			if s.next = ""; addr == "" {
				addr, all = all[0], all[1:]
			}
			if !yield(addr) || s.only != "" {
				return
			}
		}
	}
}

// shuffled returns all servers in random order, the one lost last at the end.
func (s *serverList) shuffled() []string {
	all := slices.Concat(s.configured, s.learned)
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(a string) bool { return !s.allowed(a) })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if i := slices.Index(all, s.last); i >= 0 {
		all = append(slices.Delete(all, i, i+1), s.last)
	}
	return all
}

// dialOptions are the settings of a connection to a node. Small buffers keep
// TLS records, and so the node's buffers, small; static windows keep the
// bandwidth estimator and its pings off.
func (m *Minion) dialOptions() []grpc.DialOption {
	transport := m.deps.Transport
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
	return append(opts, m.deps.DialOptions...)
}

type stream = grpc.BidiStreamingClient[agentpb.FromMinion, agentpb.ToMinion]

// session is one stream to a node.
type session struct {
	m      *Minion
	stream stream
	beat   time.Duration
	// chunks carries output to the sender; it holds little, so that reports
	// do not wait behind output.
	chunks chan *agentpb.OutputChunk
	// drain ends the session in its good time.
	drain chan time.Duration
	// edition is that of the inventory that the node was told. The sender's.
	edition uint64

	readers sync.WaitGroup
	mu      sync.Mutex
	// mu guards readings: outputs that are being read, by request id.
	readings map[uint64]*reading
}

// runSession connects to addr and serves until the stream ends.
func (m *Minion) runSession(ctx context.Context, addr string, servers *serverList) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, m.dialOptions()...)
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
	hello, edition := m.hello()
	sent := time.Now() // the connection is there by now
	if err == nil {
		err = st.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: hello}})
	}
	var first *agentpb.ToMinion
	if err == nil || st != nil {
		first, err = st.Recv() // tells why, also when Send has failed
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSession, refused(st, m.plainly(addr, err)))
	}
	received := time.Now()
	w := first.GetWelcome()
	if w == nil {
		return fmt.Errorf("%w: the node did not say welcome", errNoSession)
	}
	slow.Stop()
	early()
	servers.learn(w.GetServers())
	s := &session{
		m: m, stream: st, beat: time.Duration(w.GetBeatEvery()), chunks: make(chan *agentpb.OutputChunk),
		drain: make(chan time.Duration, 1), readings: map[uint64]*reading{},
		edition: edition,
	}
	if s.beat <= 0 {
		s.beat = defaultBeat
	}
	m.welcomed(w, sent, received)
	m.log.Info("session opened", zap.String("server", addr), zap.String("node", w.GetNode()))
	defer func() {
		m.mu.Lock()
		m.node = ""
		m.mu.Unlock()
	}()
	return s.run(ctx, sctx, cancel, servers)
}

// hello returns what opens a session, and the edition of the inventory in it.
func (m *Minion) hello() (*agentpb.Hello, uint64) {
	inv, edition := m.inventory()
	m.mu.Lock()
	session := m.session
	m.mu.Unlock()
	return &agentpb.Hello{
		Minion: string(m.cfg.ID), Instance: m.instance, BootId: m.boot, Version: agentpb.Cut(m.cfg.Version, agentpb.MaxVersion),
		Protocol: agentpb.Protocol, Session: session,
		Inventory: inv,
		WallClock: time.Now().UnixNano(), Running: int32(m.Status().Running), //nolint:gosec // a small count
		Clock: int64(m.deps.clock()),
	}, edition
}

// beatNow returns what is told now and then.
func (m *Minion) beatNow() *agentpb.Beat {
	s := m.Status()
	return &agentpb.Beat{
		Running: int32(s.Running), WallClock: time.Now().UnixNano(), //nolint:gosec // a small count
		ClockSkew: s.ClockSkew.Milliseconds(), Trouble: s.Trouble, Clock: int64(m.deps.clock()),
	}
}

// welcomed begins a session: the clock is set and everything is told again.
func (m *Minion) welcomed(w *agentpb.Welcome, sent, received time.Time) {
	m.metrics.sessions.Inc()
	m.mu.Lock()
	m.node = job.NodeID(w.GetNode())
	m.session = max(m.session, w.GetSession())
	if w.GetWallClock() != 0 {
		m.clock.set(time.Unix(0, w.GetWallClock()).UTC(), sent, received)
	} else {
		m.clock.set(received.UTC().Round(0), received, received)
	}
	m.out.reset(m.journal.ledger)
	m.texts.anew()
	var late []*job.Report
	if m.client != nil {
		late = m.release()
	}
	m.mu.Unlock()
	m.settle(late)
	notify(m.startWake)
}

// run sends and receives until the stream ends, or ctx is done and the
// farewell is over.
func (s *session) run(ctx, sctx context.Context, cancel context.CancelCauseFunc, servers *serverList) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.receive(sctx, servers)
		cancel(err)
	})
	err := s.send(ctx, sctx)
	if err == nil {
		_ = s.stream.CloseSend()
		// Acknowledgements of what was sent last are welcome.
		t := time.AfterFunc(farewell/3, func() { cancel(errDrained) })
		wg.Wait()
		t.Stop()
		cancel(errDrained)
		s.readers.Wait()
		return errDrained
	}
	cancel(err)
	wg.Wait()
	s.readers.Wait()
	return context.Cause(sctx)
}

// send is the only place that sends. It returns nil when the session is to be
// closed in good order, because of a drain or because the minion stops.
func (s *session) send(ctx, sctx context.Context) error {
	m := s.m
	beat := time.NewTicker(s.beat)
	defer beat.Stop()
	stop := ctx.Done()
	var leave, giveUp <-chan time.Time
	// At once, so that the node can compare the clocks.
	if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: m.beatNow()}}); err != nil {
		return err
	}
	for {
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-sctx.Done():
			return context.Cause(sctx)
		case <-m.out.wake:
		case c := <-s.chunks:
			if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Output{Output: c}}); err != nil {
				return err
			}
		case <-beat.C:
			if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: m.beatNow()}}); err != nil {
				return err
			}
		case within := <-s.drain:
			leave = time.After(rand.N(max(within, time.Millisecond)))
		case <-leave:
			return nil
		case <-stop:
			stop = nil
			leave = s.whenAcked(sctx)
			giveUp = time.After(farewell)
		case <-giveUp:
			return nil
		}
	}
}

// whenAcked returns a channel that fires once no final report waits for its
// acknowledgement.
func (s *session) whenAcked(sctx context.Context) <-chan time.Time {
	ch := make(chan time.Time, 1)
	s.readers.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(farewell); time.Now().Before(end) && s.m.Status().Unacked > 0; {
			select {
			case <-sctx.Done():
				return
			case <-tick.C:
			}
		}
		ch <- time.Now()
	})
	return ch
}

// flush sends the outbox.
func (s *session) flush() error {
	if err := s.tellInventory(); err != nil {
		return err
	}
	if err := s.tellFetch(); err != nil {
		return err
	}
	for {
		s.m.mu.Lock()
		msgs := s.m.out.next(s.m.journal.ledger, s.m.cfg.ID, time.Now())
		s.m.mu.Unlock()
		if len(msgs) == 0 {
			return nil
		}
		for _, msg := range msgs {
			if err := s.stream.Send(msg); err != nil {
				return err
			}
			if msg.GetTaken() != nil {
				s.m.crash("taken")
			} else {
				s.m.crash("reported")
			}
		}
	}
}

// receive deals with what the node sends, until the stream ends.
func (s *session) receive(sctx context.Context, servers *serverList) error {
	for {
		msg, err := s.stream.Recv()
		if err != nil {
			return err
		}
		switch b := msg.GetBody().(type) {
		case *agentpb.ToMinion_Offer:
			s.m.admit(b.Offer)
		case *agentpb.ToMinion_Text:
			s.m.arrived(b.Text)
		case *agentpb.ToMinion_Ack:
			s.m.acked(b.Ack)
			s.m.crash("acked")
		case *agentpb.ToMinion_Output:
			s.readOutput(sctx, b.Output)
		case *agentpb.ToMinion_OutputCancel:
			s.mu.Lock()
			if r := s.readings[b.OutputCancel.GetId()]; r != nil {
				r.cancel()
			}
			s.mu.Unlock()
		case *agentpb.ToMinion_OutputMore:
			s.mu.Lock()
			if r := s.readings[b.OutputMore.GetId()]; r != nil {
				r.add(b.OutputMore.GetTaken())
			}
			s.mu.Unlock()
		case *agentpb.ToMinion_Update:
			if s.m.deps.Update != nil {
				s.m.deps.Update(b.Update.GetRelease(), b.Update.GetSigned())
			}
		case *agentpb.ToMinion_Drain:
			servers.learn(b.Drain.GetServers())
			select {
			case s.drain <- time.Duration(b.Drain.GetWithin()):
			default:
			}
		}
	}
}
