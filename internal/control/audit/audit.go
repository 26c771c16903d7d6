package audit

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Log writes audit records. Use New. It may be used by many goroutines at once.
type Log struct {
	db  *store.Store
	log *zap.Logger
}

// New returns a Log that writes to db.
func New(db *store.Store, log *zap.Logger) *Log { return &Log{db: db, log: log} }

// Write does what an operator asked for and keeps a record of it, in one
// transaction. before is the key's pair as it was read; nil: there was none.
func (l *Log) Write(ctx context.Context, action, object string, o api.Order, key string, before *mvccpb.KeyValue, ops ...clientv3.Op) error {
	rec := l.Record(ctx, action, object, o)
	var rev int64
	if before != nil {
		rec.Before, rev = string(before.Value), before.ModRevision
	}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", rev)}
	audit, err := l.Op(rec)
	if err != nil {
		return err
	}
	resp, err := l.db.Do(ctx, action+" "+object, cmps, append(ops, audit))
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return fmt.Errorf("%s %s: somebody else changed it meanwhile; look, and try again: %w", action, object, job.ErrConflict)
	}
	l.log.Info("operator", zap.String("action", action), zap.String("object", object), zap.String("by", rec.By), zap.String("reason", o.Reason))
	return nil
}

// Record returns the record of what an operator ordered.
func (l *Log) Record(ctx context.Context, action, object string, o api.Order) etcdkv.Audit {
	return etcdkv.Audit{Schema: etcdkv.Schema, At: l.db.Now().UTC(), By: caller.Of(ctx, o.By), Action: action, Object: object, Reason: o.Reason}
}

// Op returns the write of an audit record.
func (l *Log) Op(rec etcdkv.Audit) (clientv3.Op, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("new audit id: %w", err)
	}
	text, err := etcdkv.Encode(rec)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(l.db.Keys.AuditRecord(rec.At, id.String()), text), nil
}
