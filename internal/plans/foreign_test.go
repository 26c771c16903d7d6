package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

// shaky loses the answer of some transactions that put an item.
type shaky struct {
	clientv3.KV
	prefix string

	mu sync.Mutex
	// lose are the numbers of those whose answers are lost, counted from 0.
	lose []int
	n    int
}

func (s *shaky) Txn(ctx context.Context) clientv3.Txn { return &shakyTxn{Txn: s.KV.Txn(ctx), s: s} }

type shakyTxn struct {
	clientv3.Txn
	s    *shaky
	puts bool
}

func (x *shakyTxn) If(cmps ...clientv3.Cmp) clientv3.Txn { x.Txn = x.Txn.If(cmps...); return x }
func (x *shakyTxn) Else(ops ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(ops...); return x }
func (x *shakyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	x.puts = slices.ContainsFunc(ops, func(op clientv3.Op) bool { return op.IsPut() && strings.HasPrefix(string(op.KeyBytes()), x.s.prefix) })
	x.Txn = x.Txn.Then(ops...)
	return x
}

func (x *shakyTxn) Commit() (*clientv3.TxnResponse, error) {
	resp, err := x.Txn.Commit()
	if !x.puts {
		return resp, err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	lost := slices.Contains(x.s.lose, x.s.n)
	if x.s.n++; lost {
		return nil, errors.New("the answer is lost")
	}
	return resp, err
}

// P3: a task whose item's id somebody else's item has fails, and the tasks that are put with
// it are done, also when etcd fails meanwhile.
func TestSomebodyElsesItem(t *testing.T) {
	t.Parallel()
	for _, lose := range [][]int{nil, {0, 2}, {1, 3, 5}} {
		for at := range 3 {
			t.Run(fmt.Sprint(at, lose), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.queue("work", nil)
				data := &job.Queue{}
				data.Namespace, data.Name = "team", "work"
				q, err := queues.Open(w.keys, w.client, zaptest.NewLogger(t), data)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := q.Put(t.Context(), queue.Item{ID: ItemID(w.uid, at), Priority: 3, NotBefore: time.Now().Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				w.accept(plan.Task{ID: "t0", Type: "work"}, plan.Task{ID: "t1", Type: "work"}, plan.Task{ID: "t2", Type: "work"})
				own := shared.Server(t).Client(t)
				own.KV = &shaky{KV: own.KV, prefix: w.keys.Queue("team", "work"), lose: lose}
				w.client = own
				defer w.own()()
				for id, s := range w.end() {
					want := plan.Succeeded
					if id == fmt.Sprint("t", at) {
						want = plan.Failed
					}
					if s.State != string(want) {
						t.Errorf("%s: %+v, want %s", id, s, want)
					}
				}
			})
		}
	}
}
