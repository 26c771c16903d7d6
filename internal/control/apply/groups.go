package apply

import (
	"context"
	"fmt"
	"strconv"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// groupPlace is a stored group; kv is nil for one that is new.
type groupPlace struct {
	kv    *mvccpb.KeyValue
	shard job.ShardID
}

// created is the create revision of the group's key.
func (g groupPlace) created() int64 {
	if g.kv == nil {
		return 0
	}
	return g.kv.CreateRevision
}

// groupOf returns the group that a job's manifest names; its name is empty when
// there is none.
func groupOf(o *manifest.Object) job.Key {
	return job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Group}
}

// readGroups reads the groups that the objects are, or name.
func (p *planner) readGroups(ctx context.Context, objects []manifest.Object) error {
	var keys []job.Key
	seen := map[job.Key]bool{}
	for i := range objects {
		key := groupOf(&objects[i])
		if objects[i].Kind == job.KindGroup {
			key = objects[i].Metadata.Key()
		}
		if key.Name != "" && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	names := []string{p.c.db.Keys.NextGroup()}
	for _, k := range keys {
		names = append(names, p.c.db.Keys.Group(k))
	}
	kvs, err := p.c.db.GetAll(ctx, "read groups", names)
	if err != nil {
		return err
	}
	p.next = job.FirstGroupShard
	if kvs[0] != nil {
		n, err := strconv.ParseUint(string(kvs[0].Value), 10, 32)
		if err != nil {
			return fmt.Errorf("read groups: counter %q: %w", kvs[0].Value, err)
		}
		p.next, p.nextRev = job.ShardID(n), kvs[0].ModRevision
	}
	for i, k := range keys {
		if kvs[i+1] == nil {
			continue
		}
		stored, err := store.Decode[etcdkv.StoredGroup](kvs[i+1])
		if err != nil {
			return fmt.Errorf("read group %s: %w", k, err)
		}
		p.groups[k] = groupPlace{kvs[i+1], stored.Shard}
	}
	return nil
}

// noGroup tells that a job names a group that there is not. Groups of the file
// are among the known ones.
func (ap *Applier) noGroup(ctx context.Context, o *manifest.Object, known map[job.Key]groupPlace) (job.Problem, error) {
	ns := o.Metadata.Namespace
	stored, err := store.ListAll[etcdkv.StoredGroup](ctx, ap.db, "list groups", ap.db.Keys.Groups()+ns+"/")
	if err != nil {
		return job.Problem{}, err
	}
	s, err := ap.rights.Of(ctx)
	if err != nil {
		return job.Problem{}, err
	}
	var names []string
	for i := range stored {
		if r := (rights.Request{Verb: rights.Read, Kind: rights.Groups, Namespace: ns, Labels: stored[i].Labels}); s.May(r) {
			names = append(names, stored[i].Name)
		}
	}
	for k := range known {
		if k.Namespace == ns {
			names = append(names, k.Name)
		}
	}
	p := o.Problem("spec.group", fmt.Sprintf("there is no group %q in namespace %q", o.Spec.Group, ns))
	if near, ok := job.Nearest(o.Spec.Group, names); ok {
		p.Message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		p.Message += "; apply one (kind: Group), in this file or before it"
	}
	return p, nil
}

// group works out what applying a group changes.
func (p *planner) group(o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name := p.c.db.Keys.Group(key)
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionUpdated}}
	next := etcdkv.StoredGroup{Schema: etcdkv.Schema, Group: job.Group{Metadata: o.Metadata, Spec: o.Group, UpdatedAt: p.now}}
	at, there := p.groups[key]
	if !there {
		ch.result.Action = api.ActionCreated
		uid, err := job.NewUID()
		if err != nil {
			return change{}, err
		}
		next.UID, next.Generation, next.CreatedAt, next.Shard = uid, 1, p.now, p.next
		p.groups[key] = groupPlace{shard: p.next}
		p.next++
		ch.SameAs(p.c.db.Keys.NextGroup(), p.nextRev)
		ch.Put(p.c.db.Keys.NextGroup(), strconv.FormatUint(uint64(p.next), 10))
		value, err := etcdkv.Encode(next)
		ch.SameAs(name, 0)
		ch.store(name, value)
		return ch, err
	}
	ch.SameAs(name, at.kv.ModRevision)
	ch.before = at.kv.Value
	old, err := store.Decode[etcdkv.StoredGroup](at.kv)
	if err != nil {
		return change{}, err
	}
	same, err := sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	if same || err != nil {
		ch.result.Action = api.ActionUnchanged
		return ch, err
	}
	next.UID, next.Generation, next.CreatedAt, next.Shard = old.UID, old.Generation+1, old.CreatedAt, old.Shard
	next.Schema = max(old.Schema, next.Schema)
	ch.Do(p.c.db.Keys.GroupEdits(), p.c.db.Edited(p.c.db.Keys.GroupEdits()))
	value, err := etcdkv.MergeUnknown(at.kv.Value, next)
	ch.store(name, value)
	return ch, err
}
