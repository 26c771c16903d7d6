package agentpush

import (
	"context"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// pushServer is the service for minions, and peerServer that for peers. Each call
// is a part's.
type pushServer struct {
	agentpb.UnimplementedPushServer
	frames *frames
}

type peerServer struct {
	agentpb.UnimplementedPeerServer
	inbounds *inbounds
	outputs  *outputs
	queries  *queries
	shares   *shares
}

// Session serves one minion.
func (s pushServer) Session(stream minionStream) error { return s.frames.serve(stream) }

// Link serves a peer's link.
func (s peerServer) Link(stream inboundStream) error { return s.inbounds.serve(stream) }

// Output serves a peer with the output of a minion that is connected here.
func (s peerServer) Output(req *agentpb.OutputRequest, stream grpc.ServerStreamingServer[agentpb.OutputChunk]) error {
	return s.outputs.serve(req, stream)
}

// Share answers a peer's tasks of which this node owns the shards.
func (s peerServer) Share(stream sharesStream) error { return s.shares.serve(stream) }

// LiveRuns tells a peer what this node's engine holds open.
func (s peerServer) LiveRuns(ctx context.Context, req *agentpb.LiveRunsRequest) (*agentpb.LiveRunsResponse, error) {
	return s.queries.serveLiveRuns(ctx, req)
}

// Status tells a peer what this node's hub holds.
func (s peerServer) Status(ctx context.Context, req *agentpb.StatusRequest) (*agentpb.StatusResponse, error) {
	return s.queries.serveStatus(ctx, req)
}

// Time tells a peer this node's wall clock.
func (s peerServer) Time(ctx context.Context, req *agentpb.TimeRequest) (*agentpb.TimeResponse, error) {
	return s.queries.serveTime(ctx, req)
}
