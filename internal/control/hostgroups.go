package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// HostGroups returns the saved groups of hosts, ordered by name.
func (c *Control) HostGroups(ctx context.Context) ([]job.HostGroup, error) {
	stored, err := store.ListAll[etcdkv.StoredHostGroup](ctx, c.db, "list host groups", c.cfg.Keys.HostGroups())
	if err != nil {
		return nil, err
	}
	groups := make([]job.HostGroup, len(stored))
	for i := range stored {
		groups[i] = stored[i].HostGroup
	}
	slices.SortFunc(groups, func(a, b job.HostGroup) int { return cmp.Compare(a.Name, b.Name) })
	return groups, nil
}

// DeleteHostGroup removes a saved group of hosts. One that other groups name is
// kept: the error wraps job.ErrConflict. A job that names it matches no minion
// from then on.
func (c *Control) DeleteHostGroup(ctx context.Context, name string) error {
	doing := "delete host group " + name
	// Every change of the groups puts the guard, so none comes between.
	guard, err := c.db.Get(ctx, doing, c.cfg.Keys.HostGroupGuard())
	if err != nil {
		return err
	}
	h, err := c.savedHosts(ctx)
	if err != nil {
		return err
	}
	if h.kvs[name] == nil {
		return fmt.Errorf("host group %s: %w", name, job.ErrNotFound)
	}
	for _, other := range slices.Sorted(h.names()) {
		if e := h.groups[other]; other != name && e != nil && slices.Contains(e.Groups(), name) {
			return fmt.Errorf("host group %s is named by @%s; change that first: %w", name, other, job.ErrConflict)
		}
	}
	var d store.Txn
	d.SameAs(c.cfg.Keys.HostGroupGuard(), store.Revision(guard))
	d.SameAs(string(h.kvs[name].Key), h.kvs[name].ModRevision)
	d.Put(c.cfg.Keys.HostGroupGuard(), name)
	d.Remove(string(h.kvs[name].Key))
	ok, err := c.db.Commit(ctx, doing, &d)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("host group %s was changed meanwhile; try again: %w", name, job.ErrConflict)
	}
	c.log.Info("host group deleted", zap.String("name", name))
	return nil
}

// hostGroups are the saved groups of hosts as they were read.
type hostGroups struct {
	groups target.Groups
	kvs    map[string]*mvccpb.KeyValue
	// guard is the revision of the key that every change of a group puts.
	guard int64
}

func (h *hostGroups) names() func(func(string) bool) {
	return func(yield func(string) bool) {
		for n := range h.kvs {
			if !yield(n) {
				return
			}
		}
	}
}

// savedHosts reads the saved groups. One that cannot be read is as if it was
// not there; what names it is told so.
func (c *Control) savedHosts(ctx context.Context) (*hostGroups, error) {
	h := &hostGroups{groups: target.Groups{}, kvs: map[string]*mvccpb.KeyValue{}}
	guard, err := c.db.Get(ctx, "read host groups", c.cfg.Keys.HostGroupGuard())
	if err != nil {
		return nil, err
	}
	h.guard = store.Revision(guard)
	err = c.db.List(ctx, "read host groups", c.cfg.Keys.HostGroups(), func(kv *mvccpb.KeyValue) error {
		g, err := store.Decode[etcdkv.StoredHostGroup](kv)
		if err != nil {
			c.log.Warn("host group unreadable", zap.Error(err))
			return nil
		}
		h.kvs[g.Name] = kv
		if e, err := target.Parse(g.Spec.Match); err == nil {
			h.groups[g.Name] = e
		}
		return nil
	})
	return h, err
}

