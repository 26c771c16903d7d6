package app

import (
	"context"
	"fmt"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

// sealKeyName is the name of the seal key file in the data directory.
const sealKeyName = "seal.key"

// SealKeyFile is the seal key file of a node whose settings are cfg.
func SealKeyFile(cfg configs.Scheduler) (string, error) {
	path := cfg.SealKeyFile
	if path == "" {
		path = filepath.Join(cfg.DataDir, sealKeyName)
	}
	path, err := filepath.Abs(path) // others are told where it is
	if err != nil {
		return "", fmt.Errorf("seal key file: %w", err)
	}
	return path, nil
}

func sealConfig(cfg configs.Scheduler) (sealing.Config, error) {
	path, err := SealKeyFile(cfg)
	return sealing.Config{Node: job.NodeID(cfg.Node), Keys: etcdkv.NewKeys(cfg.Etcd.Prefix), File: path}, err
}

// openSeal opens what seals the cluster's secrets. The file is made where it is asked for,
// and with an embedded etcd, whose only node this is: further nodes of an etcd of its own
// would need the file of the first one.
func openSeal(ctx context.Context, cfg configs.Scheduler, client *clientv3.Client, lease func() (clientv3.LeaseID, bool), log *zap.Logger) (*sealing.Keeper, error) {
	c, err := sealConfig(cfg)
	if err != nil {
		return nil, err
	}
	c.Make = cfg.EmbeddedEtcd || cfg.SealKeyFile != ""
	return sealing.Open(ctx, c, sealing.Deps{Client: client, Lease: lease, Logger: log})
}

// readSeal is openSeal for what is done instead of serving: it makes no file.
func readSeal(ctx context.Context, cfg configs.Scheduler, client *clientv3.Client, log *zap.Logger) (*sealing.Keeper, error) {
	c, err := sealConfig(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return sealing.Open(ctx, c, sealing.Deps{Client: client, Logger: log})
}

// sealOfNewAuthority returns what seals a new authority, and what is done together with
// it where the key is lost.
func sealOfNewAuthority(ctx context.Context, cfg configs.Scheduler, keyLost bool, client *clientv3.Client, log *zap.Logger) (*sealing.Keeper, []clientv3.Op, error) {
	if !keyLost {
		k, err := readSeal(ctx, cfg, client, log)
		return k, nil, err
	}
	c, err := sealConfig(cfg)
	if err != nil {
		return nil, nil, err
	}
	return sealing.Replace(ctx, c, sealing.Deps{Client: client, Logger: log})
}
