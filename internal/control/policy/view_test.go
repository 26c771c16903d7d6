package policy

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	os.Exit(shared.Run(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	))
}

type door access.State

func (d door) State() access.State { return access.State(d) }

// A closed cluster decides nothing before roles are read; then by what etcd has, as it
// changes; and what cannot be read gives nothing (1, 2, 5).
func TestViewFollowsEtcd(t *testing.T) {
	t.Parallel()
	client, keys := shared.Server(t).Client(t), etcdkv.NewKeys(etcdtest.Prefix(t))
	v := NewView(client, keys, zap.NewNop())
	d, err := New(Deps{Door: door(access.Closed), Policy: v.Policy})
	if err != nil {
		t.Fatal(err)
	}
	ann := caller.With(t.Context(), caller.Caller{Name: "ann", Subjects: []rights.Subject{{Kind: rights.User, Name: "ann"}}})
	run := rights.Request{Verb: rights.Run, Kind: rights.Jobs, Namespace: "a"}
	if err := d.Need(ann, run); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("before roles are read: %v", err)
	}
	put := func(key string, value any) {
		t.Helper()
		text, err := etcdkv.Encode(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), key, text); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(name, role string) {
		t.Helper()
		put(keys.RoleBinding(name), etcdkv.StoredRoleBinding{Schema: 1, RoleBinding: job.RoleBinding{Metadata: job.Metadata{Name: name}, Spec: job.RoleBindingSpec{
			Role: role, Subjects: []job.RoleSubject{{Kind: "user", Name: "ann"}}, Namespaces: []string{"a"},
		}}})
	}
	bind("one", rights.Runner)
	put(keys.Role("broken"), "no role")
	// One of the name of a role that every cluster has changes nothing of that.
	put(keys.Role(rights.Runner), etcdkv.StoredRole{Schema: 1, Role: job.Role{Metadata: job.Metadata{Name: rights.Runner}}})

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-v.Synced()
	if err := d.Need(ann, run); err != nil {
		t.Errorf("a runner may not run: %v", err)
	}
	other := run
	other.Namespace = "b"
	if err := d.Need(ann, other); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("in another namespace: %v", err)
	}
	is := func(what string, r rights.Request, want bool) {
		t.Helper()
		await.Until(t, what, func() bool { return (d.Need(ann, r) == nil) == want })
	}
	read := rights.Request{Verb: rights.Edit, Kind: rights.Groups, Namespace: "a"}
	put(keys.Role("changer"), etcdkv.StoredRole{Schema: 1, Role: job.Role{Metadata: job.Metadata{Name: "changer"}, Spec: job.RoleSpec{
		Rules: []job.RoleRule{{Verbs: []string{"edit"}, Resources: []string{"groups"}}},
	}}})
	bind("two", "changer")
	is("a role that was made is given", read, true)
	if _, err := client.Delete(t.Context(), keys.Role("changer")); err != nil {
		t.Fatal(err)
	}
	is("a role is gone", read, false)
	if _, err := client.Put(t.Context(), keys.RoleBinding("one"), "{"); err != nil {
		t.Fatal(err)
	}
	is("a binding that cannot be read gives nothing", run, false)
	bind("one", rights.Runner)
	is("it can be read again", run, true)
	if _, err := client.Delete(t.Context(), keys.RoleBinding("one")); err != nil {
		t.Fatal(err)
	}
	is("a binding is gone", run, false)
}
