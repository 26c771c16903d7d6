package control

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/control/access"
)

// silentOnce is an etcd that does not answer the first transaction.
type silentOnce struct {
	clientv3.KV

	asked atomic.Bool
}

func (s *silentOnce) Txn(ctx context.Context) clientv3.Txn {
	if s.asked.Swap(true) {
		return s.KV.Txn(ctx)
	}
	over, cancel := context.WithDeadline(ctx, time.Time{})
	defer cancel()
	return s.KV.Txn(over)
}

// TestReadStateIsPatient: a node starts though etcd does not answer at once.
func TestReadStateIsPatient(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) { d.Client.KV = &silentOnce{KV: d.Client.KV} })
	if err := e.ReadState(t.Context()); err != nil || e.State() != access.Open {
		t.Errorf("%s, %v", e.State(), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.ReadState(ended); err == nil {
		t.Error("read after its context had ended")
	}
}
