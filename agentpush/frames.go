package agentpush

import (
	"context"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/fieldrange"
)

// frames serves minions' streams: it reads what comes, holds it against its
// ranges (I11), and gives it to whom it is for.
type frames struct {
	*base
	life      *lifetime
	checker   *fieldrange.Checker
	admission *admission
	sessions  *sessions
	pumps     *pumps
	health    *health
	reports   *reports
	registrar *registrar
	texts     *texts
	shares    *shares
	pace      *pace
}

// serve serves one minion. The handler's goroutine waits for the end, so that
// a session can be ended from anywhere; another one receives.
func (f *frames) serve(stream minionStream) error {
	if !f.life.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer f.life.running.Done()
	first := make(chan *agentpb.FromMinion, 1)
	broken := make(chan error, 1)
	admitted := make(chan *session, 1)
	defer close(admitted)
	if !f.life.spawn(func() { f.receive(stream, first, broken, admitted) }) {
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
	case <-f.life.ctx.Done():
		return status.Error(codes.Unavailable, "the node stops")
	}
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message on a stream must be hello, sent at once")
	}
	s, err := f.admission.admit(stream, hello)
	if err != nil {
		f.met.refused.Inc()
		return err
	}
	admitted <- s
	select {
	case <-s.done:
	case <-stream.Context().Done():
		s.close(context.Cause(stream.Context()))
	case <-f.life.ctx.Done():
		s.close(errStopping)
	}
	f.sessions.left(s)
	switch {
	case errors.Is(s.cause, io.EOF):
		return nil
	case status.Code(s.cause) == codes.InvalidArgument:
		return s.cause // it says which field
	}
	return status.Error(codes.Aborted, s.cause.Error())
}

// read reads a frame. One of which a field is out of its range is an error: it
// ends the session.
func (f *frames) read(stream minionStream) (*agentpb.FromMinion, error) {
	var a arriving
	if err := stream.RecvMsg(&a); err != nil {
		return nil, err
	}
	m, err := f.decode(&a)
	if err != nil {
		f.met.illegal.Inc()
		return nil, status.Errorf(codes.InvalidArgument, "frame refused: %v", err)
	}
	return m, nil
}

// receive reads a minion's stream until it ends.
func (f *frames) receive(stream minionStream, first chan<- *agentpb.FromMinion, broken chan<- error, admitted <-chan *session) {
	m, err := f.read(stream)
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
		m, err := f.read(stream)
		if err != nil {
			if status.Code(err) == codes.InvalidArgument {
				f.log.Warn("session ended: the minion does not keep to the protocol", zap.String("minion", string(s.c.id)), zap.String("from", s.remote), zap.Error(err))
			}
			s.close(err)
			return
		}
		s.seen.Store(f.now().UnixNano())
		select {
		case s.heard <- struct{}{}:
		default:
		}
		f.handle(s, m)
	}
}

// handle deals with a frame of which all fields are within their ranges.
func (f *frames) handle(s *session, m *agentpb.FromMinion) {
	switch b := m.GetBody().(type) {
	case *agentpb.FromMinion_Taken:
		f.taken(s.c, s, b.Taken.GetSeq())
	case *agentpb.FromMinion_Reports:
		f.reports.take(s, b.Reports.GetReports())
	case *agentpb.FromMinion_Beat:
		f.health.beat(s, b.Beat)
	case *agentpb.FromMinion_Output:
		s.outputs.chunk(b.Output)
	case *agentpb.FromMinion_Inventory:
		f.described(s, b.Inventory)
	case *agentpb.FromMinion_Fetch:
		f.texts.answer(s, b.Fetch.GetSha256())
	case *agentpb.FromMinion_Shared:
		f.shares.asked(s, b.Shared)
	}
}

// described takes what a minion newly tells of its host. What comes too often
// waits, and only the newest of it.
func (f *frames) described(s *session, inv *agentpb.Inventory) {
	s.c.mu.Lock()
	if s.untold = inv; !s.descriptions.use(f.now()) {
		s.c.quiet.Store(false)
		s.c.mu.Unlock()
		return
	}
	s.untold = nil
	s.c.mu.Unlock()
	f.registrar.redescribe(s, inv)
}

// taken frees the slot: the minion answers for the offer's content now.
func (f *frames) taken(c *channel, s *session, seq uint64) {
	c.mu.Lock()
	if c.session != s || !c.offered || c.seq != seq {
		c.mu.Unlock()
		return
	}
	msgs := c.slot
	c.offered, c.slot = false, nil
	c.taken += uint64(len(msgs))
	if t := &s.trouble; t.missed > 0 || t.reason != "" {
		t.missed = 0
		f.health.assess(c, f.now().UnixNano())
	}
	f.pumps.kick(c)
	c.mu.Unlock()
	f.met.taken.Add(float64(len(msgs)))
	f.pace.total.Add(uint64(len(msgs)))
	for _, m := range msgs {
		m.settled()
	}
}
