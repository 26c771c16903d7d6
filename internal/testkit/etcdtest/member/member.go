// Package member is the single member of an etcd for tests. It knows of no test, so
// that a program may run it.
package member

import (
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const (
	// tick and election are short, so that a server starts fast. The lease TTL
	// floor is then 1 s.
	tick     = 20 * time.Millisecond
	election = 10 * tick
)

// Start starts a member with its data in dir, without fsync, that listens for clients
// on addr, and returns when it is ready.
func Start(dir, addr string) (*embed.Etcd, error) {
	e, err := embed.StartEtcd(config(dir, addr))
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err := <-e.Err():
		e.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
}

func config(dir, addr string) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "test"
	cfg.Dir = dir
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = uint(election.Milliseconds())
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	client := url.URL{Scheme: "http", Host: addr}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.EnableGRPCGateway = false // it would dial port 0
	cfg.MaxTxnOps = 1024
	// The least that the server allows; tests of slow watches need it short.
	cfg.WatchProgressNotifyInterval = 100 * time.Millisecond
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return cfg
}
