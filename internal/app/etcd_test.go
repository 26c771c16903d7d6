package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// A node that has a user in etcd waits for an etcd that does not answer yet, as one
// without a user does.
func TestAUserIsAskedForPatiently(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	server.Stop()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reach := configs.Etcd{Endpoints: server.Endpoints, User: "carillon", PasswordFile: file, DialTimeout: 50 * time.Millisecond}
	core, logs := observer.New(zap.WarnLevel)
	answered := make(chan error, 1)
	go func() {
		c, err := dialEtcd(t.Context(), reach.Endpoints, reach, time.Hour, zap.New(core))
		if err == nil {
			err = c.Close()
		}
		answered <- err
	}()
	await.Until(t, "etcd is asked again", func() bool { return logs.FilterMessageSnippet("it is asked again").Len() > 1 })
	server.Restart(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	server.Stop()
	if _, err := dialEtcd(t.Context(), reach.Endpoints, reach, 0, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without patience: %v, want an error that says why", err)
	}
}

// deaf is etcd whose answer to the first transaction, which it does, is lost.
type deaf struct {
	clientv3.KV
	lost bool
}

type deafTxn struct {
	clientv3.Txn
	kv *deaf
}

func (d *deaf) Txn(ctx context.Context) clientv3.Txn { return &deafTxn{d.KV.Txn(ctx), d} }

func (x *deafTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	x.Txn = x.Txn.If(cmps...)
	return x
}

func (x *deafTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	x.Txn = x.Txn.Then(ops...)
	return x
}

func (x *deafTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	x.Txn = x.Txn.Else(ops...)
	return x
}

func (x *deafTxn) Commit() (*clientv3.TxnResponse, error) {
	resp, err := x.Txn.Commit()
	if !x.kv.lost && err == nil {
		x.kv.lost = true
		return nil, status.Error(codes.Unavailable, "error reading from server: use of closed network connection")
	}
	return resp, err
}

// A node whose connection to etcd breaks amid its start goes on, and its cluster is made once.
func TestMetaIsAskedForAgain(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t).Client(t)
	kv := &deaf{KV: c.KV}
	c.KV = kv
	keys := etcdkv.NewKeys("/meta")
	meta, rev, err := openMeta(t.Context(), c, keys, &configs.Scheduler{Shards: 8, Access: string(access.Closed)}, true)
	if err != nil || !kv.lost || rev == 0 {
		t.Fatalf("%v, lost=%v, revision %d", err, kv.lost, rev)
	}
	got, err := c.Get(t.Context(), keys.Meta())
	if err != nil || len(got.Kvs) != 1 || got.Kvs[0].Version != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if kept, err := etcdkv.Decode[etcdkv.Meta](keys.Meta(), got.Kvs[0].Value); err != nil || kept.ClusterID != meta.ClusterID {
		t.Errorf("kept %v, %v; told %v", kept, err, meta)
	}
}
