package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/auth"
)

// serve runs the node until ctx ends.
func serve(ctx context.Context, cfg configs.Scheduler, build app.Build, log *zap.Logger) error {
	if cfg.Insecure {
		log.Warn("connections of minions and peers are plain: whoever reaches their port from this host may run commands")
	}
	if cfg.OpenAPI {
		log.Warn("the API listens beyond loopback: whoever reaches its port may run commands unless the cluster is closed (carillon auth status)")
	}
	node, err := app.Open(ctx, cfg, build, log)
	if err != nil {
		return err
	}
	log.Info("node opened", zap.String("node", cfg.Node), zap.String("api", node.APIAddr()), zap.Bool("tls", node.SpeaksTLS()), zap.String("peers", node.PeerAddr()))
	return node.Run(ctx, func() { log.Info("ready", zap.String("page", node.APIURL())) })
}

// order is what is done instead of serving.
type order func(context.Context, configs.Scheduler, *zap.Logger) error

// onceFlags adds the flags of what is done instead of serving, and returns what tells
// which was given; nil: none.
func onceFlags(flags *pflag.FlagSet) func() (string, order) {
	renew := flags.Bool("renew-authority", false, "put a new authority in place of the cluster's, while no node runs, and exit (docs/security.md)")
	bootstrap := flags.Bool("reset-bootstrap", false, "write a token by which somebody becomes admin once to the file bootstrap-token in the data directory, and exit (docs/security.md)")
	return func() (string, order) {
		switch {
		case *renew:
			return "renew-authority", renewAuthority
		case *bootstrap:
			return "reset-bootstrap", resetBootstrap
		}
		return "", nil
	}
}

// resetBootstrap makes a bootstrap token, and prints where it is.
func resetBootstrap(ctx context.Context, cfg configs.Scheduler, log *zap.Logger) error {
	path, until, err := app.ResetBootstrap(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Printf("a bootstrap token is in %s, good once and until %s: carillon auth bootstrap --file FILE\n", path, until.Format(time.RFC3339))
	return nil
}

// renewAuthority replaces the cluster's authority, and prints what is to be done then.
func renewAuthority(ctx context.Context, cfg configs.Scheduler, log *zap.Logger) error {
	a, err := app.RenewAuthority(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Printf("the cluster has a new authority, until %s (caHash %s)\n", a.Certificate().NotAfter.UTC().Format(time.DateOnly), auth.CAHash(a.Certificate()))
	fmt.Println("start the nodes again; minions connect once they have its certificate (docs/security.md)")
	return nil
}
