package agenttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Config says what a fake minion is and how it behaves.
type Config struct {
	// ID names it; Instance is its process. Empty: the instance is made up from
	// a counter, so that two minions of one id are two processes.
	ID       job.MinionID
	Instance string
	Labels   map[string]string
	Facts    map[string]string
	Version  string
	// Dial connects to a node. It is called for every session, and the
	// connection is closed with the session.
	Dial func() (*grpc.ClientConn, error)
	// Reconnect is the pause after a session ended. Default 10 ms.
	Reconnect time.Duration
	// ReconnectMax, when positive, makes the pause random, as a real minion's: up
	// to Reconnect at first, and up to twice as much after each session that was
	// not welcomed, at most this.
	ReconnectMax time.Duration
	// Opening bounds how many of the minions that share it open a session at once:
	// each puts a token into it meanwhile. Hosts have a processor each for their
	// handshakes, and thousands of minions in one process have not. Nil: no bound.
	Opening chan struct{}
	// BeatEvery overrides what the node asks for; negative: never.
	BeatEvery time.Duration
	// Take decides about an offer: false leaves it without an answer, as a
	// minion that stops does. Nil: everything is taken.
	Take func(*agentpb.Offer) bool
	// Answer runs a task: it returns the report to send. It is called once per
	// task, and must not call the minion. Nil: the task succeeded at once.
	Answer func(*job.Order) job.Report
	// Spool keeps reports and sends them again in every session until they are
	// acknowledged.
	Spool bool
	// Output returns what a task wrote to stdout. Nil: nothing is known of it.
	Output func(job.TaskID) ([]byte, error)
	// Clock is the minion's monotonic clock, which it tells its node; the orders'
	// HoldUntil is on it. Nil: it tells none, and knows no HoldUntil.
	Clock func() time.Duration
	// Update takes what the minion is told of releases. Nil: nothing does.
	Update func(*agentpb.Update)
}

// task is a task's identity on its minion.
type task struct {
	fire    job.FireID
	attempt int
}

// Minion is a fake minion. Its methods may be called by many goroutines.
type Minion struct {
	cfg Config

	executed atomic.Int64
	repeated atomic.Int64
	offers   atomic.Int64
	sessions atomic.Int64

	mu sync.Mutex
	// mu guards what follows.

	done    map[task]job.State
	runs    map[task]int
	fences  map[job.ShardID]job.Token
	unacked map[task]*agentpb.Report
	// gate is closed unless the minion is stalled, home unless it is away.
	gate, home chan struct{}
	cut        context.CancelCauseFunc
	connected  bool
	epoch      int64
	lastErr    error
}

// instances makes instances differ.
var instances atomic.Int64

var errCut = errors.New("cut by the test")

// New returns a minion that does nothing until Run.
func New(cfg Config) *Minion {
	if cfg.Instance == "" {
		cfg.Instance = fmt.Sprintf("fake-%d", instances.Add(1))
	}
	if cfg.Reconnect == 0 {
		cfg.Reconnect = 10 * time.Millisecond
	}
	open := make(chan struct{})
	close(open)
	return &Minion{
		cfg: cfg, done: map[task]job.State{}, runs: map[task]int{}, fences: map[job.ShardID]job.Token{},
		unacked: map[task]*agentpb.Report{}, gate: open, home: open,
	}
}

// Dialer returns a Config.Dial for an address on this host.
func Dialer(addr string, opts ...grpc.DialOption) func() (*grpc.ClientConn, error) {
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
		grpc.WithStaticStreamWindowSize(128 << 10), grpc.WithStaticConnWindowSize(128 << 10),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	}, opts...)
	return func() (*grpc.ClientConn, error) { return grpc.NewClient("passthrough:///"+addr, all...) }
}

// ID returns the minion's id.
func (m *Minion) ID() job.MinionID { return m.cfg.ID }

// Executed returns how many tasks it has run; none counts twice.
func (m *Minion) Executed() int { return int(m.executed.Load()) }

// Repeated returns how many orders it got for tasks that it had run already.
func (m *Minion) Repeated() int { return int(m.repeated.Load()) }

// Offers returns how many offers it has received.
func (m *Minion) Offers() int { return int(m.offers.Load()) }

// Sessions returns how many sessions it has had.
func (m *Minion) Sessions() int { return int(m.sessions.Load()) }

// Ran reports whether it has run the task.
func (m *Minion) Ran(id job.TaskID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs[task{id.Fire, id.Attempt}] > 0
}

// Unacked returns how many reports wait for their acknowledgement.
func (m *Minion) Unacked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.unacked)
}

// Connected reports whether a node has welcomed it, and LastError why the last
// session ended.
func (m *Minion) Connected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connected
}

// LastError returns why the last session ended, nil while there was none.
func (m *Minion) LastError() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastErr
}

// Stall makes the minion stop reading, or go on. One frame that has come is
// left unanswered meanwhile.
func (m *Minion) Stall(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gate = turn(m.gate, on)
}

// Away makes the minion disconnect and stay away, or come back.
func (m *Minion) Away(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.home = turn(m.home, on)
	if on && m.cut != nil {
		m.cut(errCut)
	}
}

// Disconnect cuts the session; the minion connects again.
func (m *Minion) Disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut != nil {
		m.cut(errCut)
	}
}

// turn returns a gate that is shut or open.
func turn(gate chan struct{}, shut bool) chan struct{} {
	isShut := true
	select {
	case <-gate:
		isShut = false
	default:
	}
	switch {
	case shut && !isShut:
		return make(chan struct{})
	case !shut && isShut:
		close(gate)
	}
	return gate
}

