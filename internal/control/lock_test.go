package control

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/job"
)

// Who holds a lock, and whose was broken, is told as it is proven, before what the client
// calls itself; of whom nothing is proven, there is that alone.
func TestHoldersAreWhoTheyAre(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const said = "root (socket): root@n1, process 1"
	for name, ask := range map[string]struct {
		by   caller.Caller
		want string
	}{
		"known":   {caller.Caller{Name: "token ci"}, "token ci: " + said},
		"unknown": {caller.Caller{Remote: "10.0.0.1"}, said},
	} {
		ctx, key := caller.With(t.Context(), ask.by), job.Key{Namespace: "ops", Name: name}
		session, err := e.OpenLockSession(ctx, said, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.AcquireLock(ctx, key, api.LockRequest{Session: session.Session, Place: "p-" + name, Try: true})
		if err != nil || !got.Held {
			t.Fatalf("%s: %+v %v", name, got, err)
		}
		all, err := e.Locks(t.Context(), "")
		if err != nil || len(all) != 1 || len(all[0].Holders) != 1 || all[0].Holders[0].Holder != ask.want {
			t.Errorf("%s: %+v %v", name, all, err)
		}
		if err := e.BreakLock(t.Context(), key, got.Token, api.Order{By: "ada"}); err != nil {
			t.Fatal(err)
		}
		if r := e.records(t, 1); len(r) != 1 || r[0].Action != "lock.break" || r[0].Before != ask.want {
			t.Errorf("%s: on record: %+v", name, r)
		}
		e.pass(time.Second) // records are told by their time
	}
}
