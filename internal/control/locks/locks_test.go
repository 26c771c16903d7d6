package locks

import (
	"errors"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// A bad name is the caller's fault, whatever the store is like: a Keeper
// without any would panic.
func TestLockNamesAreChecked(t *testing.T) {
	t.Parallel()
	var k Keeper
	ctx := t.Context()
	for _, key := range []job.Key{{Namespace: "default"}, {Name: "a"}, {Namespace: "default", Name: "a b"}, {Namespace: "a/b", Name: "a"}} {
		_, look := k.Lock(ctx, key)
		_, acquire := k.AcquireLock(ctx, key, api.LockRequest{Place: "x"})
		_, renew := k.RenewLockSession(ctx, "1.x", key, "x")
		for verb, err := range map[string]error{
			"look": look, "acquire": acquire, "renew": renew, "release": k.ReleaseLock(ctx, key, api.LockRequest{Place: "x"}),
			"break": k.BreakLock(ctx, key, job.Token{}, api.Order{}),
		} {
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
				t.Errorf("%s %q: %v, want one problem", verb, key, err)
			}
		}
	}
}
