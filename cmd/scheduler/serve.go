package main

import (
	"context"
	"fmt"
	"time"

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
		log.Warn("the API has no access rights: whoever reaches its port may run commands")
	}
	node, err := app.Open(ctx, cfg, build, log)
	if err != nil {
		return err
	}
	log.Info("node opened", zap.String("node", cfg.Node), zap.String("api", node.APIAddr()), zap.Bool("tls", node.SpeaksTLS()), zap.String("peers", node.PeerAddr()))
	return node.Run(ctx, func() { log.Info("ready", zap.String("page", node.APIURL())) })
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
