package lock

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrLost is returned, and is the cause of a cancelled context, when a
	// session's lease can no longer be trusted. What it guarded may be granted
	// to somebody else soon. A lost session never comes back.
	ErrLost = errors.New("lock session lost")
	// ErrClosed is returned when the session was closed, or the hold released.
	ErrClosed = errors.New("lock closed")
	// ErrFenced is returned when a key is no longer what was granted:
	// somebody else owns it, or nobody does.
	ErrFenced = errors.New("fenced: the grant is no longer valid")
	// ErrHeld is returned when somebody holds the key. The error is a *HeldError.
	ErrHeld = errors.New("lock is held")
	// ErrConflict is returned when the key was free but a condition of the
	// caller did not hold.
	ErrConflict = errors.New("a condition of the grant does not hold")
	// ErrNoSuccessor is returned when the lease that was to take a key over
	// does not exist. Nothing has changed then.
	ErrNoSuccessor = errors.New("the successor's lease does not exist")
	// ErrLimit is returned when a lock is asked for with another limit than the
	// one in use. The error says both.
	ErrLimit = errors.New("the lock is in use with another limit")
	// ErrPreempted is the cause of a cancelled hold that had to make room for a
	// contender of a higher priority.
	ErrPreempted = errors.New("lock preempted")
	// ErrMaxHold is the cause of a cancelled hold that lasted too long.
	ErrMaxHold = errors.New("lock held for too long")
)

// HeldError says who holds a key. errors.Is(err, ErrHeld) is true for it.
type HeldError struct {
	Key   string
	Value string
	// Revision is the revision of the holder's grant.
	Revision int64
	Lease    clientv3.LeaseID
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is held since revision %d: %s", e.Key, e.Revision, e.Value)
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// ambiguous reports whether a write that failed with err may have happened, or
// may still happen.
func ambiguous(err error) bool {
	if err == nil {
		return false
	}
	code := status.Code(err)
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.ResourceExhausted:
		return false
	}
	return true
}
