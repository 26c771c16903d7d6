package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// GroupView is a group as people look at it.
type GroupView struct {
	job.Group
	// Words says what the group's mode does.
	Words string     `json:"words"`
	Owner job.NodeID `json:"owner,omitempty"`
	Since time.Time  `json:"since,omitzero"`
	Token job.Token  `json:"token"`
	// Jobs is how many jobs are in the group, OpenSlots how many slots have
	// fires that are not resolved.
	Jobs      int `json:"jobs"`
	OpenSlots int `json:"openSlots"`
	// Line are the nodes that stand in line for the lock, first come first.
	Line []job.NodeID `json:"line,omitempty"`
	// Override is what an operator decided; nil: nothing.
	Override *etcdkv.Override `json:"override,omitempty"`
}

// Groups returns the groups of a namespace, or of all, ordered by name.
func (c *Control) Groups(ctx context.Context, namespace string) ([]GroupView, error) {
	stored, err := listAll[etcdkv.StoredGroup](ctx, c, "list groups", c.cfg.Keys.Groups())
	if err != nil {
		return nil, err
	}
	views := make([]GroupView, 0, len(stored))
	for i := range stored {
		if namespace == "" || stored[i].Namespace == namespace {
			views = append(views, GroupView{Group: stored[i].Group})
		}
	}
	if err := c.fillGroups(ctx, views); err != nil {
		return nil, err
	}
	slices.SortFunc(views, func(a, b GroupView) int { return a.Key().Compare(b.Key()) })
	return views, nil
}

// Group returns one group.
func (c *Control) Group(ctx context.Context, key job.Key) (GroupView, error) {
	g, _, err := c.storedGroup(ctx, key)
	if err != nil {
		return GroupView{}, err
	}
	views := []GroupView{{Group: g.Group}}
	if err := c.fillGroups(ctx, views); err != nil {
		return GroupView{}, err
	}
	return views[0], nil
}

// fillGroups adds to views who holds what.
func (c *Control) fillGroups(ctx context.Context, views []GroupView) error {
	if len(views) == 0 {
		return nil
	}
	owners, err := c.owners(ctx)
	if err != nil {
		return err
	}
	overrides, err := c.overrides(ctx)
	if err != nil {
		return err
	}
	lines, err := c.lines(ctx)
	if err != nil {
		return err
	}
	for i := range views {
		v := &views[i]
		if m, ok := mode.Find(v.Spec.Mode); ok {
			v.Words = m.Words
		}
		if o, ok := owners[v.Shard]; ok {
			v.Owner, v.Since, v.Token = o.Node, o.Since, o.token
		}
		if o, ok := overrides[v.Shard]; ok {
			v.Override = &o
		}
		v.Line = lines[v.Shard]
		if v.Jobs, v.OpenSlots, err = c.countShard(ctx, v.Shard); err != nil {
			return err
		}
	}
	return nil
}

