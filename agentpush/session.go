package agentpush

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/job"
)

var (
	errReplaced   = errors.New("replaced by a newer session of the same minion")
	errElsewhere  = errors.New("the minion has a newer session at another node")
	errSilent     = errors.New("no beat in time")
	errUnread     = errors.New("the minion asks for texts, and does not read them")
	errStopping   = errors.New("the node stops")
	errNotTheOnly = errors.New("another live process has this id")
	errRevoked    = errors.New(agentpb.Revoked)
)

// helloWait is how long a new stream may take to say hello.
const helloWait = 10 * time.Second

type minionStream = grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]

// session is one live stream of a minion.
type session struct {
	c        *channel
	stream   minionStream
	instance string
	remote   string
	epoch    int64
	opened   time.Time
	// seen is when the minion was last heard, in nanoseconds.
	seen atomic.Int64
	// heard is signaled at every frame while somebody probes.
	heard chan struct{}

	once sync.Once
	done chan struct{}
	// cause is why the session ended; it may be read once done is closed.
	cause error

	// The channel's mutex guards what follows, up to the blank line; version is
	// never changed.
	sending bool
	// clock is what the minion has told of its clock.
	clock   agentpb.Ahead
	control []*agentpb.ToMinion
	acks    []*agentpb.TaskID
	// told is the last word on releases that went to the minion over it.
	told *agentpb.ToMinion

	version string
	trouble trouble
	// beats and descriptions bound how often the minion's word on itself counts;
	// untold is the newest description that has not counted yet.
	beats, descriptions allowance
	untold              *agentpb.Inventory

	// ahead is how far the minion's clock is ahead of ours, in nanoseconds.
	ahead atomic.Int64
	// said is the minion's wall clock as it said hello, welcomed the time that it was
	// told in answer, and welcomedAt when that was, on the monotonic clock.
	said, welcomed int64
	welcomedAt     time.Duration
	// reading is what is known of the minion's clock. Nil: nothing.
	reading atomic.Pointer[clock.Reading]
	// fetches counts those that are being answered.
	fetches atomic.Int32
	texts   texts
	outputs outputs
}

// close ends the session; only the first cause counts.
func (s *session) close(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.done)
	})
}

// Session serves one minion. The handler's goroutine waits for the end, so that
// a session can be ended from anywhere; another one receives.
func (p pushServer) Session(stream minionStream) error {
	h := p.h
	if !h.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer h.running.Done()
	first := make(chan *agentpb.FromMinion, 1)
	broken := make(chan error, 1)
	admitted := make(chan *session, 1)
	defer close(admitted)
	if !h.spawn(func() { h.receive(stream, first, broken, admitted) }) {
		return status.Error(codes.Unavailable, "the node stops")
	}
	timer := time.NewTimer(helloWait)
	defer timer.Stop()
	var hello *agentpb.Hello
	select {
	case m := <-first:
		hello = m.GetHello()
	case err := <-broken:
		return err
	case <-timer.C:
	case <-h.life.Done():
		return status.Error(codes.Unavailable, "the node stops")
	}
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message on a stream must be hello, sent at once")
	}
	s, err := h.admit(stream, hello)
	if err != nil {
		h.met.refused.Inc()
		return err
	}
	admitted <- s
	select {
	case <-s.done:
	case <-stream.Context().Done():
		s.close(context.Cause(stream.Context()))
	case <-h.life.Done():
		s.close(errStopping)
	}
	h.left(s)
	switch {
	case errors.Is(s.cause, io.EOF):
		return nil
	case status.Code(s.cause) == codes.InvalidArgument:
		return s.cause // it says which field
	}
	return status.Error(codes.Aborted, s.cause.Error())
}

// next reads a frame. One of which a field is out of its range is an error: it
// ends the session.
func (h *Hub) next(stream minionStream) (*agentpb.FromMinion, error) {
	var a arriving
	if err := stream.RecvMsg(&a); err != nil {
		return nil, err
	}
	m, err := h.decode(&a)
	if err != nil {
		h.met.illegal.Inc()
		return nil, status.Errorf(codes.InvalidArgument, "frame refused: %v", err)
	}
	return m, nil
}

// receive reads a minion's stream until it ends.
func (h *Hub) receive(stream minionStream, first chan<- *agentpb.FromMinion, broken chan<- error, admitted <-chan *session) {
	m, err := h.next(stream)
	if err != nil {
		broken <- err
		return
	}
	first <- m
	s := <-admitted
	if s == nil {
		return
	}
	for {
		m, err := h.next(stream)
		if err != nil {
			if status.Code(err) == codes.InvalidArgument {
				h.log.Warn("session ended: the minion does not keep to the protocol", zap.String("minion", string(s.c.id)), zap.String("from", s.remote), zap.Error(err))
			}
			s.close(err)
			return
		}
		s.seen.Store(h.now().UnixNano())
		select {
		case s.heard <- struct{}{}:
		default:
		}
		h.handle(s, m)
	}
}

