package agentpush

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// LiveRuns lists the runs that this node's engine and all its peers' engines
// hold open, and the shards of which they are all. A peer that does not answer in
// time is left out: what the others have is returned together with an error.
func (h *Hub) LiveRuns(ctx context.Context, namespace, name string) ([]job.Run, []job.ShardID, error) {
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
	err := h.askPeers(ctx, func(ctx context.Context, addr string) error {
		found, of, err := h.liveRunsAt(ctx, addr, namespace, name)
		if err != nil {
			h.log.Warn("peer does not tell its live runs", zap.String("addr", addr), zap.Error(err))
		}
		add(found, of)
		return err
	})
	add(h.deps.Sink.LiveRuns(namespace, name))
	out := make([]job.Run, 0, len(runs))
	for _, r := range runs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b job.Run) int { return b.ScheduledAt.Compare(a.ScheduledAt) })
	slices.Sort(shards)
	return out, slices.Compact(shards), err
}

// askPeers calls ask for all other nodes at once, for PeerWait at most, and
// returns the errors of all.
func (h *Hub) askPeers(ctx context.Context, ask func(ctx context.Context, addr string) error) error {
	own, _ := h.deps.Directory.PeerAddr(h.cfg.Node)
	ctx, cancel := context.WithTimeout(ctx, h.cfg.PeerWait)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	var asked sync.WaitGroup
	for _, addr := range slices.Compact(slices.Sorted(slices.Values(h.deps.Directory.Servers()))) {
		if addr == own {
			continue
		}
		asked.Go(func() {
			err := ask(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	asked.Wait()
	return errors.Join(errs...)
}

// maxLiveRuns bounds a peer's answer, in bytes.
const maxLiveRuns = 64 << 20

func (h *Hub) liveRunsAt(ctx context.Context, addr, namespace, name string) ([]job.Run, []job.ShardID, error) {
	conn, err := h.conn(addr)
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
func (p peerServer) LiveRuns(_ context.Context, req *agentpb.LiveRunsRequest) (*agentpb.LiveRunsResponse, error) {
	runs, of := p.h.deps.Sink.LiveRuns(req.GetNamespace(), req.GetJob())
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

// Output reads the full output of a task from the minion that ran it, which may
// be connected here or at a peer, and calls fn with its pieces; stream is 1 for
// stdout, 2 for stderr; leftOut, unless 0, says that so many bytes of the stream
// are missing here. fn may take its time: the minion waits. With follow it goes on
// until the task ends. An error of fn ends it and is returned. A minion that is
// not connected gives an error that wraps job.ErrUnavailable.
func (h *Hub) Output(ctx context.Context, task job.TaskID, follow bool, fn func(stream int, data []byte, leftOut int64) error) error {
	req := &agentpb.OutputRequest{Task: agentpb.FromTask(task), Follow: follow}
	call := func(c *agentpb.OutputChunk) error {
		if len(c.GetData()) == 0 && c.GetDropped() <= 0 {
			return nil
		}
		return fn(int(c.GetStream()), c.GetData(), max(c.GetDropped(), 0))
	}
	node := h.inventory.place(task.Minion)
	switch node {
	case "":
		return notConnected(task.Minion)
	case h.cfg.Node:
		return h.localOutput(ctx, req, call)
	}
	conn, err := h.connTo(node)
	if err != nil {
		return fmt.Errorf("output of %s: %w: %w", task, job.ErrUnavailable, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := agentpb.NewPeerClient(conn).Output(ctx, req)
	if err != nil {
		return fmt.Errorf("output of %s from node %s: %w", task, node, err)
	}
	for {
		c, err := stream.Recv()
		switch {
		case status.Code(err) == codes.Unavailable:
			return fmt.Errorf("output of %s from node %s: %w: %s", task, node, job.ErrUnavailable, status.Convert(err).Message())
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("output of %s from node %s: %w", task, node, err)
		case c.GetEof():
			return nil
		}
		if err := call(c); err != nil {
			return err
		}
	}
}

func notConnected(id job.MinionID) error {
	return fmt.Errorf("minion %s is not connected, and full output lies there: %w", id, job.ErrUnavailable)
}

// Output serves a peer with the output of a minion that is connected here.
func (p peerServer) Output(req *agentpb.OutputRequest, stream grpc.ServerStreamingServer[agentpb.OutputChunk]) error {
	if !p.h.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer p.h.running.Done()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.h.life, func() { cancel(errStopping) })()
	own := &agentpb.OutputRequest{Task: req.GetTask(), Follow: req.GetFollow()}
	err := p.h.localOutput(ctx, own, stream.Send)
	switch {
	case err == nil:
		return stream.Send(&agentpb.OutputChunk{Eof: true})
	case errors.Is(err, job.ErrUnavailable):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}

// localOutput reads output from a minion that is connected here.
func (h *Hub) localOutput(ctx context.Context, req *agentpb.OutputRequest, fn func(*agentpb.OutputChunk) error) error {
	id := job.MinionID(req.GetTask().GetMinion())
	req.Id, req.Window = h.requests.Add(1), readerWindow
	c := h.channelOf(id, false)
	if c == nil {
		return notConnected(id)
	}
	s := c.session
	if s == nil {
		c.mu.Unlock()
		return notConnected(id)
	}
	r := s.outputs.open(req.GetId())
	s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Output{Output: req}})
	h.kick(c)
	c.mu.Unlock()
	send := func(f *agentpb.ToMinion) {
		c.mu.Lock()
		s.control = append(s.control, f)
		h.kick(c)
		c.mu.Unlock()
	}
	taken := int64(0)
	err := r.read(ctx, func(chunk *agentpb.OutputChunk) error {
		if err := fn(chunk); err != nil {
			return err
		}
		if taken += int64(weigh(chunk)); taken >= readerWindow/4 {
			send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputMore{OutputMore: &agentpb.OutputMore{Id: req.GetId(), Taken: taken}}})
			taken = 0
		}
		return nil
	})
	if s.outputs.shut(req.GetId(), r) || errors.Is(err, errSlowReader) || errors.Is(err, errMuchOutput) {
		send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputCancel{OutputCancel: &agentpb.OutputCancel{Id: req.GetId()}}})
	}
	return err
}
