package agentpush

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Status is what a Hub holds now.
type Status struct {
	Node job.NodeID `json:"node"`
	// Connected counts sessions here; Known and Online count minions of the
	// whole cluster.
	Connected int `json:"connected"`
	Known     int `json:"known"`
	Online    int `json:"online"`
	// Queued and InFlight count messages that wait here, and that are offered;
	// Forwarded those that are on their way to peers, or for which peers answer.
	Queued    int    `json:"queued"`
	InFlight  int    `json:"inFlight"`
	Forwarded int    `json:"forwarded"`
	Dropped   uint64 `json:"dropped"`
	// Taken counts messages that minions have taken; TakenPerSecond is the mean
	// over the last ten seconds or so.
	Taken          uint64  `json:"taken"`
	TakenPerSecond float64 `json:"takenPerSecond"`
	// Minions are those with a session or with messages here, sorted by id.
	Minions []MinionStatus `json:"minions"`
}

// MinionStatus is one minion's topic and channel.
type MinionStatus struct {
	ID        job.MinionID `json:"id"`
	Connected bool         `json:"connected"`
	Session   int64        `json:"session,omitempty"`
	Queued    int          `json:"queued"`
	InFlight  int          `json:"inFlight"`
	// Oldest is how long the oldest message has waited.
	Oldest  time.Duration `json:"oldest"`
	Dropped uint64        `json:"dropped"`
	Taken   uint64        `json:"taken"`
	// Trouble is why it gets no orders; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// Status tells what the hub holds now.
func (h *Hub) Status() Status {
	st := Status{Node: h.cfg.Node, Taken: h.pace.total.Load(), TakenPerSecond: h.pace.perSecond()}
	st.Known, st.Online = h.inventory.count()
	channels := h.allChannels()
	for _, l := range h.allLinks() {
		l.mu.Lock()
		st.Forwarded += len(l.queue) + len(l.unsettled)
		l.mu.Unlock()
	}
	now := h.now().UnixNano()
	for _, c := range channels {
		c.mu.Lock()
		m := MinionStatus{ID: c.id, Queued: c.topic.len(), InFlight: len(c.slot), Dropped: c.dropped, Taken: c.taken}
		if c.session != nil {
			m.Connected, m.Session, m.Trouble = true, c.session.epoch, c.session.trouble.reason
			st.Connected++
		}
		at := c.topic.oldest()
		if len(c.slot) > 0 && (at == 0 || c.slot[0].since < at) {
			at = c.slot[0].since
		}
		if at != 0 {
			m.Oldest = time.Duration(now - at)
		}
		c.mu.Unlock()
		st.Queued += m.Queued
		st.InFlight += m.InFlight
		st.Dropped += m.Dropped
		st.Minions = append(st.Minions, m)
	}
	slices.SortFunc(st.Minions, func(a, b MinionStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return st
}

// pace measures how many messages minions take.
type pace struct {
	total atomic.Uint64

	mu sync.Mutex
	// mu guards what follows: the counts at the last few ticks of a second.
	at    time.Time
	marks [paceSeconds + 1]uint64
	n     int
}

const paceSeconds = 10

// tick notes the count, once a second.
func (p *pace) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.at) < time.Second {
		return
	}
	p.at = now
	copy(p.marks[1:], p.marks[:])
	p.marks[0] = p.total.Load()
	p.n = min(p.n+1, len(p.marks))
}

func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n < 2 {
		return 0
	}
	return float64(p.marks[0]-p.marks[p.n-1]) / float64(p.n-1)
}

// Statuses tells what the hubs of all nodes hold, ordered by node. A node that
// does not answer in time is left out: the others are returned together with an
// error.
func (h *Hub) Statuses(ctx context.Context) ([]Status, error) {
	var mu sync.Mutex
	out := []Status{h.Status()}
	err := h.askPeers(ctx, func(ctx context.Context, addr string) error {
		st, err := h.statusAt(ctx, addr)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, st)
		return nil
	})
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return out, err
}

func (h *Hub) statusAt(ctx context.Context, addr string) (Status, error) {
	var st Status
	conn, err := h.conn(addr)
	if err != nil {
		return st, err
	}
	resp, err := agentpb.NewPeerClient(conn).Status(ctx, &agentpb.StatusRequest{}, grpc.MaxCallRecvMsgSize(maxLiveRuns))
	if err == nil {
		err = json.Unmarshal(resp.GetStatus(), &st)
	}
	if err != nil {
		return st, fmt.Errorf("status of the node at %s: %w", addr, err)
	}
	return st, nil
}

// Status tells a peer what this node's hub holds.
func (p peerServer) Status(context.Context, *agentpb.StatusRequest) (*agentpb.StatusResponse, error) {
	b, err := json.Marshal(p.h.Status())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "status: %v", err)
	}
	return &agentpb.StatusResponse{Status: b}, nil
}
