package registrar

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/auth"
)

// hesitant is an etcd that does not answer every other request in time, and whose
// writes may have been done all the same.
type hesitant struct {
	clientv3.KV

	n atomic.Int64
}

func (h *hesitant) late() bool { return h.n.Add(1)%2 == 1 }

func (h *hesitant) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if h.late() {
		return nil, context.DeadlineExceeded
	}
	return h.KV.Get(ctx, key, opts...)
}

func (h *hesitant) Txn(ctx context.Context) clientv3.Txn {
	return &hesitantTxn{Txn: h.KV.Txn(ctx), late: h.late()}
}

type hesitantTxn struct {
	clientv3.Txn

	late bool
}

func (t *hesitantTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.Txn = t.Txn.If(cs...); return t }
func (t *hesitantTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(ops...); return t }
func (t *hesitantTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }

func (t *hesitantTxn) Commit() (*clientv3.TxnResponse, error) {
	res, err := t.Txn.Commit()
	if t.late {
		return nil, context.DeadlineExceeded
	}
	return res, err
}

// A node starts though etcd does not answer each time; one that does not answer at all
// is waited for until the context ends.
func TestOpenIsPatient(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	client := shared.Server(t).Client(t)
	client.KV = &hesitant{KV: client.KV}
	r, err := Open(t.Context(), Config{Node: "n1", Keys: e.keys}, Deps{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	if other := e.open(t, "n2", nil); auth.CAHash(other.Authority().Certificate()) != auth.CAHash(r.Authority().Certificate()) {
		t.Error("two authorities were made")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	if _, err := Open(ctx, Config{Node: "n3", Keys: e.keys}, Deps{Client: client}); err == nil {
		t.Error("opened after its context had ended")
	}
}
