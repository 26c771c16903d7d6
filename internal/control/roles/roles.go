package roles

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Granter stands on. All must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Holds returns nil if the caller of a context has all that a role gives in some
	// namespaces, empty: in all, by the roles and bindings that are given.
	Holds  func(ctx context.Context, by *rights.Policy, role rights.Role, namespaces []string) error
	Logger *zap.Logger
}

// Granter shows and deletes roles and bindings. Use New. It may be used by many
// goroutines at once.
type Granter struct {
	db    *store.Store
	audit *audit.Log
	holds func(ctx context.Context, by *rights.Policy, role rights.Role, namespaces []string) error
	log   *zap.Logger
}

// New returns a Granter.
func New(deps Deps) *Granter {
	return &Granter{db: deps.Store, audit: deps.Audit, holds: deps.Holds, log: deps.Logger}
}

// Stored are the roles and bindings as they were read at one moment, by name.
type Stored struct {
	Roles    map[string]*mvccpb.KeyValue
	Bindings map[string]*mvccpb.KeyValue
	// Guard is the revision of the key that every change of them puts.
	Guard int64

	roles    map[string]etcdkv.StoredRole
	bindings map[string]etcdkv.StoredRoleBinding
}

// Read reads all roles and bindings. One that cannot be read gives nothing.
func (g *Granter) Read(ctx context.Context) (*Stored, error) {
	const doing = "read roles"
	s := &Stored{
		Roles: map[string]*mvccpb.KeyValue{}, Bindings: map[string]*mvccpb.KeyValue{},
		roles: map[string]etcdkv.StoredRole{}, bindings: map[string]etcdkv.StoredRoleBinding{},
	}
	// The guard first: what changes behind it fails the comparison.
	guard, err := g.db.Get(ctx, doing, g.db.Keys.RightsGuard())
	if err != nil {
		return nil, err
	}
	s.Guard = store.Revision(guard)
	err = g.db.List(ctx, doing, g.db.Keys.Roles(), func(kv *mvccpb.KeyValue) error {
		r, err := store.Decode[etcdkv.StoredRole](kv)
		if err != nil {
			g.log.Warn("role unreadable", zap.Error(err))
			return nil
		}
		s.Roles[r.Name], s.roles[r.Name] = kv, r
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = g.db.List(ctx, doing, g.db.Keys.RoleBindings(), func(kv *mvccpb.KeyValue) error {
		b, err := store.Decode[etcdkv.StoredRoleBinding](kv)
		if err != nil {
			g.log.Warn("role binding unreadable", zap.Error(err))
			return nil
		}
		s.Bindings[b.Name], s.bindings[b.Name] = kv, b
		return nil
	})
	return s, err
}

// Role returns a role by its name, one that every cluster has or one that was made.
func (s *Stored) Role(name string) (rights.Role, bool) {
	for _, r := range rights.BuiltIn() {
		if r.Name == name {
			return r, true
		}
	}
	r, ok := s.roles[name]
	return rights.RoleOf(name, &r.Spec), ok
}

// Given reports whether a binding gives a role to anybody in all namespaces.
func (s *Stored) Given(role string) bool {
	for name := range s.bindings {
		if b := s.bindings[name].Spec; b.Role == role && len(b.Namespaces) == 0 && len(b.Subjects) > 0 {
			return true
		}
	}
	return false
}

// Held returns which roles bindings give to any of some subjects, ordered by the names of
// roles, and of bindings.
func (s *Stored) Held(by []rights.Subject) []api.HeldRole {
	var held []api.HeldRole
	for name := range s.bindings {
		spec := s.bindings[name].Spec
		if _, known := s.Role(spec.Role); known && slices.ContainsFunc(rights.BindingOf(name, &spec).Subjects, func(to rights.Subject) bool { return slices.Contains(by, to) }) {
			held = append(held, api.HeldRole{Role: spec.Role, Binding: name, Namespaces: spec.Namespaces})
		}
	}
	slices.SortFunc(held, func(a, b api.HeldRole) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Binding, b.Binding))
	})
	return held
}

// Names are the names of all roles.
func (s *Stored) Names() []string {
	var names []string
	for _, r := range rights.BuiltIn() {
		names = append(names, r.Name)
	}
	for name := range s.roles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Policy is what they allow together.
func (s *Stored) Policy() *rights.Policy {
	all := rights.BuiltIn()
	for name := range s.roles {
		r := s.roles[name]
		all = append(all, rights.RoleOf(name, &r.Spec))
	}
	bindings := make([]rights.Binding, 0, len(s.bindings))
	for name := range s.bindings {
		b := s.bindings[name]
		bindings = append(bindings, rights.BindingOf(name, &b.Spec))
	}
	return rights.New(all, bindings)
}

// Roles returns all roles: those that every cluster has, the least first, then those
// that were made, ordered by name.
func (g *Granter) Roles(ctx context.Context) ([]api.Role, error) {
	made, err := store.ListAs(ctx, g.db, "list roles", g.db.Keys.Roles(), func(r *etcdkv.StoredRole) api.Role { return api.Role{Role: r.Role} })
	if err != nil {
		return nil, err
	}
	var out []api.Role
	for _, r := range rights.BuiltIn() {
		out = append(out, api.Role{
			Role:    job.Role{Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: r.Name}, Spec: r.Spec()},
			BuiltIn: true,
		})
	}
	return append(out, made...), nil
}