// Run keeps a session open until ctx is done.
func (m *Minion) Run(ctx context.Context) error {
	wait := m.cfg.Reconnect
	for ctx.Err() == nil {
		m.mu.Lock()
		home := m.home
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-home:
		}
		err := m.session(ctx)
		m.mu.Lock()
		welcomed := m.connected
		m.connected, m.cut, m.lastErr = false, nil, err
		m.mu.Unlock()
		if welcomed {
			wait = m.cfg.Reconnect
		}
		pause := time.NewTimer(m.pause(wait))
		wait = min(2*wait, max(m.cfg.ReconnectMax, m.cfg.Reconnect))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return nil
}

// pause returns how long to wait when the longest wait is given.
func (m *Minion) pause(longest time.Duration) time.Duration {
	if m.cfg.ReconnectMax <= 0 {
		return m.cfg.Reconnect
	}
	return rand.N(longest)
}

// beginOpening waits for a place among those that open a session. The function
// that it returns gives it back, and may be called again.
func (m *Minion) beginOpening(ctx context.Context) (opened func(), err error) {
	if m.cfg.Opening == nil {
		return func() {}, nil
	}
	select {
	case m.cfg.Opening <- struct{}{}:
		return sync.OnceFunc(func() { <-m.cfg.Opening }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type clientStream = grpc.BidiStreamingClient[agentpb.FromMinion, agentpb.ToMinion]

// session is one stream.
type session struct {
	m      *Minion
	stream clientStream
	mu     sync.Mutex // serializes Send
}

func (s *session) send(f *agentpb.FromMinion) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(f)
}

func (m *Minion) session(ctx context.Context) error {
	opened, err := m.beginOpening(ctx)
	if err != nil {
		return err
	}
	defer opened()
	conn, err := m.cfg.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.mu.Lock()
	m.cut = cancel
	select {
	case <-m.home:
	default: // sent away meanwhile
		m.mu.Unlock()
		return errCut
	}
	hello := &agentpb.Hello{
		Minion: string(m.cfg.ID), Instance: m.cfg.Instance, Version: m.cfg.Version, Protocol: agentpb.Protocol,
		Inventory: &agentpb.Inventory{Labels: m.cfg.Labels, Facts: m.cfg.Facts},
		WallClock: time.Now().UnixNano(), Session: m.epoch,
	}
	m.mu.Unlock()
	hello.Clock = m.clock()
	stream, err := agentpb.NewPushClient(conn).Session(ctx)
	if err != nil {
		return err
	}
	s := &session{m: m, stream: stream}
	_ = s.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: hello}}) // Recv tells why it failed
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	w := first.GetWelcome()
	if w == nil {
		return errors.New("the node did not say welcome")
	}
	m.mu.Lock()
	m.connected, m.epoch = true, w.GetSession()
	var again []*agentpb.Report
	for _, r := range m.unacked {
		again = append(again, r)
	}
	m.mu.Unlock()
	m.sessions.Add(1)
	opened()
	if len(again) > 0 {
		if err := s.report(again); err != nil {
			return err
		}
	}
	stop := s.beat(ctx, time.Duration(w.GetBeatEvery()))
	defer stop()
	return s.receive(ctx)
}

// beat sends beats until the returned function is called.
func (s *session) beat(ctx context.Context, every time.Duration) (stop func()) {
	if s.m.cfg.BeatEvery != 0 {
		every = s.m.cfg.BeatEvery
	}
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if s.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Clock: s.m.clock()}}}) != nil {
					return
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *session) receive(ctx context.Context) error {
	m := s.m
	for {
		f, err := s.stream.Recv()
		if err != nil {
			return err
		}
		m.mu.Lock()
		gate := m.gate
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-gate:
		}
		switch b := f.GetBody().(type) {
		case *agentpb.ToMinion_Offer:
			err = s.offer(b.Offer)
		case *agentpb.ToMinion_Ack:
			m.acked(b.Ack)
		case *agentpb.ToMinion_Output:
			err = s.output(b.Output)
		case *agentpb.ToMinion_Update:
			if m.cfg.Update != nil {
				m.cfg.Update(b.Update)
			}
		case *agentpb.ToMinion_Drain:
			return errors.New("drained")
		}
		if err != nil {
			return err
		}
	}
}

// reportBatch bounds one message of reports.
const reportBatch = 256

func (s *session) report(reports []*agentpb.Report) error {
	for len(reports) > 0 {
		n := min(len(reports), reportBatch)
		err := s.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: reports[:n]}}})
		if err != nil {
			return err
		}
		reports = reports[n:]
	}
	return nil
}

// offer runs what is new in an offer, takes it, and reports.
func (s *session) offer(o *agentpb.Offer) error {
	m := s.m
	m.offers.Add(1)
	if m.cfg.Take != nil && !m.cfg.Take(o) {
		return nil
	}
	var reports []*agentpb.Report
	for _, w := range o.GetOrders() {
		w.HoldUntil = agentpb.Translate(w.GetHoldUntil(), o.Ahead)
		if r := m.order(w); r != nil {
			reports = append(reports, r)
		}
	}
	for _, q := range o.GetQuestions() {
		reports = append(reports, m.question(q))
	}
	for _, c := range o.GetCancels() {
		reports = append(reports, m.cancel(c))
	}
	if err := s.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: o.GetSeq()}}}); err != nil {
		return err
	}
	return s.report(reports)
}

// clock returns what the minion tells of its clock; 0: nothing.
func (m *Minion) clock() int64 {
	if m.cfg.Clock == nil {
		return 0
	}
	return int64(m.cfg.Clock())
}
