package etcdkv

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/job"
)

// Unavailable marks an error of the etcd client with job.ErrUnavailable when
// the same request may succeed later: no answer, no leader, too busy, no space.
// Other errors, and nil, come back as they are. Cancellation by the caller is
// not marked; a deadline is.
func Unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, job.ErrUnavailable) {
		return err
	}
	later := errors.Is(err, context.DeadlineExceeded)
	code := status.Code(err)
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		code = etcdErr.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal:
		later = true
	}
	if later {
		return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
	}
	return err
}
