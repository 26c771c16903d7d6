package main

import (
	"context"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdArgument makes this program run an etcd server: the schedulers must be
// able to die without it.
const etcdArgument = "etcd-server"

// runEtcd runs an etcd server until it is told to end. Its arguments are the
// data directory, the addresses for clients and peers, its name, and all names
// with their addresses for peers.
func runEtcd(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("want DIR CLIENTS PEERS NAME CLUSTER, got %q", args)
	}
	client, peer := url.URL{Scheme: "http", Host: args[1]}, url.URL{Scheme: "http", Host: args[2]}
	log, err := zap.NewProduction(zap.IncreaseLevel(zap.WarnLevel))
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Dir = args[0]
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.Name, cfg.InitialCluster = args[3], args[4]
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "1m"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer srv.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.Err():
		return err
	}
}
