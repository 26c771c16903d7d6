package etcdkv

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func rangeOp() *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{}}}
}

func putOp() *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{}}}
}

func within(op *etcdserverpb.RequestOp) *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: &etcdserverpb.TxnRequest{Failure: []*etcdserverpb.RequestOp{op}}}}
}

// What may be asked twice is asked again when a member stops or is gone, and nothing else.
func TestWhatMayBeAskedTwiceIsAskedAgain(t *testing.T) {
	t.Parallel()
	reads := &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{rangeOp(), within(rangeOp())}}
	writes := &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{rangeOp()}, Failure: []*etcdserverpb.RequestOp{putOp()}}
	hidden := &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{within(putOp())}}
	for name, tc := range map[string]struct {
		method string
		req    any
		err    error
		again  bool
	}{
		"reads, member stopped":     {etcdserverpb.KV_Txn_FullMethodName, reads, rpctypes.ErrGRPCStopped, true},
		"reads, refused":            {etcdserverpb.KV_Txn_FullMethodName, reads, rpctypes.ErrGRPCPermissionDenied, false},
		"writes, member stopped":    {etcdserverpb.KV_Txn_FullMethodName, writes, rpctypes.ErrGRPCStopped, false},
		"writes within, stopped":    {etcdserverpb.KV_Txn_FullMethodName, hidden, rpctypes.ErrGRPCStopped, false},
		"writes, connection closed": {etcdserverpb.KV_Txn_FullMethodName, writes, status.Error(codes.Unavailable, "error reading from server: EOF"), false},
		"writes, not done":          {etcdserverpb.KV_Txn_FullMethodName, writes, ErrNotDone(), true},
		"put, not done":             {etcdserverpb.KV_Put_FullMethodName, &etcdserverpb.PutRequest{}, ErrNotDone(), true},
		"put, member stopped":       {etcdserverpb.KV_Put_FullMethodName, &etcdserverpb.PutRequest{}, rpctypes.ErrGRPCStopped, false},
		"removal, not done":         {etcdserverpb.Cluster_MemberRemove_FullMethodName, &etcdserverpb.MemberRemoveRequest{}, ErrNotDone(), true},
		"status of one member":      {etcdserverpb.Maintenance_Status_FullMethodName, &etcdserverpb.StatusRequest{}, ErrNotDone(), false},
		"no error":                  {etcdserverpb.KV_Txn_FullMethodName, reads, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := AskAgain()(t.Context(), tc.method, tc.req, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				if calls++; calls < 3 {
					return tc.err
				}
				return nil
			})
			switch {
			case tc.again && (err != nil || calls != 3):
				t.Errorf("asked %d times, and then %v; want 3 times, and an answer", calls, err)
			case !tc.again && (calls != 1 || status.Code(err) != status.Code(tc.err)):
				t.Errorf("asked %d times, and then %v; want once, and %v", calls, err, tc.err)
			}
		})
	}
}

// It is asked again within its own time only, and for a while where that has no end.
func TestAskingAgainEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{"its own time": time.Second, "no end": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, want := t.Context(), againFor
				if limit > 0 {
					bounded, cancel := context.WithTimeout(ctx, limit)
					defer cancel()
					ctx, want = bounded, limit
				}
				begin := time.Now()
				err := AskAgain()(ctx, etcdserverpb.KV_Put_FullMethodName, &etcdserverpb.PutRequest{}, nil, nil,
					func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
						return ErrNotDone()
					})
				if took := time.Since(begin); took != want || status.Code(err) != codes.Unavailable {
					t.Errorf("it ended after %v with %v, want after %v, and that nobody did it", took, err, want)
				}
			})
		})
	}
}
