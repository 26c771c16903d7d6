package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members"
	"github.com/carillon-cron/carillon/job"
)

// bootstrapName is the name of the file with the bootstrap token in the data directory.
const bootstrapName = "bootstrap-token"

const (
	// bootstrapEvery is how often a node looks whether the file is still of use.
	bootstrapEvery = time.Minute
	// bootstrapFresh is how old a file must be to be removed: it is written before the
	// cluster knows its token.
	bootstrapFresh = time.Minute
)

// offerBootstrap leaves a way in where the cluster is closed and has no admin.
func (n *Node) offerBootstrap(ctx context.Context) error {
	path := filepath.Join(n.cfg.DataDir, bootstrapName)
	until, made, err := n.control.OfferBootstrap(ctx, job.NodeID(n.cfg.Node), func(text string) error { return writeSecret(path, text) })
	if err != nil || !made {
		return err
	}
	n.log.Warn("the cluster is closed, and no binding gives anybody the role admin; a token in a file makes an admin, once: `carillon auth bootstrap --file FILE`",
		zap.String("file", path), zap.Time("until", until))
	return nil
}

// dropBootstraps removes the file with the bootstrap token once the token is good for
// nothing, until ctx ends.
func (n *Node) dropBootstraps(ctx context.Context) error {
	path := filepath.Join(n.cfg.DataDir, bootstrapName)
	for {
		gone, err := dropBootstrap(path, time.Now(), func(text string) (bool, error) { return n.control.GoodBootstrap(ctx, text) })
		switch {
		case gone:
			n.log.Info("the file with the bootstrap token was removed: the token was used or replaced, or has expired", zap.String("file", path))
		case err != nil && ctx.Err() == nil:
			n.log.Warn("it is not known whether the bootstrap token in a file is still good, or the file cannot be removed; trying again", zap.String("file", path), zap.Error(err))
		}
		if !backoff.Sleep(ctx, bootstrapEvery) {
			return nil
		}
	}
}

// dropBootstrap removes a file with a token that is not good, and reports whether it did.
func dropBootstrap(path string, now time.Time, good func(text string) (bool, error)) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && now.Sub(info.ModTime()) < bootstrapFresh {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if ok, err := good(strings.TrimSpace(string(text))); ok || err != nil {
		return false, err
	}
	if err := os.Remove(path); err != nil {
		return false, err
	}
	return true, nil
}

// ResetBootstrap makes a bootstrap token for the cluster of a node whose settings are
// cfg, in place of one that there may be, and returns the file that has it. The node may
// run.
func ResetBootstrap(ctx context.Context, cfg configs.Scheduler, log *zap.Logger) (path string, until time.Time, err error) {
	reach, err := reachOfOwn(cfg)
	if err != nil {
		return "", until, err
	}
	dir, err := openDirectory(cfg.DataDir, log)
	switch {
	case errors.Is(err, ErrInUse) && cfg.EmbeddedEtcd: // the node runs, and its etcd with it
		reach = configs.Etcd{Endpoints: []string{"unix://" + filepath.Join(etcdDirectory(cfg), members.SocketName)}, DialTimeout: reach.DialTimeout}
	case errors.Is(err, ErrInUse):
	case err != nil:
		return "", until, err
	default:
		defer dir.close()
		if cfg.EmbeddedEtcd {
			srv, err := members.Alone(etcdDirectory(cfg), log)
			if err != nil {
				return "", until, err
			}
			defer srv.Stop()
			reach = configs.Etcd{Endpoints: []string{srv.Endpoint}, DialTimeout: reach.DialTimeout}
		}
	}
	client, err := dialEtcd(ctx, reach.Endpoints, reach, startTimeout, log)
	if err != nil {
		return "", until, err
	}
	defer func() { _ = client.Close() }() // nothing is left in it
	answered := tellOfEtcd(ctx, reach, log)
	seal, err := readSeal(ctx, cfg, client, log)
	if err != nil {
		answered()
		if errors.Is(err, job.ErrUnavailable) {
			err = withoutEtcd(ctx, reach, err)
		}
		return "", until, err
	}
	db := store.New(store.Config{Keys: etcdkv.NewKeys(cfg.Etcd.Prefix), Timeout: startTimeout}, store.Deps{Client: client, Seal: seal, Now: time.Now, Logger: log})
	path = filepath.Join(cfg.DataDir, bootstrapName)
	until, _, err = access.Offer(ctx, db, audit.New(db, log), job.NodeID(cfg.Node), true, func(text string) error { return writeSecret(path, text) })
	answered()
	if errors.Is(err, job.ErrUnavailable) {
		err = withoutEtcd(ctx, reach, err)
	}
	return path, until, err
}

// writeSecret writes a file that nobody but our account reads, in place of one that
// there may be.
func writeSecret(path, text string) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bootstrap token: %w", err)
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("bootstrap token: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("bootstrap token: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("bootstrap token: %w", err)
	}
	return nil
}
