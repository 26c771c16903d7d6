package agentpush

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/job"
)

// Time tells a peer this node's wall clock.
func (p peerServer) Time(context.Context, *agentpb.TimeRequest) (*agentpb.TimeResponse, error) {
	wall, sure := p.h.deps.Witness()
	return &agentpb.TimeResponse{WallClock: wall, Doubtful: !sure}, nil
}

// PeerClock reads a peer's clock by a round trip.
func (h *Hub) PeerClock(ctx context.Context, node job.NodeID) (clock.Reading, error) {
	conn, err := h.connTo(node)
	if err != nil {
		return clock.Reading{}, err
	}
	sent := h.deps.Clock()
	resp, err := agentpb.NewPeerClient(conn).Time(ctx, &agentpb.TimeRequest{})
	received := h.deps.Clock()
	if err != nil {
		return clock.Reading{}, fmt.Errorf("clock of node %s: %w", node, err)
	}
	if resp.GetDoubtful() {
		return clock.Reading{}, fmt.Errorf("clock of node %s: %w", node, clock.ErrDoubtful)
	}
	return clock.Trip(resp.GetWallClock(), sent, received), nil
}

// readClock works out where a minion's clock has its origin. The minion tells how
// far it is ahead of the welcome, reckoned from the middle of the round trip from
// its hello on. What it said then, before that, bounds half of the round trip. One
// whose clock has stepped since is off by the step, and counts no more.
func (s *session) readClock(b *agentpb.Beat) {
	if b.GetWallClock() == 0 || s.said == 0 {
		return
	}
	then := s.welcomed + b.GetClockSkew()*int64(time.Millisecond) // on its clock, at the welcome
	half := time.Duration(then - s.said).Abs()
	s.reading.Store(&clock.Reading{Origin: then - int64(s.welcomedAt), Err: half + time.Millisecond})
}

// MinionClocks reads the clocks of minions that are connected here, of n at most.
func (h *Hub) MinionClocks(n int) []clock.Reading {
	var out []clock.Reading
	for _, c := range h.someChannels(2 * n) {
		if r := c.clock(); r != nil && len(out) < n {
			out = append(out, *r)
		}
	}
	return out
}

// someChannels returns n channels at most: of many, any are as good as others.
func (h *Hub) someChannels(n int) []*channel {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*channel, 0, min(n, len(h.channels)))
	for _, c := range h.channels {
		if len(out) == n {
			break
		}
		out = append(out, c)
	}
	return out
}

// clock returns what is known of the clock of the channel's minion, or nil.
func (c *channel) clock() *clock.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return nil
	}
	return c.session.reading.Load()
}