func (c *Control) countShard(ctx context.Context, s job.ShardID) (jobs, slots int, err error) {
	resp, err := c.txn(ctx, "count a group's jobs", nil, []clientv3.Op{
		clientv3.OpGet(c.cfg.Keys.ShardJobs(s), clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(c.cfg.Keys.Slots(s), clientv3.WithPrefix(), clientv3.WithCountOnly()),
	})
	if err != nil {
		return 0, 0, err
	}
	return int(resp.Responses[0].GetResponseRange().GetCount()), int(resp.Responses[1].GetResponseRange().GetCount()), nil
}

func (c *Control) overrides(ctx context.Context) (map[job.ShardID]etcdkv.Override, error) {
	all, err := listAll[etcdkv.Override](ctx, c, "list overrides", c.cfg.Keys.Overrides())
	out := make(map[job.ShardID]etcdkv.Override, len(all))
	for _, o := range all {
		out[o.Shard] = o
	}
	return out, err
}

// lines returns the nodes in line for each group's lock.
func (c *Control) lines(ctx context.Context) (map[job.ShardID][]job.NodeID, error) {
	type placed struct {
		node job.NodeID
		rev  int64
	}
	all := map[job.ShardID][]placed{}
	err := c.list(ctx, "list lines", c.cfg.Keys.Lines(), func(kv *mvccpb.KeyValue) error {
		s, n, err := c.cfg.Keys.ParseLine(string(kv.Key))
		if err == nil {
			all[s] = append(all[s], placed{n, kv.ModRevision})
		}
		return nil //nolint:nilerr // a foreign key is none of our business
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

func (c *Control) storedGroup(ctx context.Context, key job.Key) (etcdkv.StoredGroup, *mvccpb.KeyValue, error) {
	kv, err := c.get(ctx, "read group "+key.String(), c.cfg.Keys.Group(key))
	if err != nil {
		return etcdkv.StoredGroup{}, nil, err
	}
	if kv == nil {
		return etcdkv.StoredGroup{}, nil, fmt.Errorf("group %s: %w", key, job.ErrNotFound)
	}
	g, err := decode[etcdkv.StoredGroup](kv)
	if err != nil {
		return etcdkv.StoredGroup{}, nil, fmt.Errorf("read group %s: %w", key, err)
	}
	return g, kv, nil
}

// DeleteGroup removes a group that has no jobs and no open fires.
func (c *Control) DeleteGroup(ctx context.Context, key job.Key) error {
	doing := "delete group " + key.String()
	g, kv, err := c.storedGroup(ctx, key)
	if err != nil {
		return err
	}
	none := func(prefix string) clientv3.Cmp { // an empty range compares as a key that does not exist
		return clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix()
	}
	keys := c.cfg.Keys
	resp, err := c.txn(ctx, doing, []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision),
		none(keys.ShardJobs(g.Shard)), none(keys.Slots(g.Shard)), none(keys.Triggers(g.Shard)), none(keys.Moved(g.Shard)),
	}, []clientv3.Op{
		clientv3.OpDelete(string(kv.Key)),
		clientv3.OpDelete(keys.Override(g.Shard)),
		clientv3.OpDelete(keys.Shard(g.Shard), clientv3.WithPrefix()),
	})
	if err != nil {
		return err
	}
	if resp.Succeeded {
		c.log.Info("group deleted", zap.Stringer("group", key))
		return nil
	}
	jobs, slots, err := c.countShard(ctx, g.Shard)
	switch {
	case err != nil:
		return err
	case jobs > 0:
		return fmt.Errorf("%s: it has %d jobs; delete them, or put them into another group: %w", doing, jobs, job.ErrConflict)
	case slots > 0:
		return fmt.Errorf("%s: runs of its jobs have not ended; wait, or cancel them: %w", doing, job.ErrConflict)
	}
	return fmt.Errorf("%s: it changes meanwhile; try again: %w", doing, job.ErrConflict)
}

// groupsOf reads the groups that a manifest has or names. Those that it has are
// as they will be.
type groupsOf struct {
	stored map[job.Key]*mvccpb.KeyValue
	shard  map[job.Key]job.ShardID
	// next is the counter that new groups take their shards from.
	next    job.ShardID
	nextRev int64
	added   int
}

func (c *Control) groupsOf(ctx context.Context, objects []manifest.Object) (*groupsOf, error) {
	var keys []job.Key
	for i := range objects {
		o := &objects[i]
		key := job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Group}
		if o.Kind == job.KindGroup {
			key = o.Metadata.Key()
		}
		if key.Name != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	g := &groupsOf{stored: map[job.Key]*mvccpb.KeyValue{}, shard: map[job.Key]job.ShardID{}}
	if len(keys) == 0 {
		return g, nil
	}
	names := []string{c.cfg.Keys.NextGroup()}
	for _, k := range keys {
		names = append(names, c.cfg.Keys.Group(k))
	}
	kvs, _, err := c.getAll(ctx, "read groups", names)
	if err != nil {
		return nil, err
	}
	g.next = job.FirstGroupShard
	if kvs[0] != nil {
		n, err := strconv.ParseUint(string(kvs[0].Value), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read groups: counter %q: %w", kvs[0].Value, err)
		}
		g.next, g.nextRev = job.ShardID(n), kvs[0].ModRevision
	}
	for i, k := range keys {
		if kvs[i+1] == nil {
			continue
		}
		stored, err := decode[etcdkv.StoredGroup](kvs[i+1])
		if err != nil {
			return nil, err
		}
		g.stored[k], g.shard[k] = kvs[i+1], stored.Shard
	}
	return g, nil
}

// planGroup works out what applying a group changes.
func (c *Control) planGroup(o *manifest.Object, g *groupsOf, now time.Time) (change, error) {
	key := o.Metadata.Key()
	ch := change{result: ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: ActionUpdated}}
	name := c.cfg.Keys.Group(key)
	next := etcdkv.StoredGroup{Schema: etcdkv.Schema, Group: job.Group{Metadata: o.Metadata, Spec: o.Group, UpdatedAt: now}}
	kv := g.stored[key]
	if kv == nil {
		uid, err := job.NewUID()
		if err != nil {
			return change{}, err
		}
		next.UID, next.Generation, next.CreatedAt = uid, 1, now
		next.Shard = g.next
		g.next++
		g.added++
		g.shard[key] = next.Shard
		ch.result.Action = ActionCreated
		text, err := etcdkv.Encode(next)
		if err != nil {
			return change{}, err
		}
		ch.cmps = []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(name), "=", 0)}
		ch.ops, ch.size = []clientv3.Op{clientv3.OpPut(name, text)}, len(text)
		if g.added == 1 { // the counter is written once a transaction, with its last value
			ch.counter = g
		}
		return ch, nil
	}
	old, err := decode[etcdkv.StoredGroup](kv)
	if err != nil {
		return change{}, fmt.Errorf("apply group %s: %w", key, err)
	}
	ch.cmps = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", kv.ModRevision)}
	a, err1 := etcdkv.Encode(writtenGroup{old.Metadata, old.Spec})
	b, err2 := etcdkv.Encode(writtenGroup{next.Metadata, next.Spec})
	if err := errors.Join(err1, err2); err != nil {
		return change{}, fmt.Errorf("apply group %s: %w", key, err)
	}
	if a == b {
		ch.result.Action = ActionUnchanged
		return ch, nil
	}
	next.UID, next.Generation, next.CreatedAt, next.Shard = old.UID, old.Generation+1, old.CreatedAt, old.Shard
	next.Schema = max(old.Schema, next.Schema)
	text, err := etcdkv.MergeUnknown(kv.Value, next)
	if err != nil {
		return change{}, fmt.Errorf("apply group %s: %w", key, err)
	}
	ch.ops, ch.size = []clientv3.Op{clientv3.OpPut(name, text)}, len(text)
	return ch, nil
}

// writtenGroup is what a user writes of a group.
type writtenGroup struct {
	Metadata job.Metadata
	Spec     job.GroupSpec
}

// shardOf returns the shard of a job's group, or tells what is wrong with it.
func (c *Control) shardOf(ctx context.Context, o *manifest.Object, g *groupsOf) (job.ShardID, *job.Problem, error) {
	key := o.Metadata.Key()
	if o.Spec.Group == "" {
		return c.hashShard(key), nil, nil
	}
	if s, ok := g.shard[job.Key{Namespace: key.Namespace, Name: o.Spec.Group}]; ok {
		return s, nil, nil
	}
	all, err := listAll[etcdkv.StoredGroup](ctx, c, "list groups", c.cfg.Keys.Groups()+key.Namespace+"/")
	if err != nil {
		return 0, nil, err
	}
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	p := &job.Problem{Path: "spec.group", File: o.File, Line: o.Line}
	p.Message = fmt.Sprintf("there is no group %q in namespace %q", o.Spec.Group, key.Namespace)
	if near, ok := job.Nearest(o.Spec.Group, names); ok {
		p.Message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		p.Message += "; apply one (kind: Group), in this file or before it"
	}
	return 0, p, nil
}