// handle deals with a frame of which all fields are within their ranges.
func (h *Hub) handle(s *session, m *agentpb.FromMinion) {
	switch b := m.GetBody().(type) {
	case *agentpb.FromMinion_Taken:
		h.taken(s.c, s, b.Taken.GetSeq())
	case *agentpb.FromMinion_Reports:
		h.reported(s, b.Reports.GetReports())
	case *agentpb.FromMinion_Beat:
		h.beat(s, b.Beat)
	case *agentpb.FromMinion_Output:
		s.outputs.chunk(b.Output)
	case *agentpb.FromMinion_Inventory:
		h.described(s, b.Inventory)
	case *agentpb.FromMinion_Fetch:
		h.fetch(s, b.Fetch.GetSha256())
	}
}

// admit opens a session, or says why not. Admission control (a rate of accepts,
// a bound on handshakes) belongs in front of this, at the listener.
func (h *Hub) admit(stream minionStream, hello *agentpb.Hello) (*session, error) {
	id := job.MinionID(hello.GetMinion())
	if err := job.CheckName(string(id)); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "minion id: %v", err)
	}
	if err := h.isMinion(stream.Context(), id); err != nil {
		return nil, err
	}
	if p := hello.GetProtocol(); p != agentpb.Protocol {
		return nil, status.Errorf(codes.FailedPrecondition, "minion %s speaks protocol %d; this node speaks %d: install the same release", id, p, agentpb.Protocol)
	}
	if hello.GetInstance() == "" {
		return nil, status.Errorf(codes.InvalidArgument, "minion %s gives no instance; an id that is new at every start is needed", id)
	}
	s := &session{
		stream: stream, instance: hello.GetInstance(), version: hello.GetVersion(), opened: h.now(),
		heard: make(chan struct{}, 1), done: make(chan struct{}),
		beats:        newAllowance(saidBurst, min(saidEvery, h.cfg.BeatEvery/2), h.now()),
		descriptions: newAllowance(saidBurst, saidEvery, h.now()),
		texts:        texts{now: h.now, room: make(chan struct{}, 1), all: &h.texts},
		outputs:      outputs{all: &h.outputs},
	}
	s.seen.Store(s.opened.UnixNano())
	s.measure(hello.GetWallClock(), s.opened.UnixNano())
	if p, ok := peer.FromContext(stream.Context()); ok {
		s.remote = p.Addr.String()
	}
	if max(hello.GetSession(), h.inventory.session(id)) >= agentpb.MaxSession {
		return nil, status.Errorf(codes.ResourceExhausted, "minion %s: its sessions have no numbers left: start its process anew", id)
	}
	if err := h.sendToRival(stream, id, hello); err != nil {
		return nil, err
	}
	servers := h.deps.Directory.Servers()
	for {
		if h.draining.Load() || h.life.Err() != nil {
			return nil, status.Error(codes.Unavailable, "the node is leaving; connect elsewhere")
		}
		c := h.channelOf(id, true)
		old := c.session
		if old == nil || old.instance == s.instance || h.stale(old) {
			h.open(c, s, hello, servers)
			// Revoke finds the session from here on; before, it may not have.
			if err := h.isMinion(stream.Context(), id); err != nil {
				s.close(errRevoked)
			}
			return s, nil
		}
		c.mu.Unlock()
		alive := h.answers(stream.Context(), old)
		if err := stream.Context().Err(); err != nil {
			return nil, err
		}
		if alive {
			h.log.Warn("minion id is used twice", zap.String("minion", string(id)),
				zap.String("kept", old.instance), zap.String("kept_from", old.remote),
				zap.String("refused", s.instance), zap.String("refused_from", s.remote))
			return nil, status.Errorf(codes.AlreadyExists,
				"minion %s: %v: instance %s from %s is connected and answers, instance %s from %s is refused: give each minion its own id",
				id, errNotTheOnly, old.instance, old.remote, s.instance, s.remote)
		}
		old.close(errReplaced)
		h.left(old)
	}
}

// stale: nothing was heard for more than one beat.
func (h *Hub) stale(s *session) bool {
	return h.now().UnixNano()-s.seen.Load() > int64(h.cfg.BeatEvery)
}

