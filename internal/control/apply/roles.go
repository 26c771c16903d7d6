package apply

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// readRoles reads all roles and bindings if an object is one of them.
func (p *planner) readRoles(ctx context.Context, objects []manifest.Object) error {
	if !slices.ContainsFunc(objects, func(o manifest.Object) bool { return o.Kind == job.KindRole || o.Kind == job.KindRoleBinding }) {
		return nil
	}
	var err error
	p.roles, err = p.c.roles.Read(ctx)
	return err
}

// checkBindings tells which bindings name roles that there are not.
func (p *planner) checkBindings(objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindRoleBinding {
			continue
		}
		if _, ok := p.role(objects, o.RoleBinding.Role); ok {
			continue
		}
		known := p.roles.Names()
		for n := range objects {
			if objects[n].Kind == job.KindRole {
				known = append(known, objects[n].Metadata.Name)
			}
		}
		pr := o.Problem("spec.role", fmt.Sprintf("there is no role %q", o.RoleBinding.Role))
		if near, ok := job.Nearest(o.RoleBinding.Role, known); ok {
			pr.Message += fmt.Sprintf("; did you mean %q?", near)
		} else {
			pr.Message += "; apply one (kind: Role), in this file or before it"
		}
		problems = append(problems, pr)
	}
	return problems
}

// role returns a role by its name: that of the file, or as it is stored.
func (p *planner) role(objects []manifest.Object, name string) (rights.Role, bool) {
	for i := range objects {
		if o := &objects[i]; o.Kind == job.KindRole && o.Metadata.Name == name {
			return rights.RoleOf(name, &o.Role), true
		}
	}
	return p.roles.Role(name)
}

// holds returns nil if the caller may give a role in some namespaces, empty: in all, by
// the roles and bindings as they were read: the change compares that they are so still.
func (p *planner) holds(ctx context.Context, role rights.Role, namespaces []string) error {
	s, err := p.c.rights.Of(ctx)
	if err != nil || s.Everything() {
		return err
	}
	return s.Holds(p.roles.Policy(), role, namespaces)
}

// giveRole works out what applying a role changes.
func (p *planner) giveRole(ctx context.Context, o *manifest.Object) (change, error) {
	next := etcdkv.StoredRole{Schema: etcdkv.Schema, Role: job.Role{Metadata: o.Metadata, Spec: o.Role, CreatedAt: p.now, UpdatedAt: p.now}}
	same := func(old *etcdkv.StoredRole) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	}
	ch, err := granted(p, o, p.c.db.Keys.Role(o.Metadata.Name), p.roles.Roles[o.Metadata.Name], &next, same)
	if err != nil || ch.result.Action == api.ActionUnchanged {
		return ch, err
	}
	if err := p.c.roles.MayChange(ctx, p.roles, o.Metadata.Name); err != nil {
		return ch, err
	}
	if slices.ContainsFunc(o.Role.Rules, func(r job.RoleRule) bool { starts := r.Starts(); return !starts.IsZero() }) {
		if err := p.c.roles.KnowBounds(ctx, &ch.Txn); err != nil {
			return change{}, err
		}
	}
	// Whoever has the role already may have it in all namespaces.
	return ch, p.holds(ctx, rights.RoleOf(o.Metadata.Name, &o.Role), nil)
}

// giveBinding works out what applying a binding changes.
func (p *planner) giveBinding(ctx context.Context, objects []manifest.Object, o *manifest.Object) (change, error) {
	next := etcdkv.StoredRoleBinding{Schema: etcdkv.Schema, RoleBinding: job.RoleBinding{Metadata: o.Metadata, Spec: o.RoleBinding, CreatedAt: p.now, UpdatedAt: p.now}}
	same := func(old *etcdkv.StoredRoleBinding) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	}
	ch, err := granted(p, o, p.c.db.Keys.RoleBinding(o.Metadata.Name), p.roles.Bindings[o.Metadata.Name], &next, same)
	if err != nil || ch.result.Action == api.ActionUnchanged {
		return ch, err
	}
	if err := p.c.roles.MayTake(ctx, p.roles, o.Metadata.Name); err != nil {
		return ch, err
	}
	role, ok := p.role(objects, o.RoleBinding.Role)
	if !ok {
		return ch, nil // told by checkBindings
	}
	return ch, p.holds(ctx, role, o.RoleBinding.Namespaces)
}

// granted works out what storing a role or a binding changes. Same reports whether the
// one that is stored says the same.
func granted[T any](p *planner, o *manifest.Object, name string, kv *mvccpb.KeyValue, next *T, same func(*T) (bool, error)) (change, error) {
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, Action: api.ActionCreated}}
	ch.SameAs(name, store.Revision(kv))
	var value string
	var err error
	if kv == nil {
		value, err = etcdkv.Encode(next)
	} else {
		ch.result.Action, ch.before = api.ActionUpdated, kv.Value
		old, err := store.Decode[T](kv)
		if err != nil {
			return change{}, err
		}
		unchanged, err := same(&old)
		if unchanged || err != nil {
			ch.result.Action = api.ActionUnchanged
			return ch, err
		}
		value, err = etcdkv.MergeUnknown(kv.Value, *next)
		if err != nil {
			return change{}, err
		}
	}
	if err != nil {
		return change{}, err
	}
	ch.store(name, value)
	what := map[string]string{job.KindRole: "role ", job.KindRoleBinding: "role binding "}[o.Kind] + o.Metadata.Name
	p.c.roles.Change(&ch.Txn, what, p.roles)
	return ch, nil
}
