package notifiers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// A receiver that hangs is told of before the client gives up.
func TestHangingReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		teller := New(Deps{Test: func(ctx context.Context, _ *job.Notifier) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(client.RequestTimeout):
				return errors.New("nobody waits any more")
			}
		}})
		begun := time.Now()
		err := teller.sample(t.Context(), &job.Notifier{}, job.Key{Namespace: "team", Name: "oncall"})
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "the receiver has not taken it within 20s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took > client.RequestTimeout-5*time.Second {
			t.Errorf("it was told after %s", took)
		}
	})
}
