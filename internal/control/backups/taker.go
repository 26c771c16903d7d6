package backups

import (
	"context"
	"fmt"
	"io"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Taker stands on. All must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Version is that of the node.
	Version string
	Logger  *zap.Logger
}

// Taker takes backups. Use New. It takes one at a time.
type Taker struct {
	deps Deps
	mu   sync.Mutex
}

// New returns a Taker.
func New(d Deps) *Taker { return &Taker{deps: d} }

// Backup writes a backup of what etcd holds of the cluster. Each one reads all of it, so
// that a node takes one at a time.
func (t *Taker) Backup(ctx context.Context, w io.Writer) error {
	if !t.mu.TryLock() {
		return fmt.Errorf("this node is taking a backup for somebody else: %w", job.ErrConflict)
	}
	defer t.mu.Unlock()
	// Noted before the first byte is given.
	op, err := t.deps.Audit.Op(t.deps.Audit.Record(ctx, "cluster.backup", "cluster", api.Order{}))
	if err != nil {
		return err
	}
	if _, err := t.deps.Store.Do(ctx, "cluster.backup", nil, []clientv3.Op{op}); err != nil {
		return err
	}
	h, end, err := backup.Take(ctx, t.deps.Store.Client, t.deps.Store.Keys, t.deps.Version, w)
	if err != nil {
		t.deps.Logger.Warn("a backup broke off", zap.Error(err))
		return fmt.Errorf("backup: %w", err)
	}
	t.deps.Logger.Info("a backup was taken", zap.Int64("revision", h.Revision), zap.Int64("keys", end.Keys), zap.Int64("jobs", end.Jobs))
	return nil
}
