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

// TestCommandIsForgottenLater: when nobody has time to remove a command that has come
// true, it is removed at a later step.
func TestCommandIsForgottenLater(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	view := cluster.RunCommands{1: {"w": {ModRevision: 7, Value: etcdkv.RunCommand{Kind: etcdkv.CommandPromote}}}}
	d.deps.Cluster.SetRunCommands(view)
	for range bestEffortWorkers {
		d.deps.bestEffort.slots <- struct{}{}
	}
	d.tendCommands(d.clock)
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
// cancelled when it is; its command is not dropped before.
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
			command := etcdkv.RunCommand{Kind: etcdkv.CommandCancel, Fire: id, At: time.Unix(0, d.clock)}
			d.deps.Client = clientv3.NewCtxClient(context.Background())
			d.deps.Client.KV = noStore{}
			d.deps.Cluster.SetRunCommands(cluster.RunCommands{1: {"w": {ModRevision: 7, Value: command}}})
			if d.triggers.read = c.read; c.there {
				d.triggers.all["t"] = arrived{Trigger: etcdkv.Trigger{Fire: id}}
			}
			d.tendCommands(d.clock + 2*int64(commandOldest))
			d.deps.bestEffort.wg.Wait()
			if _, granted := d.granted["w"]; granted == c.kept {
				t.Errorf("the command is dropped: %v, want it kept: %v", granted, c.kept)
			}
		})
	}
}