// readHosts reads the saved groups of hosts if an object is one, or names one,
// and puts those of the file in their place.
func (p *planner) readHosts(ctx context.Context, objects []manifest.Object) error {
	needed := false
	for i := range objects {
		o := &objects[i]
		e := targetOf(o)
		if canary := canaryOf(o); canary != nil {
			needed = needed || len(canary.Groups()) > 0
		}
		needed = needed || o.Kind == job.KindHostGroup || e != nil && len(e.Groups()) > 0
	}
	p.hosts = &hostGroups{}
	if !needed {
		return nil
	}
	var err error
	if p.hosts, err = p.c.savedHosts(ctx); err != nil {
		return err
	}
	for i := range objects {
		if o := &objects[i]; o.Kind == job.KindHostGroup {
			p.hosts.groups[o.Metadata.Name] = targetOf(o)
		}
	}
	return nil
}

// targetOf returns an object's target expression, nil if it has none.
func targetOf(o *manifest.Object) *target.Expr {
	text := o.Spec.Target.Match
	if o.Kind == job.KindHostGroup {
		text = o.HostGroup.Match
	}
	e, err := target.Parse(text)
	if err != nil {
		return nil // none, or refused when the file was read
	}
	return e
}

// canaryOf returns the target expression of a job's canaries, nil if it has none.
func canaryOf(o *manifest.Object) *target.Expr {
	e, err := target.Parse(o.Spec.Rollout.Canary)
	if err != nil {
		return nil // none, or refused when the file was read
	}
	return e
}

// checkTargets tells which objects name groups of hosts that there are not, or
// that are parts of themselves.
func (p *planner) checkTargets(objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		check := func(path string, e *target.Expr) {
			if e != nil {
				problems = append(problems, p.checkBound(o, path, e)...)
			}
		}
		if o.Kind == job.KindHostGroup {
			check("spec.match", target.MustParse("@"+o.Metadata.Name)) // so that a cycle is told from the group itself
			continue
		}
		check("spec.target.match", targetOf(o))
		check("spec.rollout.canary", canaryOf(o))
	}
	return problems
}

// checkBound tells which groups of hosts an expression names that there are not.
func (p *planner) checkBound(o *manifest.Object, path string, e *target.Expr) []job.Problem {
	_, err := e.Bind(p.hosts.groups)
	if err == nil {
		return nil
	}
	problem := o.Problem(path, err.Error())
	if unknown, ok := errors.AsType[*target.UnknownGroupError](err); ok {
		if near, ok := job.Nearest(unknown.Names[0], slices.Collect(p.hosts.names())); ok {
			problem.Message += fmt.Sprintf("; did you mean %q?", "@"+near)
		}
	}
	return []job.Problem{problem}
}

// hostGroup works out what applying a group of hosts changes.
func (p *planner) hostGroup(o *manifest.Object) (change, error) {
	meta := o.Metadata
	name := p.c.cfg.Keys.HostGroup(meta.Name)
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: meta.Namespace, Name: meta.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredHostGroup{Schema: etcdkv.Schema, HostGroup: job.HostGroup{Metadata: meta, Spec: o.HostGroup, CreatedAt: p.now, UpdatedAt: p.now}}
	kv := p.hosts.kvs[meta.Name]
	ch.SameAs(name, store.Revision(kv))
	ch.SameAs(p.c.cfg.Keys.HostGroupGuard(), p.hosts.guard)
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.Put(p.c.cfg.Keys.HostGroupGuard(), meta.Name)
		ch.store(name, value)
		return ch, err
	}
	ch.result.Action = api.ActionUpdated
	old, err := store.Decode[etcdkv.StoredHostGroup](kv)
	if err != nil {
		return change{}, err
	}
	type written struct {
		Metadata job.Metadata
		Spec     job.HostGroupSpec
	}
	same, err := store.SameJSON(written{old.Metadata, old.Spec}, written{next.Metadata, next.Spec})
	if same || err != nil {
		ch.result.Action = api.ActionUnchanged
		return ch, err
	}
	next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
	value, err := etcdkv.MergeUnknown(kv.Value, next)
	ch.Put(p.c.cfg.Keys.HostGroupGuard(), meta.Name)
	ch.store(name, value)
	return ch, err
}
