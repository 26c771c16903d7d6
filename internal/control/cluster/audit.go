package cluster

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Audit returns the latest records of what operators did, newest first.
func (op *Operator) Audit(ctx context.Context, limit int) ([]api.AuditRecord, error) {
	if limit <= 0 || limit > api.MaxAudit {
		return nil, apiview.Invalid("limit", fmt.Sprintf("%d is out of range; want 1 to %d", limit, api.MaxAudit))
	}
	actx, cancel := op.db.Bounded(ctx)
	defer cancel()
	resp, err := op.db.Client.Get(actx, op.db.Keys.Audit(), clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return nil, store.Error(ctx, "list audit records", err)
	}
	out := make([]api.AuditRecord, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		rec, err := store.Decode[etcdkv.Audit](kv)
		if err != nil {
			op.log.Warn("record unreadable", zap.Error(err))
			continue
		}
		out = append(out, apiview.Audit(&rec))
	}
	return out, nil
}
