package definitions

import (
	"context"
	"fmt"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// ScriptTexts is what the sweep knows of texts that nothing names.
type ScriptTexts struct {
	// Idle are those that nothing named when it looked last, by their revision.
	Idle map[string]int64
}

// SweepTexts removes texts that nothing has named for two looks in a row, so
// that orders on their way still find them. A text that is named again meanwhile
// was put again: its revision tells.
func (lib *Set) SweepTexts(ctx context.Context, known *ScriptTexts) error {
	actx, cancel := lib.db.Bounded(ctx)
	defer cancel()
	resp, err := lib.db.Client.Get(actx, lib.db.Keys.Blobs(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return store.Error(ctx, "list texts", err)
	}
	there := map[string]int64{}
	for _, kv := range resp.Kvs {
		there[string(kv.Key)] = kv.ModRevision
	}
	if len(there) == 0 {
		return nil
	}
	versions, err := store.ListAll[etcdkv.StoredScript](ctx, lib.db, "list scripts", lib.db.Keys.Scripts())
	if err != nil {
		return err
	}
	for i := range versions {
		delete(there, lib.db.Keys.Blob(versions[i].SHA256))
	}
	err = lib.db.List(ctx, "list jobs", lib.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err != nil {
			return fmt.Errorf("which texts are in use cannot be told: %w", err)
		}
		if text := LargeText(stored.Spec.Script); text != "" {
			delete(there, lib.db.Keys.Blob(job.ScriptSum(text)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, rev := range there {
		if known.Idle[key] != rev {
			continue
		}
		var d store.Txn
		d.SameAs(key, rev)
		d.Remove(key)
		if _, err := lib.db.Commit(ctx, "remove a text that nothing names", &d); err != nil {
			return err
		}
		delete(there, key)
	}
	known.Idle = there
	return nil
}