// answers finds out whether an old session still lives: it is given an empty
// offer, unless it has one to answer already, and little time.
func (h *Hub) answers(ctx context.Context, s *session) bool {
	select {
	case <-s.heard: // of earlier
	default:
	}
	s.c.mu.Lock()
	if s.c.session != s {
		s.c.mu.Unlock()
		return false
	}
	if !s.c.offered {
		h.offerNothing(s.c)
	}
	s.c.mu.Unlock()
	timer := time.NewTimer(h.cfg.ProbeWait)
	defer timer.Stop()
	select {
	case <-s.heard:
		return true
	case <-s.done:
		return false
	case <-timer.C:
		return false
	case <-ctx.Done():
		return true // the asker has left; nothing is decided
	}
}

// open makes s the channel's session, in place of an older one. The caller
// holds c.mu, which open releases.
func (h *Hub) open(c *channel, s *session, hello *agentpb.Hello, servers []string) {
	var ends []ending
	if old := c.session; old != nil {
		_, ends = c.detach(old)
		old.close(errReplaced)
	} else {
		h.connected.Add(1)
	}
	s.c = c
	s.clock.Heard(time.Duration(hello.GetClock()), h.deps.Clock())
	s.said, s.welcomed, s.welcomedAt = hello.GetWallClock(), h.now().UnixNano(), h.deps.Clock()
	s.epoch = h.nextEpoch(max(hello.GetSession(), h.inventory.session(c.id)))
	s.control = []*agentpb.ToMinion{{Body: &agentpb.ToMinion_Welcome{Welcome: &agentpb.Welcome{
		Node: string(h.cfg.Node), WallClock: s.welcomed, Servers: servers,
		BeatEvery: int64(h.cfg.BeatEvery), Session: s.epoch,
	}}}}
	c.session = s
	h.tellUpdate(s)
	m := job.Minion{
		ID: c.id, Labels: hello.GetInventory().GetLabels(), Facts: hello.GetInventory().GetFacts(),
		Version: hello.GetVersion(), Running: int(hello.GetRunning()), Since: s.opened.UTC(),
	}
	h.inventory.setLocal(m, s.epoch)
	h.presence.add(Present{ID: c.id, Session: s.epoch, Opened: s.opened.UTC()})
	h.assess(c, s.opened.UnixNano())
	h.kick(c)
	c.mu.Unlock()
	h.met.connected.Set(float64(h.connected.Load()))
	h.finish(ends)
	h.describe(m)
	h.log.Debug("minion connected", zap.String("minion", string(c.id)), zap.String("from", s.remote), zap.Int64("session", s.epoch))
}

// left takes a closed session away; it may be called again.
func (h *Hub) left(s *session) {
	c := s.c
	c.mu.Lock()
	was, ends := c.detach(s)
	if was {
		h.connected.Add(-1)
		h.inventory.clearLocal(c.id, s.epoch)
		h.presence.remove(c.id, s.epoch)
	}
	c.mu.Unlock()
	s.texts.drop()
	s.outputs.fail(fmt.Errorf("minion %s: connection lost: %w", c.id, s.cause))
	if !was {
		return
	}
	h.met.connected.Set(float64(h.connected.Load()))
	h.finish(ends)
	h.log.Debug("minion disconnected", zap.String("minion", string(c.id)), zap.Error(s.cause))
	h.moved(c.id)
	h.forget(c)
}

// nextEpoch returns a session epoch above one that is known of the minion. What a
// minion says moves its own epochs only.
func (h *Hub) nextEpoch(known int64) int64 { return max(h.epoch.Add(1), known+1) }

// described takes what a minion newly tells of its host. What comes too often
// waits, and only the newest of it.
func (h *Hub) described(s *session, inv *agentpb.Inventory) {
	s.c.mu.Lock()
	if s.untold = inv; !s.descriptions.use(h.now()) {
		s.c.quiet.Store(false)
		s.c.mu.Unlock()
		return
	}
	s.untold = nil
	s.c.mu.Unlock()
	h.redescribe(s, inv)
}

func (h *Hub) redescribe(s *session, inv *agentpb.Inventory) {
	if m, ok := h.inventory.redescribe(s.c.id, s.epoch, inv.GetLabels(), inv.GetFacts()); ok {
		h.describe(m)
	}
}

// Revoke ends the session of a minion whose certificate was revoked, if it has
// one here.
func (h *Hub) Revoke(id job.MinionID) {
	c := h.channelOf(id, false)
	if c == nil {
		return
	}
	s := c.session
	c.mu.Unlock()
	if s != nil {
		h.log.Warn("session of a revoked minion ended", zap.String("minion", string(id)), zap.String("from", s.remote))
		s.close(errRevoked)
	}
}
