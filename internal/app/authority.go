package app

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/registrar"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members"
	"github.com/carillon-cron/carillon/job"
)

// leasesEnd bounds the wait for the leases of nodes that were killed, leasesLook is how
// often they are looked at.
const (
	leasesEnd  = 30 * time.Second
	leasesLook = 200 * time.Millisecond
)

// RenewAuthority replaces the authority of the cluster of a node whose settings are cfg,
// and returns the new one. No node of the cluster may run. keyLost: the seal key is lost on
// all hosts, and another one is made; secrets of webhooks go.
func RenewAuthority(ctx context.Context, cfg configs.Scheduler, keyLost bool, log *zap.Logger) (*auth.Authority, error) {
	if cfg.Insecure {
		return nil, errors.New("the nodes run with --insecure: the cluster has no authority")
	}
	state, err := members.ReadState(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if state != nil && len(state.Endpoints) > 1 {
		return nil, fmt.Errorf("the cluster's etcd has %d members, which know one another by the authority: remove all but this one first (carillon etcd remove NODE), then stop the nodes and renew it, "+
			"start this node with --cluster-init, and have the others join anew from empty data directories", len(state.Endpoints))
	}
	reach := cfg.Etcd
	if cfg.EmbeddedEtcd || state != nil {
		dir, err := openDirectory(cfg.DataDir, log)
		if err != nil {
			return nil, err
		}
		defer dir.close()
		srv, err := members.Alone(etcdDirectory(cfg), log)
		if err != nil {
			return nil, err
		}
		defer srv.Stop()
		reach = configs.Etcd{Endpoints: []string{srv.Endpoint}, DialTimeout: reach.DialTimeout}
	}
	client, err := dialEtcd(ctx, reach.Endpoints, reach, startTimeout, log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // nothing is left in it
	by := "root"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	bounded, cancel := context.WithTimeout(ctx, leasesEnd)
	defer cancel()
	ticker := time.NewTicker(leasesLook)
	defer ticker.Stop()
	for told := false; ; told = true {
		seal, also, err := sealOfNewAuthority(ctx, cfg, keyLost, client, log)
		if err != nil {
			return nil, err
		}
		a, err := registrar.RenewAuthority(ctx, registrar.Config{Node: job.NodeID(cfg.Node), Keys: etcdkv.NewKeys(cfg.Etcd.Prefix)}, registrar.Deps{Client: client, Seal: seal}, by, also...)
		if live := (*registrar.LiveError)(nil); !errors.As(err, &live) {
			if err == nil && state != nil {
				err = members.Forget(cfg.DataDir) // what it has is of the former authority
			}
			return a, err
		} else if !told {
			log.Info("waiting for nodes that are live: those that were killed are for as long as their leases last", zap.Strings("nodes", live.Nodes))
		}
		select {
		case <-bounded.Done():
			return nil, fmt.Errorf("nodes are %w", err)
		case <-ticker.C:
		}
	}
}
