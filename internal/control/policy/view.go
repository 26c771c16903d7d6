package policy

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// View keeps roles and bindings as etcd holds them. Use NewView; Run must run. Its
// other methods may be called by many goroutines.
type View struct {
	client *clientv3.Client
	keys   etcdkv.Keys
	log    *zap.Logger

	policy  atomic.Pointer[rights.Policy]
	version atomic.Uint64
	once    sync.Once
	synced  chan struct{}
}

// NewView returns a view that holds nothing.
func NewView(client *clientv3.Client, keys etcdkv.Keys, log *zap.Logger) *View {
	return &View{client: client, keys: keys, log: log, synced: make(chan struct{})}
}

// Policy is what roles and bindings allow; nil: they have not been read yet.
func (v *View) Policy() *rights.Policy { return v.policy.Load() }

// Version rises with each change of a role or a binding. 0: they have not been read yet.
func (v *View) Version() uint64 { return v.version.Load() }

// Now returns what bounds of something in a namespace come to by the roles that there are
// now; see rights.Policy. Until they have been read, it is what they were.
func (v *View) Now(bounds job.Bounds, namespace string) job.Bounds {
	if p := v.policy.Load(); p != nil {
		return p.Now(bounds, namespace)
	}
	return bounds
}

// Synced is closed when all has been read once.
func (v *View) Synced() <-chan struct{} { return v.synced }

// Run keeps the view current until ctx ends. It is called once.
func (v *View) Run(ctx context.Context) error {
	roles, bindings := map[string]rights.Role{}, map[string]rights.Binding{}
	err := etcdkv.Follow(ctx, v.client, v.keys.Rights(), func(b etcdkv.Batch) error {
		if b.Relist {
			clear(roles)
			clear(bindings)
		}
		changed := b.Relist
		for i := range b.Events {
			changed = v.take(&b.Events[i], roles, bindings) || changed
		}
		if changed {
			v.swap(roles, bindings)
		}
		v.once.Do(func() { close(v.synced) })
		return nil
	})
	return fmt.Errorf("roles and bindings: %w", err)
}

// take notes what an event says, and reports whether it is of a role or a binding.
func (v *View) take(e *etcdkv.Event, roles map[string]rights.Role, bindings map[string]rights.Binding) bool {
	if name, ok := strings.CutPrefix(e.Key, v.keys.Roles()); ok {
		delete(roles, name)
		if e.Value != nil {
			stored, err := etcdkv.Decode[etcdkv.StoredRole](e.Key, e.Value)
			if err != nil {
				v.log.Warn("a role cannot be read, and gives nothing", zap.String("role", name), zap.Error(err))
				return true
			}
			roles[name] = rights.RoleOf(name, &stored.Spec)
		}
		return true
	}
	if name, ok := strings.CutPrefix(e.Key, v.keys.RoleBindings()); ok {
		delete(bindings, name)
		if e.Value != nil {
			stored, err := etcdkv.Decode[etcdkv.StoredRoleBinding](e.Key, e.Value)
			if err != nil {
				v.log.Warn("a role binding cannot be read, and gives nothing", zap.String("binding", name), zap.Error(err))
				return true
			}
			bindings[name] = rights.BindingOf(name, &stored.Spec)
		}
		return true
	}
	return false
}

// swap has decisions be made by what there is now.
func (v *View) swap(roles map[string]rights.Role, bindings map[string]rights.Binding) {
	all := rights.BuiltIn()
	for name := range roles {
		if !rights.IsBuiltIn(name) { // one that every cluster has is what this release says
			all = append(all, roles[name])
		}
	}
	given := make([]rights.Binding, 0, len(bindings))
	for name := range bindings {
		given = append(given, bindings[name])
	}
	v.policy.Store(rights.New(all, given))
	v.version.Add(1)
}
