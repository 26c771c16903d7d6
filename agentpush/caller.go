package agentpush

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/job"
)

// Caller is who is at the other end of a connection: a minion, a node, or
// nobody, as the zero Caller is. A name without its kind cannot be had.
type Caller struct {
	kind callerKind
	name string
}

type callerKind int

const (
	nobody callerKind = iota
	aMinion
	aNode
)

// MinionCaller is a minion.
func MinionCaller(id job.MinionID) Caller { return Caller{aMinion, string(id)} }

// NodeCaller is a node.
func NodeCaller(name job.NodeID) Caller { return Caller{aNode, string(name)} }

// Minion returns the id of a minion, and false for anybody else.
func (c Caller) Minion() (job.MinionID, bool) {
	if c.kind != aMinion {
		return "", false
	}
	return job.MinionID(c.name), true
}

// Node returns the name of a node, and false for anybody else.
func (c Caller) Node() (job.NodeID, bool) {
	if c.kind != aNode {
		return "", false
	}
	return job.NodeID(c.name), true
}

// String tells who it is, for errors.
func (c Caller) String() string {
	switch c.kind {
	case aMinion:
		return "minion " + c.name
	case aNode:
		return "node " + c.name
	case nobody:
	}
	return "nobody"
}

// callers tells who is at the other end of a stream.
type callers struct {
	// caller is Deps.Caller; nil: connections prove nothing.
	caller func(context.Context) (Caller, error)
}

// isMinion returns an error unless the other end of a stream is the minion that
// it says it is.
func (c *callers) isMinion(ctx context.Context, id job.MinionID) error {
	if c.caller == nil {
		return nil
	}
	caller, err := c.caller(ctx)
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "minion %s shows no certificate of this cluster: %v", id, err)
	}
	if shown, ok := caller.Minion(); !ok || shown != id {
		return status.Errorf(codes.PermissionDenied, "the certificate is not that of minion %s: give each minion a data directory of its own, and let it join", id)
	}
	return nil
}

// isNode returns an error unless the other end of a stream is the node that it
// says it is, or that is expected there.
func (c *callers) isNode(ctx context.Context, name job.NodeID) error {
	if c.caller == nil {
		return nil
	}
	caller, err := c.caller(ctx)
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "node %s shows no certificate of this cluster: %v", name, err)
	}
	if shown, ok := caller.Node(); !ok || shown != name {
		return status.Errorf(codes.PermissionDenied, "the certificate is not that of node %s, but that of %s", name, caller)
	}
	return nil
}
