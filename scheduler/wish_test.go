package scheduler

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// TestWishIsForgottenLater: when nobody has time to remove a wish that has come
// true, it is removed at a later step.
func TestWishIsForgottenLater(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	view := cluster.Wishes{1: {"w": {ModRevision: 7, Value: etcdkv.Wish{Kind: etcdkv.WishPromote}}}}
	d.deps.Cluster.SetWishes(view)
	for range bestEffortWorkers {
		d.deps.bestEffort.slots <- struct{}{}
	}
	d.tendWishes(d.clock)
	if _, granted := d.granted["w"]; granted {
		t.Error("it counts as removed, and nobody removes it")
	}
}

// noStore is an etcd that fails.
type noStore struct{ clientv3.KV }

func (noStore) Txn(context.Context) clientv3.Txn { return noTxn{} }

type noTxn struct{}

func (n noTxn) If(...clientv3.Cmp) clientv3.Txn      { return n }
func (n noTxn) Then(...clientv3.Op) clientv3.Txn     { return n }
func (n noTxn) Else(...clientv3.Op) clientv3.Txn     { return n }
func (noTxn) Commit() (*clientv3.TxnResponse, error) { return nil, context.Canceled }

// TestI16_WishWaitsAsLongAsTheStart: a start that nobody has committed for long is
// cancelled when it is; its wish is not dropped before.
func TestI16_WishWaitsAsLongAsTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		read, there, kept bool
	}{
		"not read yet": {false, false, true},
		"waits":        {true, true, true},
		"is gone":      {true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			id := job.FireID{Job: job.UID{1}, At: d.clock, Trigger: job.TriggerManual}
			wish := etcdkv.Wish{Kind: etcdkv.WishCancel, Fire: id, At: time.Unix(0, d.clock)}
			d.deps.Client = clientv3.NewCtxClient(context.Background())
			d.deps.Client.KV = noStore{}
			d.deps.Cluster.SetWishes(cluster.Wishes{1: {"w": {ModRevision: 7, Value: wish}}})
			if d.triggers.read = c.read; c.there {
				d.triggers.all["t"] = arrived{Trigger: etcdkv.Trigger{Fire: id}}
			}
			d.tendWishes(d.clock + 2*int64(wishOldest))
			d.deps.bestEffort.wg.Wait()
			if _, granted := d.granted["w"]; granted == c.kept {
				t.Errorf("the wish is dropped: %v, want it kept: %v", granted, c.kept)
			}
		})
	}
}
