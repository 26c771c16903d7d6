package agentpush

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/clock"
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

// queries answers what the cluster's nodes hold: this one by itself, the others by
// asking them.
type queries struct {
	*base
	peers     *peers
	channels  *channels
	links     *links
	locations locations
	engine    Sink
	pace      *pace
	witness   func() (wall int64, sure bool)
}

// Status tells what the hub holds now.
func (q *queries) status() Status {
	st := Status{Node: q.cfg.Node, Taken: q.pace.total.Load(), TakenPerSecond: q.pace.perSecond()}
	st.Known, st.Online = q.locations.count()
	channels := q.channels.all()
	for _, l := range q.links.all() {
		l.mu.Lock()
		st.Forwarded += len(l.queue) + len(l.unsettled.ends)
		l.mu.Unlock()
	}
	now := q.now().UnixNano()
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

// Statuses tells what the hubs of all nodes hold, ordered by node. A node that
// does not answer in time is left out: the others are returned together with an
// error.
func (q *queries) statuses(ctx context.Context) ([]Status, error) {
	var mu sync.Mutex
	out := []Status{q.status()}
	err := q.peers.askAll(ctx, func(ctx context.Context, addr string) error {
		st, err := q.statusAt(ctx, addr)
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

func (q *queries) statusAt(ctx context.Context, addr string) (Status, error) {
	var st Status
	conn, err := q.peers.conn(addr)
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
func (q *queries) serveStatus(context.Context, *agentpb.StatusRequest) (*agentpb.StatusResponse, error) {
	b, err := json.Marshal(q.status())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "status: %v", err)
	}
	return &agentpb.StatusResponse{Status: b}, nil
}

// LiveRuns lists the runs that this node's engine and all its peers' engines
// hold open, and the shards of which they are all. A peer that does not answer in
// time is left out: what the others have is returned together with an error.
func (q *queries) liveRuns(ctx context.Context, namespace, name string) ([]job.Run, []job.ShardID, error) {
	var mu sync.Mutex
	runs := map[job.RunID]job.Run{}
	var shards []job.ShardID
	add := func(found []job.Run, of []job.ShardID) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range found {
			runs[r.RunID] = r
		}
		shards = append(shards, of...)
	}
	err := q.peers.askAll(ctx, func(ctx context.Context, addr string) error {
		found, of, err := q.liveRunsAt(ctx, addr, namespace, name)
		if err != nil {
			q.log.Warn("peer does not tell its live runs", zap.String("addr", addr), zap.Error(err))
		}
		add(found, of)
		return err
	})
	add(q.engine.LiveRuns(namespace, name))
	out := make([]job.Run, 0, len(runs))
	for _, r := range runs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b job.Run) int { return b.ScheduledAt.Compare(a.ScheduledAt) })
	slices.Sort(shards)
	return out, slices.Compact(shards), err
}

// maxLiveRuns bounds a peer's answer, in bytes.
const maxLiveRuns = 64 << 20

func (q *queries) liveRunsAt(ctx context.Context, addr, namespace, name string) ([]job.Run, []job.ShardID, error) {
	conn, err := q.peers.conn(addr)
	if err != nil {
		return nil, nil, err
	}
	resp, err := agentpb.NewPeerClient(conn).LiveRuns(ctx,
		&agentpb.LiveRunsRequest{Namespace: namespace, Job: name}, grpc.MaxCallRecvMsgSize(maxLiveRuns))
	if err != nil {
		return nil, nil, fmt.Errorf("live runs at %s: %w", addr, err)
	}
	out := make([]job.Run, len(resp.GetRuns()))
	for i, b := range resp.GetRuns() {
		if err := json.Unmarshal(b, &out[i]); err != nil {
			return nil, nil, fmt.Errorf("live runs at %s: %w", addr, err)
		}
	}
	of := make([]job.ShardID, len(resp.GetShards()))
	for i, s := range resp.GetShards() {
		of[i] = job.ShardID(s)
	}
	return out, of, nil
}

// LiveRuns tells a peer what this node's engine holds open.
func (q *queries) serveLiveRuns(_ context.Context, req *agentpb.LiveRunsRequest) (*agentpb.LiveRunsResponse, error) {
	runs, of := q.engine.LiveRuns(req.GetNamespace(), req.GetJob())
	resp := &agentpb.LiveRunsResponse{Runs: make([][]byte, len(runs)), Shards: make([]uint32, len(of))}
	for i, s := range of {
		resp.Shards[i] = uint32(s)
	}
	for i := range runs {
		b, err := json.Marshal(&runs[i])
		if err != nil {
			return nil, status.Errorf(codes.Internal, "run %s: %v", runs[i].RunID, err)
		}
		resp.Runs[i] = b
	}
	return resp, nil
}

// Time tells a peer this node's wall clock.
func (q *queries) serveTime(context.Context, *agentpb.TimeRequest) (*agentpb.TimeResponse, error) {
	wall, sure := q.witness()
	return &agentpb.TimeResponse{WallClock: wall, Doubtful: !sure}, nil
}

// PeerClock reads a peer's clock by a round trip.
func (q *queries) peerClock(ctx context.Context, node job.NodeID) (clock.Reading, error) {
	conn, err := q.peers.connTo(node)
	if err != nil {
		return clock.Reading{}, err
	}
	sent := q.clock()
	resp, err := agentpb.NewPeerClient(conn).Time(ctx, &agentpb.TimeRequest{})
	received := q.clock()
	if err != nil {
		return clock.Reading{}, fmt.Errorf("clock of node %s: %w", node, err)
	}
	if resp.GetDoubtful() {
		return clock.Reading{}, fmt.Errorf("clock of node %s: %w", node, clock.ErrDoubtful)
	}
	return clock.Trip(resp.GetWallClock(), sent, received), nil
}

// MinionClocks reads the clocks of minions that are connected here, of n at most.
func (q *queries) minionClocks(n int) []clock.Reading {
	var out []clock.Reading
	for _, c := range q.channels.some(2 * n) {
		if r := c.clock(); r != nil && len(out) < n {
			out = append(out, *r)
		}
	}
	return out
}
