package scheduler

import (
	"context"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/job"
)

// heldKV holds transactions that put something under a prefix, one by one.
type heldKV struct {
	clientv3.KV

	prefix string
	mu     sync.Mutex
	hold   bool
	// came gets one for each that is held, pass lets one on.
	came, pass chan struct{}
}

func (k *heldKV) Txn(ctx context.Context) clientv3.Txn { return &heldTxn{Txn: k.KV.Txn(ctx), kv: k} }

func (k *heldKV) holds(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hold = on
}

type heldTxn struct {
	clientv3.Txn

	kv   *heldKV
	puts bool
}

func (x *heldTxn) If(cmps ...clientv3.Cmp) clientv3.Txn { x.Txn = x.Txn.If(cmps...); return x }
func (x *heldTxn) Else(ops ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(ops...); return x }

func (x *heldTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for i := range ops {
		x.puts = x.puts || ops[i].IsPut() && strings.HasPrefix(string(ops[i].KeyBytes()), x.kv.prefix)
	}
	x.Txn = x.Txn.Then(ops...)
	return x
}

func (x *heldTxn) Commit() (*clientv3.TxnResponse, error) {
	x.kv.mu.Lock()
	hold := x.kv.hold && x.puts
	x.kv.mu.Unlock()
	if hold {
		x.kv.came <- struct{}{}
		<-x.kv.pass
	}
	return x.Txn.Commit()
}

// TestAnEditDuringACommit: a job that is edited while a run of it is being committed
// goes on: that run counts in the overlap of the job as it is then, and is over when
// it has ended.
func TestAnEditDuringACommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := job.Job{Metadata: job.Metadata{Namespace: "t", Name: "a"}}
	kv := &heldKV{prefix: b.keys.Slots(b.shardOf(j)), came: make(chan struct{}), pass: make(chan struct{})}
	b.dress = func(c *clientv3.Client) {
		kv.KV = c.KV
		c.KV = kv
	}
	j = b.put("a", job.Spec{Command: []string{"true"}, Overlap: job.OverlapSkip})
	e, _, _ := b.start("n1")
	run := func() job.FireID { return b.trigger(j, nil) }
	state := func(id job.FireID) job.State {
		r, err := b.w.Get(t.Context(), id.RunID())
		if err != nil {
			return ""
		}
		return r.State
	}
	first := run()
	b.until("it runs", func() bool { return state(first) == job.StateSucceeded })
	kv.holds(true)
	second := run()
	<-kv.came // it counts as running from its plan
	j.Spec.Env = map[string]job.EnvValue{"A": job.Text("b")}
	b.store(j)
	resp, err := b.client.Get(t.Context(), b.keys.Job(b.shardOf(j), j.Key()))
	if err != nil {
		t.Fatal(err)
	}
	b.until("the owner hears of the edit", func() bool {
		e.mu.RLock()
		s := e.shards[b.shardOf(j)]
		e.mu.RUnlock()
		heard := make(chan bool, 1)
		s.do(func() { heard <- s.jobsRev >= resp.Kvs[0].ModRevision || len(s.afterSave) > 0 })
		return <-heard
	})
	kv.holds(false)
	kv.pass <- struct{}{}
	b.until("that run ends", func() bool { return state(second) == job.StateSucceeded })
	third := run()
	b.until("another one ends", func() bool { return state(third) != "" })
	if got := state(third); got != job.StateSucceeded {
		t.Errorf("the run after it is %s", got)
	}
}
