package script

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// tamper does what no node would with the audit records in an etcd: it removes the
// newest one that holds a text, or writes over it.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3 && (args[0] == "remove" || args[0] == "change"), "tamper remove|change SOCKET TEXT")
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + ts.MkAbs(args[1])}, DialTimeout: 10 * time.Second})
	ts.Check(err)
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := cli.Get(ctx, "/carillon/v1/audit/", clientv3.WithPrefix())
	ts.Check(err)
	for _, kv := range slices.Backward(got.Kvs) {
		if !strings.Contains(string(kv.Value), args[2]) {
			continue
		}
		if args[0] == "remove" {
			_, err = cli.Delete(ctx, string(kv.Key))
		} else {
			_, err = cli.Put(ctx, string(kv.Key), strings.Replace(string(kv.Value), args[2], "innocent", 1))
		}
		ts.Check(err)
		return
	}
	ts.Fatalf("no record holds %q", args[2])
}