// RoleBindings returns all bindings, ordered by name.
func (g *Granter) RoleBindings(ctx context.Context) ([]job.RoleBinding, error) {
	return store.ListAs(ctx, g.db, "list role bindings", g.db.Keys.RoleBindings(), func(b *etcdkv.StoredRoleBinding) job.RoleBinding { return b.RoleBinding })
}

// DeleteRole removes a role. One that a binding names is kept, and so are those that
// every cluster has: the error wraps job.ErrConflict then.
func (g *Granter) DeleteRole(ctx context.Context, name string) error {
	if rights.IsBuiltIn(name) {
		return fmt.Errorf("role %s is one that every cluster has; it stays: %w", name, job.ErrConflict)
	}
	s, err := g.Read(ctx)
	if err != nil {
		return err
	}
	if s.Roles[name] == nil {
		return fmt.Errorf("role %s: %w", name, job.ErrNotFound)
	}
	var users []string
	for b := range s.bindings {
		if s.bindings[b].Spec.Role == name {
			users = append(users, b)
		}
	}
	if len(users) > 0 {
		slices.Sort(users)
		const shown = 3
		return fmt.Errorf("role %s is given by %s (%s); delete that first: %w", name, apiview.Counted(len(users), "role binding"), apiview.Some(users[:min(len(users), shown)], len(users)), job.ErrConflict)
	}
	return g.remove(ctx, "role", name, s, s.Roles[name])
}

// MayTake returns nil if the caller of a context may take away what a binding gives: as
// nobody gives more than they hold, nobody takes more. Else who may grant a little could
// lock all admins out. A binding that there is not gives nothing.
func (g *Granter) MayTake(ctx context.Context, s *Stored, binding string) error {
	b := s.bindings[binding].Spec
	role, ok := s.Role(b.Role)
	if !ok || len(b.Subjects) == 0 {
		return nil
	}
	return g.holds(ctx, s.Policy(), role, b.Namespaces)
}

// MayChange returns nil if the caller of a context may change what a role gives to those
// who have it: see MayTake.
func (g *Granter) MayChange(ctx context.Context, s *Stored, name string) error {
	role, ok := s.Role(name)
	if !ok || !slices.ContainsFunc(slices.Collect(maps.Values(s.bindings)), func(b etcdkv.StoredRoleBinding) bool { return b.Spec.Role == name }) {
		return nil
	}
	return g.holds(ctx, s.Policy(), role, nil)
}

// DeleteRoleBinding takes a role away from those whom a binding gives it.
func (g *Granter) DeleteRoleBinding(ctx context.Context, name string) error {
	s, err := g.Read(ctx)
	if err != nil {
		return err
	}
	if s.Bindings[name] == nil {
		return fmt.Errorf("role binding %s: %w", name, job.ErrNotFound)
	}
	if err := g.MayTake(ctx, s, name); err != nil {
		return fmt.Errorf("role binding %s: %w", name, err)
	}
	return g.remove(ctx, "rolebinding", name, s, s.Bindings[name])
}

// remove deletes one of those that were read, with a record of it.
func (g *Granter) remove(ctx context.Context, kind, name string, s *Stored, kv *mvccpb.KeyValue) error {
	var d store.Txn
	d.SameAs(string(kv.Key), kv.ModRevision)
	d.Remove(string(kv.Key))
	what := kind + " " + name
	g.Change(&d, what, s)
	if err := g.audit.AddDelete(ctx, &d, kind, name, kv); err != nil {
		return err
	}
	ok, err := g.db.Commit(ctx, "delete "+what, &d)
	if err == nil && !ok {
		err = fmt.Errorf("%s: roles or bindings were changed meanwhile; try again: %w", what, job.ErrConflict)
	}
	if err == nil {
		g.log.Info("deleted", zap.String("what", what))
	}
	return err
}

// Change adds to a change of a role or a binding that all of them are as they were
// read. The change is told of in the audit by who makes it.
func (g *Granter) Change(d *store.Txn, what string, s *Stored) {
	guard := g.db.Keys.RightsGuard()
	d.SameAs(guard, s.Guard)
	d.Put(guard, what)
}

// KnowBounds adds to a change of a role that every live node keeps to what its rules say of
// commands, accounts and minions. The error wraps job.ErrConflict while one does not: to
// a node of a former release the role would allow everything.
func (g *Granter) KnowBounds(ctx context.Context, d *store.Txn) error {
	bounded, cancel := g.db.Bounded(ctx)
	defer cancel()
	prefix := g.db.Keys.Members()
	resp, err := g.db.Client.Get(bounded, prefix, clientv3.WithPrefix())
	if err != nil {
		return store.Error(ctx, "list nodes", err)
	}
	var nodes []string
	for _, kv := range resp.Kvs {
		if m, err := store.Decode[etcdkv.Member](kv); err != nil || !m.KnowsBounds {
			nodes = append(nodes, strings.TrimPrefix(string(kv.Key), prefix))
		}
	}
	if len(nodes) > 0 {
		return fmt.Errorf("nodes of a release that reads over targets, runAs and commands would allow everything: %v; bring them to this release first: %w", nodes, job.ErrConflict)
	}
	d.Untouched(prefix, resp.Header.Revision)
	return nil
}
