package registrar

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/fieldrange"
	"github.com/carillon-cron/carillon/job"
)

// maxRequest is the largest request of a caller, in bytes: one with the request
// for a certificate of the longest key.
const maxRequest = 16 << 10

// joinRanges and renewRanges say of each field that a caller may send what is
// legal: anybody may call Join.
func joinRanges() fieldrange.Table {
	return fieldrange.Table{
		"JoinRequest.minion": {Bytes: job.MaxNameLen},
		"JoinRequest.token":  {Bytes: 128},
		"JoinRequest.csr":    {Bytes: 8 << 10},
	}
}

func renewRanges() fieldrange.Table {
	return fieldrange.Table{"RenewRequest.csr": {Bytes: 8 << 10}}
}

func joinNodeRanges() fieldrange.Table {
	return fieldrange.Table{
		"JoinNodeRequest.node":       {Bytes: job.MaxNameLen},
		"JoinNodeRequest.token":      {Bytes: 128},
		"JoinNodeRequest.csr":        {Bytes: 8 << 10},
		"JoinNodeRequest.hosts":      {Bytes: 255, Items: 16},
		"JoinNodeRequest.peer_url":   {Bytes: 512},
		"JoinNodeRequest.client_url": {Bytes: 512},
	}
}

// ranges check what callers send.
type ranges struct{ join, renew, joinNode *fieldrange.Checker }

func newRanges() (ranges, error) {
	var r ranges
	var err error
	if r.join, err = fieldrange.New((&authpb.JoinRequest{}).ProtoReflect().Descriptor(), maxRequest, joinRanges()); err != nil {
		return r, fmt.Errorf("requests to join: %w", err)
	}
	if r.renew, err = fieldrange.New((&authpb.RenewRequest{}).ProtoReflect().Descriptor(), maxRequest, renewRanges()); err != nil {
		return r, fmt.Errorf("requests to renew: %w", err)
	}
	if r.joinNode, err = fieldrange.New((&authpb.JoinNodeRequest{}).ProtoReflect().Descriptor(), maxRequest, joinNodeRanges()); err != nil {
		return r, fmt.Errorf("requests of nodes to join: %w", err)
	}
	return r, nil
}

// within refuses a request with a field that is out of its range.
func within(c *fieldrange.Checker, req proto.Message) error {
	b, err := proto.Marshal(req)
	if err == nil {
		err = c.Check(b)
	}
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "request refused: %v", err)
	}
	return nil
}
