package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

func role(name string, rules ...job.RoleRule) manifest.Object {
	return manifest.Object{Kind: job.KindRole, Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: name}, Role: job.RoleSpec{Rules: rules}}
}

func rule(verb, kind string, namespaces ...string) job.RoleRule {
	return job.RoleRule{Verbs: []string{verb}, Resources: []string{kind}, Namespaces: namespaces}
}

// bound gives a role to a user.
func bound(name, role, user string, namespaces ...string) manifest.Object {
	return manifest.Object{Kind: job.KindRoleBinding, Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: name}, RoleBinding: job.RoleBindingSpec{
		Role: role, Namespaces: namespaces, Subjects: []job.RoleSubject{{Kind: string(rights.User), Name: user}},
	}}
}

// Roles and bindings live as other kinds do: they are saved together, what would make
// no sense is refused, what is named stays, and those of every cluster cannot be changed.
func TestRolesAndBindings(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) { d.Decode = nil })
	for want, objects := range map[string][]manifest.Object{
		`there is no role "nope"`:                    {bound("b", "nope", "ann")},
		`did you mean "viewer"?`:                     {bound("b", "viwer", "ann")},
		`did you mean "deployer"?`:                   {bound("b", "deploer", "ann"), role("deployer", rule("run", "jobs"))},
		`"editor" is a role that every cluster has`:  {role("editor", rule("read", "jobs"))},
		`"rnu" is not a verb; did you mean "run"?`:   {role("r", rule("rnu", "jobs"))},
		`"job" is not a kind of thing; did you mean`: {role("r", rule("run", "job"))},
		`have no effect: nodes are in no namespace`:  {role("r", rule("operate", "nodes", "a"))},
		`belongs to the whole cluster`:               {func() manifest.Object { o := role("r", rule("read", "jobs")); o.Metadata.Namespace = "a"; return o }()},
		`"robot" is not a kind of subject (allowed: us`: {func() manifest.Object {
			o := bound("b", "viewer", "x")
			o.RoleBinding.Subjects[0].Kind = "robot"
			return o
		}()},
		`begins or ends with a blank`:                    {bound("b", "viewer", " ann")},
		`is empty, so that nobody has the role`:          {func() manifest.Object { o := bound("b", "viewer", "x"); o.RoleBinding.Subjects = nil; return o }()},
		`have no effect: locks have no labels; give the`: {role("r", job.RoleRule{Verbs: []string{"read"}, Resources: []string{"jobs", "locks"}, Labels: map[string]string{"a": "b"}})},
	} {
		var invalid *job.InvalidError
		if _, err := e.applied(t, objects...); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	results, err := e.applied(t, bound("team", "deployer", "ann", "a"), role("deployer", rule("run", "jobs")))
	if err != nil || len(results) != 2 || results[0].Action != api.ActionCreated || results[1].Action != api.ActionCreated {
		t.Fatalf("created: %v %v", results, err)
	}
	results, err = e.applied(t, role("deployer", rule("run", "jobs"), rule("read", "jobs")), bound("team", "deployer", "ann", "a"))
	if err != nil || results[0].Action != api.ActionUpdated || results[1].Action != api.ActionUnchanged {
		t.Errorf("again: %v %v", results, err)
	}
	all, err := e.Roles(t.Context())
	if err != nil || len(all) != 6 || all[0].Name != rights.Viewer || !all[0].BuiltIn || all[5].Name != "deployer" || all[5].BuiltIn || len(all[5].Spec.Rules) != 2 {
		t.Errorf("roles: %+v %v", all, err)
	}
	bindings, err := e.RoleBindings(t.Context())
	if err != nil || len(bindings) != 1 || bindings[0].Spec.Role != "deployer" || bindings[0].CreatedAt.IsZero() {
		t.Errorf("bindings: %+v %v", bindings, err)
	}
	if err := e.DeleteRole(t.Context(), "deployer"); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "is given by 1 role binding (team)") {
		t.Errorf("a role that is given: %v", err)
	}
	if err := e.DeleteRole(t.Context(), rights.Admin); !errors.Is(err, job.ErrConflict) {
		t.Errorf("a role of every cluster: %v", err)
	}
	e.pass(time.Second)
	for _, err := range []error{e.DeleteRoleBinding(t.Context(), "team"), e.DeleteRole(t.Context(), "deployer")} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(e.DeleteRoleBinding(t.Context(), "team"), e.DeleteRole(t.Context(), "deployer")); !errors.Is(err, job.ErrNotFound) || strings.Count(err.Error(), "not found") != 2 {
		t.Errorf("deleted twice: %v", err)
	}
	told := map[string]int{}
	for _, r := range e.records(t, 50) {
		told[r.Action+" "+r.Object]++
	}
	for _, what := range []string{"role.create role deployer", "rolebinding.create rolebinding team", "rolebinding.delete rolebinding team", "role.delete role deployer"} {
		if told[what] != 1 {
			t.Errorf("%s is on record %d times: %v", what, told[what], told)
		}
	}
}

// A change that was worked out from roles which have changed since is worked out anew.
func TestRoleGoesWhileItIsGiven(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) { d.Decode = nil })
	if _, err := e.applied(t, role("deployer", rule("run", "jobs"))); err != nil {
		t.Fatal(err)
	}
	stored, err := e.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteRole(t.Context(), "deployer"); err != nil {
		t.Fatal(err)
	}
	if again, err := e.Read(t.Context()); err != nil || again.Guard <= stored.Guard {
		t.Errorf("the guard is at %d, and was at %d: %v", again.Guard, stored.Guard, err)
	}
	if _, err := e.applied(t, bound("team", "deployer", "ann")); err == nil || !strings.Contains(err.Error(), `there is no role "deployer"`) {
		t.Errorf("a role that is gone is given: %v", err)
	}
}
