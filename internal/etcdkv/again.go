package etcdkv

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/backoff"
)

const (
	// notDone is what ErrNotDone says.
	notDone = "carillon: this member of etcd has done nothing of it: it is leaving, or a member no more"
	// againFor bounds how long a request is asked again whose context has no end.
	againFor = 5 * time.Second
	// againLeast and againMost are the pauses between. The first is short: the next
	// member can be asked at once.
	againLeast, againMost = 5 * time.Millisecond, 250 * time.Millisecond
)

// ErrNotDone is what a member of the cluster's own etcd answers to a request of which it
// has done nothing. Another member may be asked, whatever the request is.
func ErrNotDone() error { return status.Error(codes.Unavailable, notDone) }

// AskAgain returns an interceptor for a client of etcd: what may be asked twice goes to
// another member, within the request's own time, where one has not answered. These are
// reads, and whatever a member has told that it did nothing of. A write that was sent and
// not answered may have been done, so that it is not repeated.
//
// The client of etcd itself repeats plain reads; transactions it never does.
func AskAgain() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoker(ctx, method, req, reply, cc, opts...)
		if !mayAskAgain(method, req, err) {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, againFor)
		defer cancel()
		for wait := (backoff.Backoff{Least: againLeast, Most: againMost}); mayAskAgain(method, req, err) && wait.Pause(bounded); {
			err = invoker(ctx, method, req, reply, cc, opts...)
		}
		return err
	}
}

// mayAskAgain reports whether a request that has failed may be sent to another member.
func mayAskAgain(method string, req any, err error) bool {
	// What is asked of one member, by its address, is for no other.
	if status.Code(err) != codes.Unavailable || strings.HasPrefix(method, "/"+etcdserverpb.Maintenance_ServiceDesc.ServiceName+"/") {
		return false
	}
	if txn, is := req.(*etcdserverpb.TxnRequest); is && onlyReads(txn) {
		return true
	}
	return status.Convert(err).Message() == notDone
}

// onlyReads reports whether a transaction writes nothing, whatever comes of its compares.
func onlyReads(txn *etcdserverpb.TxnRequest) bool {
	for _, ops := range [][]*etcdserverpb.RequestOp{txn.Success, txn.Failure} {
		for _, op := range ops {
			switch inner := op.GetRequestTxn(); {
			case op.GetRequestRange() != nil:
			case inner != nil && onlyReads(inner):
			default:
				return false
			}
		}
	}
	return true
}
