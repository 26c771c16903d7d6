package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/sealkey"
)

// serve runs the node until ctx ends.
func serve(ctx context.Context, cfg configs.Scheduler, build app.Build, log *zap.Logger) error {
	if cfg.Insecure {
		log.Warn("connections of minions and peers are plain: whoever reaches their port from this host may run commands")
	}
	if cfg.OpenAPI {
		log.Warn("the API listens beyond loopback: whoever reaches its port may run commands unless the cluster is closed (carillon auth status)")
	}
	for {
		node, err := app.Open(ctx, cfg, build, log)
		if err != nil {
			return err
		}
		log.Info("node opened", zap.String("node", cfg.Node), zap.String("api", node.APIAddr()), zap.Bool("tls", node.SpeaksTLS()), zap.String("peers", node.PeerAddr()))
		err = node.Run(ctx, func() { log.Info("ready", zap.String("page", node.APIURL())) })
		if !errors.Is(err, app.ErrAnew) || ctx.Err() != nil {
			return err
		}
		log.Warn("the node opens anew", zap.Error(err))
	}
}

// order is what is done instead of serving.
type order func(context.Context, configs.Scheduler, *zap.Logger) error

// onceFlags adds the flags of what is done instead of serving, and returns what tells
// which was given; nil: none.
func onceFlags(flags *pflag.FlagSet) func() (string, order) {
	renew := flags.Bool("renew-authority", false, "put a new authority in place of the cluster's, while no node runs, and exit (docs/security.md)")
	lost := flags.Bool("seal-key-lost", false, "with --renew-authority: the seal key is lost on all hosts; make another one (docs/security.md)")
	rotate := flags.Bool("rotate-seal-key", false, "put a new key before those in the seal key file, and exit; it seals once it is the first one on all nodes (docs/security.md)")
	bootstrap := flags.Bool("reset-bootstrap", false, "write a token by which somebody becomes admin once to the file bootstrap-token in the data directory, and exit (docs/security.md)")
	return func() (string, order) {
		switch {
		case *renew:
			return "renew-authority", func(ctx context.Context, cfg configs.Scheduler, log *zap.Logger) error {
				return renewAuthority(ctx, cfg, *lost, log)
			}
		case *lost:
			return "seal-key-lost", func(context.Context, configs.Scheduler, *zap.Logger) error {
				return errors.New("goes together with --renew-authority: what the lost key had sealed is made anew, the authority among it")
			}
		case *rotate:
			return "rotate-seal-key", rotateSealKey
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
func renewAuthority(ctx context.Context, cfg configs.Scheduler, keyLost bool, log *zap.Logger) error {
	a, err := app.RenewAuthority(ctx, cfg, keyLost, log)
	if err != nil {
		return err
	}
	fmt.Printf("the cluster has a new authority, until %s (caHash %s)\n", a.Certificate().NotAfter.UTC().Format(time.DateOnly), auth.CAHash(a.Certificate()))
	if keyLost {
		path, err := app.SealKeyFile(cfg)
		if err != nil {
			return err
		}
		fmt.Printf("the new seal key is in %s: copy that file to each node; webhooks that are signed need new secrets (carillon webhook secret)\n", path)
	}
	fmt.Println("start the nodes again; minions connect once they have its certificate (docs/security.md)")
	return nil
}

// rotateSealKey puts a new key into the seal key file, and prints what is to be done then.
func rotateSealKey(_ context.Context, cfg configs.Scheduler, _ *zap.Logger) error {
	path, err := app.SealKeyFile(cfg)
	if err != nil {
		return err
	}
	ring, err := sealkey.Rotate(path)
	if err != nil {
		return err
	}
	fmt.Printf("the new key %s is the first in %s\n", ring.First(), path)
	fmt.Println("copy the file to all other nodes; they read it within seconds, and what is in etcd is sealed anew once all have it (carillon doctor)")
	return nil
}
