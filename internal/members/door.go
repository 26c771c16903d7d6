package members

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// door lets requests of clients in to a member of the cluster. A member that is about to
// leave, was removed, or ends lets none in, and says so: whoever asks knows that nothing
// was done, and asks another member. Without it a member that was removed answers for a
// while that it has stopped, which may mean anything.
type door struct {
	etcd atomic.Pointer[etcdserver.EtcdServer] // nil: it has not started yet

	mu   sync.Mutex // guards what follows
	shut bool
	in   int           // requests that are inside
	idle chan struct{} // closed once it is shut and nobody is inside
}

// enter lets a request in, or not. Each that was let in leaves.
func (d *door) enter() bool {
	if etcd := d.etcd.Load(); etcd != nil {
		select {
		case <-etcd.StoppingNotify():
			return false
		default:
		}
		if etcd.IsIDRemoved(uint64(etcd.MemberID())) {
			return false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return false
	}
	d.in++
	return true
}

func (d *door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in--; d.shut && d.in == 0 {
		close(d.idle)
	}
}

// close lets nobody in any more, and waits until all that are inside have left, or ctx
// ends.
func (d *door) close(ctx context.Context) {
	d.mu.Lock()
	if !d.shut {
		d.shut, d.idle = true, make(chan struct{})
		if d.in == 0 {
			close(d.idle)
		}
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// open lets requests in again.
func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = false
}

// unary is the interceptor of requests with one answer. Of a member that was removed it
// also keeps away what ends the process: asked for its status, such a one panics.
func (d *door) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	ofOne := strings.HasPrefix(info.FullMethod, "/"+etcdserverpb.Maintenance_ServiceDesc.ServiceName+"/")
	if ofOne { // whoever asks wants to hear of this member, while it ends, too
		defer func() {
			if p := recover(); p != nil {
				err = status.Errorf(codes.Unavailable, "this member is one no more, and ends: %v", p)
			}
		}()
	} else {
		if !d.enter() {
			return nil, etcdkv.ErrNotDone()
		}
		defer d.leave()
	}
	answer, err := handler(ctx, req)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), errStopped):
		err = rpctypes.ErrGRPCStopped
	case strings.Contains(err.Error(), errDropped):
		err = etcdkv.ErrNotDone()
	}
	return answer, err
}

// stream is the interceptor of watches and renewals.
func (d *door) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !d.enter() {
		return etcdkv.ErrNotDone()
	}
	d.leave() // it lasts, and nobody waits for its end
	return handler(srv, s)
}

const (
	// errStopped is what raft says in a member that ends.
	errStopped = "raft: stopped"
	// errDropped is what raft says of a write that it has not taken: the member hands its
	// lead over, or leads and is to be a member no more.
	errDropped = "raft proposal dropped"
)

// ErrEnded is returned for an etcd that has ended, as one does that was removed from
// the members.
var ErrEnded = errors.New("the embedded etcd has ended")
