package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Groups returns the groups of a namespace, or of all, ordered by name.
func (op *Operator) Groups(ctx context.Context, namespace string) ([]api.Group, error) {
	stored, err := store.ListAll[etcdkv.StoredGroup](ctx, op.db, "list groups", op.db.Keys.Groups())
	if err != nil {
		return nil, err
	}
	views := make([]api.Group, 0, len(stored))
	for i := range stored {
		if namespace == "" || stored[i].Namespace == namespace {
			views = append(views, api.Group{Group: stored[i].Group})
		}
	}
	if err := op.fillGroups(ctx, views); err != nil {
		return nil, err
	}
	slices.SortFunc(views, func(a, b api.Group) int { return a.Key().Compare(b.Key()) })
	return views, nil
}

// Group returns one group.
func (op *Operator) Group(ctx context.Context, key job.Key) (api.Group, error) {
	g, _, err := op.StoredGroup(ctx, key)
	if err != nil {
		return api.Group{}, err
	}
	views := []api.Group{{Group: g.Group}}
	if err := op.fillGroups(ctx, views); err != nil {
		return api.Group{}, err
	}
	return views[0], nil
}

// fillGroups adds to views who holds what.
func (op *Operator) fillGroups(ctx context.Context, views []api.Group) error {
	if len(views) == 0 {
		return nil
	}
	owners, err := op.Owners(ctx)
	if err != nil {
		return err
	}
	overrides, err := op.Overrides(ctx)
	if err != nil {
		return err
	}
	lines, err := op.lines(ctx)
	if err != nil {
		return err
	}
	for i := range views {
		v := &views[i]
		if m, ok := mode.Find(v.Spec.Mode); ok {
			v.Words = m.Words
		}
		if o, ok := owners[v.Shard]; ok {
			v.Owner, v.Since, v.Token, v.Due = o.Node, o.Since, o.token, o.Due
		}
		if o, ok := overrides[v.Shard]; ok {
			v.Override = apiview.Override(&o)
		}
		v.Line = lines[v.Shard]
		s, err := op.readShard(ctx, v.Shard)
		if err != nil {
			return err
		}
		v.Jobs, v.OpenSlots, v.Ring = s.jobs, s.slots, apiview.Each(s.state.Ring, apiview.RingNode)
	}
	return nil
}

// shardContents is how much lies in a shard.
type shardContents struct {
	state                        etcdkv.ShardState
	jobs, slots, moved, triggers int
}

func (op *Operator) readShard(ctx context.Context, id job.ShardID) (shardContents, error) {
	keys := op.db.Keys
	ops := []clientv3.Op{clientv3.OpGet(keys.State(id))}
	for _, prefix := range []string{keys.ShardJobs(id), keys.Slots(id), keys.Moved(id), keys.Triggers(id)} {
		ops = append(ops, clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()))
	}
	resp, err := op.db.Do(ctx, "read shard "+id.String(), nil, ops)
	if err != nil {
		return shardContents{}, err
	}
	count := func(n int) int { return int(resp.Responses[n].GetResponseRange().GetCount()) }
	s := shardContents{jobs: count(1), slots: count(2), moved: count(3), triggers: count(4)}
	if kv := etcdkv.FirstKV(resp, 0); kv != nil {
		s.state, err = store.Decode[etcdkv.ShardState](kv)
	}
	return s, err
}

// Overrides returns what operators ordered of shards, by the shard.
func (op *Operator) Overrides(ctx context.Context) (map[job.ShardID]etcdkv.Override, error) {
	all, err := store.ListAll[etcdkv.Override](ctx, op.db, "list overrides", op.db.Keys.Overrides())
	out := make(map[job.ShardID]etcdkv.Override, len(all))
	for _, o := range all {
		out[o.Shard] = o
	}
	return out, err
}

// lines returns the nodes in line for each group's lock.
func (op *Operator) lines(ctx context.Context) (map[job.ShardID][]job.NodeID, error) {
	type placed struct {
		node job.NodeID
		rev  int64
	}
	all := map[job.ShardID][]placed{}
	err := op.db.List(ctx, "list lines", op.db.Keys.Lines(), func(kv *mvccpb.KeyValue) error {
		s, n, err := op.db.Keys.ParseLine(string(kv.Key))
		if err == nil {
			all[s] = append(all[s], placed{n, kv.ModRevision})
		}
		return nil // a foreign key is none of our business
	})
	out := make(map[job.ShardID][]job.NodeID, len(all))
	for s, places := range all {
		slices.SortFunc(places, func(a, b placed) int { return cmp.Compare(a.rev, b.rev) })
		for _, p := range places {
			out[s] = append(out[s], p.node)
		}
	}
	return out, err
}

// StoredGroup reads one group; the error wraps job.ErrNotFound where there is none.
func (op *Operator) StoredGroup(ctx context.Context, key job.Key) (etcdkv.StoredGroup, *mvccpb.KeyValue, error) {
	kv, err := op.db.Get(ctx, "read group "+key.String(), op.db.Keys.Group(key))
	if err != nil {
		return etcdkv.StoredGroup{}, nil, err
	}
	if kv == nil {
		return etcdkv.StoredGroup{}, nil, fmt.Errorf("group %s: %w", key, job.ErrNotFound)
	}
	g, err := store.Decode[etcdkv.StoredGroup](kv)
	if err != nil {
		return etcdkv.StoredGroup{}, nil, fmt.Errorf("read group %s: %w", key, err)
	}
	return g, kv, nil
}

// DeleteGroup removes a group in which nothing is left: no job, no fire that has
// not ended, no start that waits. Otherwise the error wraps job.ErrConflict.
func (op *Operator) DeleteGroup(ctx context.Context, key job.Key) error {
	g, kv, err := op.StoredGroup(ctx, key)
	if err != nil {
		return err
	}
	keys := op.db.Keys
	var d store.Txn
	d.SameAs(string(kv.Key), kv.ModRevision)
	for _, prefix := range []string{keys.ShardJobs(g.Shard), keys.Slots(g.Shard), keys.Moved(g.Shard), keys.Triggers(g.Shard)} {
		d.Empty(prefix)
	}
	d.Remove(string(kv.Key))
	d.Do(keys.GroupEdits(), op.db.Edited(keys.GroupEdits()))
	d.Remove(keys.Override(g.Shard))
	d.Clear(keys.Shard(g.Shard))
	d.Remove(keys.Edits(g.Shard))
	if err := op.audit.AddDelete(ctx, &d, "group", key.String(), kv); err != nil {
		return err
	}
	ok, err := op.db.Commit(ctx, "delete group "+key.String(), &d)
	if err != nil {
		return err
	}
	if ok {
		op.log.Info("group deleted", zap.Stringer("group", key))
		return nil
	}
	s, err := op.readShard(ctx, g.Shard)
	switch {
	case err != nil:
		return err
	case s.jobs > 0:
		return fmt.Errorf("group %s has %s; delete them, or put them into another group: %w", key, apiview.Counted(s.jobs, "job"), job.ErrConflict)
	case s.slots > 0:
		return fmt.Errorf("group %s has runs that have not ended; try again when they have: %w", key, job.ErrConflict)
	case s.moved > 0 || s.triggers > 0:
		return fmt.Errorf("group %s has jobs that are still leaving; try again in a moment: %w", key, job.ErrConflict)
	}
	return fmt.Errorf("group %s was changed meanwhile; try again: %w", key, job.ErrConflict)
}
