package overetcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/client"
	historyetcd "github.com/carillon-cron/carillon/history/etcd"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/httpapi/guarded"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

// ErrNoCluster is returned by Open where no node has made a cluster yet.
var ErrNoCluster = errors.New("etcd has no cluster of Carillon")

// DefaultDialTimeout bounds the first connection to etcd.
const DefaultDialTimeout = 5 * time.Second

// Config says where etcd is, and who asks. Endpoints must be given.
type Config struct {
	// Endpoints are those of etcd, as "http://etcd1:2379"; unix:///PATH for a socket.
	Endpoints []string
	// Prefix is that of the cluster's keys. Empty: that of nodes which are told no other.
	Prefix string
	// TLS is for https endpoints. Nil: the authorities that this host trusts.
	TLS *tls.Config
	// User and Password are those of a user of etcd. Empty: none is shown.
	User, Password string
	// DialTimeout bounds the first connection. Zero: DefaultDialTimeout.
	DialTimeout time.Duration
	// SealKeyFile is the nodes' seal key. Empty: what is sealed stays closed.
	SealKeyFile string
	// By is who asks, for the audit. Empty: the account of this process.
	By string
}

// Client asks a cluster over its etcd. Close must be called.
type Client struct {
	*client.Client

	end func()
}

// Close ends the connection to etcd, and what runs for the client.
func (c *Client) Close() { c.end() }

// Open connects to etcd and reads which cluster is there.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "endpoints", Message: "is empty; give those of etcd, as http://etcd1:2379"}}}
	}
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, DefaultDialTimeout)
	kv, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, DialTimeout: cfg.DialTimeout, TLS: cfg.TLS, Username: cfg.User, Password: cfg.Password,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %v: %w", cfg.Endpoints, etcdkv.Unavailable(err))
	}
	c, err := Use(ctx, kv, cfg)
	if err != nil {
		_ = kv.Close()
		return nil, err
	}
	asks := c.end
	c.end = func() {
		asks()
		_ = kv.Close() // nothing is left in it
	}
	return c, nil
}

// Use is as Open over a client of etcd that there is already, which the caller closes
// after the returned one. What Config says of the way to etcd does not count.
func Use(ctx context.Context, kv *clientv3.Client, cfg Config) (*Client, error) {
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, DefaultDialTimeout)
	keys := etcdkv.NewKeys(cfg.Prefix)
	first, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	meta, err := readMeta(first, kv, keys)
	if err != nil {
		return nil, fmt.Errorf("etcd at %v: %w", kv.Endpoints(), err)
	}
	seal, err := sealing.OpenOutside(first, sealing.Config{Keys: keys, File: cfg.SealKeyFile}, sealing.Deps{Client: kv})
	if err != nil {
		return nil, err
	}
	store, err := historyetcd.New(historyetcd.Config{Keys: keys, Leader: func(int) bool { return false }}, historyetcd.Deps{Client: kv, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	known := &inventory{client: kv, keys: keys}
	ctl, err := control.New(control.Config{Node: "", Keys: keys, Meta: meta}, control.Deps{
		Client: kv, History: store, Live: nowhere{meta.Shards}, Outputs: nowhere{meta.Shards}, Minions: known, MinionsRead: known.read, Seal: seal,
	})
	if err != nil {
		return nil, err
	}
	if err := ctl.ReadState(first); err != nil {
		return nil, err
	}
	who := callerOf(cfg.By)
	rights := ctl.Rights()
	api, err := httpapi.New(httpapi.Config{}, httpapi.Deps{
		Control: guarded.New(ctl, rights), Rights: rights, Peer: func(*http.Request) (caller.Caller, bool) { return who, true },
	})
	if err != nil {
		return nil, err
	}
	in := newInside()
	made, err := client.New(client.Config{Server: "http://localhost", Dial: in.dial, Agent: "carillon-overetcd"})
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: api, ReadHeaderTimeout: cfg.DialTimeout}
	watching, stop := context.WithCancel(context.Background()) // until Close
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(in) })       // it ends by Close only
	running.Go(func() { _ = ctl.Watch(watching) }) // what it misses, callers read anew
	return &Client{Client: made, end: sync.OnceFunc(func() {
		made.Close()
		stop()
		_ = srv.Close()
		running.Wait()
	})}, nil
}

// readMeta reads the cluster's description.
func readMeta(ctx context.Context, kv *clientv3.Client, keys etcdkv.Keys) (etcdkv.Meta, error) {
	got, err := kv.Get(ctx, keys.Meta())
	if err != nil {
		return etcdkv.Meta{}, fmt.Errorf("read the cluster's description: %w", etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 {
		return etcdkv.Meta{}, fmt.Errorf("%w under the prefix %s: start a node there once, or give the prefix that nodes have", ErrNoCluster, keys.Prefix())
	}
	return etcdkv.Decode[etcdkv.Meta](keys.Meta(), got.Kvs[0].Value)
}

// callerOf is who asks by etcd (E2).
func callerOf(by string) caller.Caller {
	if by == "" {
		by = "uid " + strconv.Itoa(os.Getuid())
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	return caller.Caller{Name: by + " (etcd)", Remote: "etcd", Local: true}
}
