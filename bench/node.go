package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // served on loopback, and when it is asked for
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// nodeSpec is what a node's process is told.
type nodeSpec struct {
	Name, Dir string
	Etcd      []string
	Peer      string // address for minions and peers
	ProfileAt string // address that serves profiles; empty: none
}

// nodeAddrs is what it answers once it is ready.
type nodeAddrs struct{ API, Peer string }

func runNode(ctx context.Context, text json.RawMessage, _ <-chan string) error {
	var spec nodeSpec
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	if spec.ProfileAt != "" {
		go func() { _ = http.ListenAndServe(spec.ProfileAt, nil) }() //nolint:gosec // for whoever looks into a benchmark
	}
	cfg := configs.DefaultScheduler()
	cfg.Node, cfg.DataDir = spec.Name, spec.Dir
	cfg.Listen, cfg.PeerListen, cfg.Etcd.Endpoints = "127.0.0.1:0", spec.Peer, spec.Etcd
	node, err := app.Open(ctx, cfg, app.Build{Version: "bench"}, zap.NewNop())
	if err != nil {
		return err
	}
	return node.Run(ctx, func() {
		_ = json.NewEncoder(os.Stdout).Encode(nodeAddrs{API: node.APIAddr(), Peer: node.PeerAddr()})
	})
}

// farm is etcd and nodes, each in a process of its own.
type farm struct {
	client   *clientv3.Client
	stopEtcd func()
	dir      string
	specs    []nodeSpec
	nodes    []*process
	addrs    []nodeAddrs
	// auth makes certificates; it has the cluster's authority, which lies in etcd.
	auth *registrar.Registrar
}

// profileAddr is where the first node of a farm serves profiles.
var profileAddr = os.Getenv("CARILLON_BENCH_PROFILE")

func startFarm(ctx context.Context, nodes int) (_ *farm, err error) {
	f := &farm{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.client, f.stopEtcd, err = startEtcd(ctx); err != nil {
		return nil, err
	}
	if f.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return nil, err
	}
	for i := range nodes {
		name := fmt.Sprintf("node%d", i+1)
		spec := nodeSpec{Name: name, Dir: filepath.Join(f.dir, name), Etcd: f.client.Endpoints(), Peer: "127.0.0.1:0"}
		if i == 0 {
			spec.ProfileAt = profileAddr
		}
		f.specs, f.nodes, f.addrs = append(f.specs, spec), append(f.nodes, nil), append(f.addrs, nodeAddrs{})
		if err := f.startNode(ctx, i); err != nil {
			return nil, err
		}
	}
	f.auth, err = registrar.Open(ctx, registrar.Config{Node: "bench", Keys: etcdkv.NewKeys("")},
		registrar.Deps{Client: f.client, Logger: zap.NewNop()})
	return f, err
}

// startNode starts a node, at the address for minions that it had before.
func (f *farm) startNode(ctx context.Context, i int) error {
	p, err := start(ctx, "node", f.specs[i])
	if err != nil {
		return err
	}
	f.nodes[i] = p
	line, err := p.line(ctx, 30*time.Second)
	if err == nil {
		err = json.Unmarshal([]byte(line), &f.addrs[i])
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", f.specs[i].Name, err)
	}
	f.specs[i].Peer = f.addrs[i].Peer
	return nil
}

func (f *farm) api() string { return "http://" + f.addrs[0].API }

func (f *farm) servers() []string {
	var out []string
	for _, a := range f.addrs {
		out = append(out, a.Peer)
	}
	return out
}

// resident is the memory of all nodes, in bytes.
func (f *farm) resident() (int64, error) {
	var sum int64
	for _, p := range f.nodes {
		n, err := p.resident()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (f *farm) close() {
	for _, p := range f.nodes {
		if p != nil {
			p.stop()
		}
	}
	if f.stopEtcd != nil {
		f.stopEtcd()
	}
	_ = os.RemoveAll(f.dir)
}

// present counts the minions whose presence was written since a revision.
func (f *farm) present(ctx context.Context, since int64) (int, error) {
	got, err := f.client.Get(ctx, etcdkv.NewKeys("").Presence(), clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, kv := range got.Kvs {
		if kv.ModRevision <= since {
			continue
		}
		p, err := etcdkv.Decode[etcdkv.Presence](string(kv.Key), kv.Value)
		if err != nil {
			return 0, err
		}
		n += len(p.Minions)
	}
	return n, nil
}

// awaitPresent waits until so many minions are in the presence.
func (f *farm) awaitPresent(ctx context.Context, count int, since int64, limit time.Duration) error {
	var n int
	var err error
	timeout := until(ctx, limit, func() bool { n, err = f.present(ctx, since); return err != nil || n >= count })
	if timeout != nil {
		return fmt.Errorf("%d of %d minions are in the presence: %w", n, count, timeout)
	}
	return errors.Join(err, ctx.Err())
}
