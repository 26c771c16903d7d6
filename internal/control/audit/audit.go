package audit

import (
	"cmp"
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
	var was, is []byte
	var rev int64
	if before != nil {
		was, rev = before.Value, before.ModRevision
	}
	for _, op := range ops {
		if op.IsPut() && string(op.KeyBytes()) == key {
			is = op.ValueBytes()
		}
	}
	rec.Changes, rec.LeftOut = Changes(was, is)
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
	l.log.Info("operator", zap.String("action", action), zap.String("object", object), zap.String("by", rec.By), zap.String("reason", rec.Reason))
	return nil
}

// Record returns the record of what somebody ordered.
func (l *Log) Record(ctx context.Context, action, object string, o api.Order) etcdkv.Audit {
	r := caller.RequestOf(ctx)
	if c, ok := caller.From(ctx); ok {
		r.From = cmp.Or(c.Remote, r.From)
	}
	return etcdkv.Audit{
		Schema: etcdkv.Schema, At: l.db.Now().UTC(), By: caller.Of(ctx, cmp.Or(o.By, r.By)), From: r.From, Request: r.ID,
		Action: action, Object: object, Reason: cmp.Or(o.Reason, r.Reason),
	}
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

// Add adds to a transaction the record of what it does.
func (l *Log) Add(d *store.Txn, rec etcdkv.Audit) error {
	op, err := l.Op(rec)
	if err == nil {
		d.Do(string(op.KeyBytes()), op)
	}
	return err
}

// Change is what is done to one object, with its values before and after as they are
// stored; nil: there is none.
type Change struct {
	Action, Object string
	Before, After  []byte
}

// AddAll adds to a transaction one record of all that it changes: one operation, and at
// most MaxRecord bytes, however many objects there are. None: nothing is added.
func (l *Log) AddAll(ctx context.Context, d *store.Txn, changes []Change, o api.Order) error {
	if len(changes) == 0 {
		return nil
	}
	rec := l.Record(ctx, changes[0].Action, changes[0].Object, o)
	if len(changes) == 1 {
		rec.Changes, rec.LeftOut = Changes(changes[0].Before, changes[0].After)
		return l.Add(d, rec)
	}
	rec.Action, rec.Object = "apply", fmt.Sprintf("%d objects", len(changes))
	room := (MaxRecord - recordBytes) / len(changes)
	for i := range changes {
		c := &changes[i]
		told, out := Changes(c.Before, c.After)
		told, more := bounded(told, room-len(c.Action)-len(c.Object)-objectBytes)
		rec.Objects = append(rec.Objects, etcdkv.AuditObject{Action: c.Action, Object: c.Object, Changes: told, LeftOut: out + more})
	}
	return l.Add(d, rec)
}

// AddDelete adds to a transaction the record of an object that it removes, which is
// stored as kv.
func (l *Log) AddDelete(ctx context.Context, d *store.Txn, kind, name string, kv *mvccpb.KeyValue) error {
	c := Change{Action: kind + ".delete", Object: kind + " " + name}
	if kv != nil {
		c.Before = kv.Value
	}
	return l.AddAll(ctx, d, []Change{c}, api.Order{})
}

// recordBytes is what a record takes besides its objects: who, why and the like.
const recordBytes = 8 << 10

// objectBytes is what an object takes in a record besides its names and changes.
const objectBytes = 64
