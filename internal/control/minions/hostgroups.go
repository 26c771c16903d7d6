package minions

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// HostGroups returns the saved groups of hosts, ordered by name.
func (f *Fleet) HostGroups(ctx context.Context) ([]job.HostGroup, error) {
	return store.ListAs(ctx, f.db, "list host groups", f.db.Keys.HostGroups(), func(g *etcdkv.StoredHostGroup) job.HostGroup { return g.HostGroup })
}

// DeleteHostGroup removes a saved group of hosts. One that other groups name is
// kept: the error wraps job.ErrConflict. A job that names it matches no minion
// from then on.
func (f *Fleet) DeleteHostGroup(ctx context.Context, name string) error {
	doing := "delete host group " + name
	// Every change of the groups puts the guard, so none comes between.
	guard, err := f.db.Get(ctx, doing, f.db.Keys.HostGroupGuard())
	if err != nil {
		return err
	}
	h, err := f.HostExpressions(ctx)
	if err != nil {
		return err
	}
	if h.Kvs[name] == nil {
		return fmt.Errorf("host group %s: %w", name, job.ErrNotFound)
	}
	for _, other := range slices.Sorted(h.Names()) {
		if e := h.Groups[other]; other != name && e != nil && slices.Contains(e.Groups(), name) {
			return fmt.Errorf("host group %s is named by @%s; change that first: %w", name, other, job.ErrConflict)
		}
	}
	var d store.Txn
	d.SameAs(f.db.Keys.HostGroupGuard(), store.Revision(guard))
	d.SameAs(string(h.Kvs[name].Key), h.Kvs[name].ModRevision)
	d.Put(f.db.Keys.HostGroupGuard(), name)
	d.Remove(string(h.Kvs[name].Key))
	if err := f.audit.AddDelete(ctx, &d, "hostgroup", name, h.Kvs[name]); err != nil {
		return err
	}
	ok, err := f.db.Commit(ctx, doing, &d)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("host group %s was changed meanwhile; try again: %w", name, job.ErrConflict)
	}
	f.log.Info("host group deleted", zap.String("name", name))
	return nil
}

// HostGroups are the saved groups of hosts as they were read.
type HostGroups struct {
	Groups target.Groups
	Kvs    map[string]*mvccpb.KeyValue
	// Guard is the revision of the key that every change of a group puts.
	Guard int64
}

// Names yields the names of the groups, in no order.
func (h *HostGroups) Names() func(func(string) bool) {
	return func(yield func(string) bool) {
		for n := range h.Kvs {
			if !yield(n) {
				return
			}
		}
	}
}

// HostExpressions reads the saved groups. One that cannot be read is as if it was
// not there; what names it is told so.
func (f *Fleet) HostExpressions(ctx context.Context) (*HostGroups, error) {
	h := &HostGroups{Groups: target.Groups{}, Kvs: map[string]*mvccpb.KeyValue{}}
	guard, err := f.db.Get(ctx, "read host groups", f.db.Keys.HostGroupGuard())
	if err != nil {
		return nil, err
	}
	h.Guard = store.Revision(guard)
	err = f.db.List(ctx, "read host groups", f.db.Keys.HostGroups(), func(kv *mvccpb.KeyValue) error {
		g, err := store.Decode[etcdkv.StoredHostGroup](kv)
		if err != nil {
			f.log.Warn("host group unreadable", zap.Error(err))
			return nil
		}
		h.Kvs[g.Name] = kv
		if e, err := target.Parse(g.Spec.Match); err == nil {
			h.Groups[g.Name] = e
		}
		return nil
	})
	return h, err
}
