package definitions

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Defaults returns the defaults of a namespace, or of all when it is empty, ordered by
// namespace.
func (lib *Set) Defaults(ctx context.Context, namespace string) ([]job.Defaults, error) {
	out, err := store.ListAs(ctx, lib.db, "list defaults", lib.db.Keys.Defaults(), func(d *etcdkv.StoredDefaults) job.Defaults { return d.Defaults })
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(d job.Defaults) bool { return namespace != "" && d.Namespace != namespace })
	slices.SortFunc(out, func(a, b job.Defaults) int { return a.Key().Compare(b.Key()) })
	return out, nil
}

// DeleteDefaults removes the defaults of a namespace. Jobs keep what they have of them.
func (lib *Set) DeleteDefaults(ctx context.Context, key job.Key) error {
	name, doing := lib.db.Keys.DefaultsOf(key.Namespace), "delete defaults "+key.String()
	kv, err := lib.db.Get(ctx, doing, name)
	if err != nil {
		return err
	}
	if kv == nil || key.Name != job.DefaultsName {
		return fmt.Errorf("defaults %s: %w", key, job.ErrNotFound)
	}
	var d store.Txn
	d.SameAs(name, kv.ModRevision)
	d.Remove(name)
	if err := lib.audit.AddDelete(ctx, &d, "defaults", key.String(), kv); err != nil {
		return err
	}
	ok, err := lib.db.Commit(ctx, doing, &d)
	if err == nil && !ok {
		err = fmt.Errorf("defaults %s were changed meanwhile; try again: %w", key, job.ErrConflict)
	}
	if err == nil {
		lib.log.Info("defaults deleted", zap.Stringer("defaults", key))
	}
	return err
}
