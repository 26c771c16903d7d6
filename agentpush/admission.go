package agentpush

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// admission decides which streams become sessions, and ends those of revoked
// minions. A rate of accepts, and a bound on handshakes, belong in front of it, at
// the listener.
type admission struct {
	*base
	life      *lifetime
	callers   *callers
	channels  *channels
	locations locations
	conflicts *conflicts
	sessions  *sessions
	health    *health
	// texts and outputs are what is held of them for all sessions.
	texts, outputs *budget
	// draining: the node leaves, and takes no new sessions.
	draining atomic.Bool
	// away says why minions are to go to another cluster; nil: never.
	away func() string
}

// admit opens a session, or says why not.
func (a *admission) admit(stream minionStream, hello *agentpb.Hello) (*session, error) {
	id := job.MinionID(hello.GetMinion())
	if err := job.CheckName(string(id)); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "minion id: %v", err)
	}
	if err := a.callers.isMinion(stream.Context(), id); err != nil {
		return nil, err
	}
	if p := hello.GetProtocol(); p != agentpb.Protocol {
		return nil, status.Errorf(codes.FailedPrecondition, "minion %s speaks protocol %d; this node speaks %d: install the same release", id, p, agentpb.Protocol)
	}
	if hello.GetInstance() == "" {
		return nil, status.Errorf(codes.InvalidArgument, "minion %s gives no instance; an id that is new at every start is needed", id)
	}
	s := &session{
		stream: stream, heard: make(chan struct{}, 1),
		identity: identity{instance: hello.GetInstance(), version: hello.GetVersion(), opened: a.now()},
		closing:  closing{done: make(chan struct{})},
		word: word{
			beats:        newAllowance(saidBurst, min(saidEvery, a.cfg.BeatEvery/2), a.now()),
			descriptions: newAllowance(saidBurst, saidEvery, a.now()),
		},
		texts:   textRoom{now: a.now, room: make(chan struct{}, 1), all: a.texts},
		outputs: readers{all: a.outputs},
	}
	s.seen.Store(s.opened.UnixNano())
	s.clock.measure(hello.GetWallClock(), s.opened.UnixNano())
	if p, ok := peer.FromContext(stream.Context()); ok {
		s.remote = p.Addr.String()
	}
	if max(hello.GetSession(), a.locations.session(id)) >= agentpb.MaxSession {
		return nil, status.Errorf(codes.ResourceExhausted, "minion %s: its sessions have no numbers left: start its process anew", id)
	}
	if err := a.conflicts.redirect(stream, id, hello); err != nil {
		return nil, err
	}
	servers := a.directory.Servers()
	if a.away != nil {
		if why := a.away(); why != "" {
			return nil, status.Errorf(codes.Unavailable, "%s; connect elsewhere", why)
		}
	}
	for {
		if a.draining.Load() || a.life.ctx.Err() != nil {
			return nil, status.Error(codes.Unavailable, "the node is leaving; connect elsewhere")
		}
		c := a.channels.get(id, true)
		old := c.session
		if old == nil || old.instance == s.instance || a.stale(old) {
			a.sessions.open(c, s, hello, servers)
			// revoke finds the session from here on; before, it may not have.
			if err := a.callers.isMinion(stream.Context(), id); err != nil {
				s.close(errRevoked)
			}
			return s, nil
		}
		c.mu.Unlock()
		alive := a.answers(stream.Context(), old)
		if err := stream.Context().Err(); err != nil {
			return nil, err
		}
		if alive {
			a.log.Warn("minion id is used twice", zap.String("minion", string(id)),
				zap.String("kept", old.instance), zap.String("kept_from", old.remote),
				zap.String("refused", s.instance), zap.String("refused_from", s.remote))
			return nil, status.Errorf(codes.AlreadyExists,
				"minion %s: %v: instance %s from %s is connected and answers, instance %s from %s is refused: give each minion its own id",
				id, errNotTheOnly, old.instance, old.remote, s.instance, s.remote)
		}
		old.close(errReplaced)
		a.sessions.left(old)
	}
}

// stale: nothing was heard for more than one beat.
func (a *admission) stale(s *session) bool {
	return a.now().UnixNano()-s.seen.Load() > int64(a.cfg.BeatEvery)
}

// answers finds out whether an old session still lives: it is given an empty
// offer, unless it has one to answer already, and little time.
func (a *admission) answers(ctx context.Context, s *session) bool {
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
		a.health.offerNothing(s.c)
	}
	s.c.mu.Unlock()
	timer := time.NewTimer(a.cfg.ProbeWait)
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

// revoke ends the session of a minion whose certificate was revoked, if it has
// one here.
func (a *admission) revoke(id job.MinionID) {
	c := a.channels.get(id, false)
	if c == nil {
		return
	}
	s := c.session
	c.mu.Unlock()
	if s != nil {
		a.log.Warn("session of a revoked minion ended", zap.String("minion", string(id)), zap.String("from", s.remote))
		s.close(errRevoked)
	}
}
