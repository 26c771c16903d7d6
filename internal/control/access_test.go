package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// node puts a node that is live.
func (e *env) node(t *testing.T, m etcdkv.Member) {
	t.Helper()
	m.Schema, m.Phase, m.Version, m.StartedAt = 1, etcdkv.PhaseReady, "1.2.3", e.now()
	text, err := etcdkv.Encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, e.keys.Member(m.Node), text)
}

// bind gives a role to the token of a name, as if it had been applied.
func (e *env) bind(t *testing.T, name, role, token string, namespaces ...string) {
	t.Helper()
	b := etcdkv.StoredRoleBinding{Schema: 1, RoleBinding: job.RoleBinding{
		Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: name},
		Spec:     job.RoleBindingSpec{Role: role, Subjects: []job.RoleSubject{{Kind: string(rights.Token), Name: token}}, Namespaces: namespaces},
	}}
	text, err := etcdkv.Encode(&b)
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, e.keys.RoleBinding(name), text)
	e.put(t, e.keys.RightsGuard(), "")
}

func asToken(ctx context.Context, name string) context.Context {
	return caller.With(ctx, caller.Caller{Name: "token " + name, Subjects: []rights.Subject{{Kind: rights.Token, Name: name}}})
}

// TestI9_WhoClosesCanOpenAgain: root and the node's account, and who keeps admin.
func TestI9_WhoClosesCanOpenAgain(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.node(t, etcdkv.Member{Node: "n1", KnowsAccess: true})
	if err := e.ReadState(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ada", "view", "team"} {
		e.token(t, name, time.Hour)
	}
	e.bind(t, "a", rights.Admin, "ada")
	e.bind(t, "v", rights.Viewer, "view")
	e.bind(t, "t", rights.Admin, "team", "ops")
	e.bind(t, "g", rights.Admin, "ghost") // there is no such token
	closed := func(ctx context.Context) error {
		v, err := e.SetAccess(ctx, access.Closed, api.Order{By: "me", Reason: "two teams"})
		if err == nil && (v.State != "closed" || v.Reason != "two teams" || e.State() != access.Closed) {
			t.Errorf("closed: %+v, %s", v, e.State())
		}
		return err
	}
	for who, ctx := range map[string]context.Context{
		"nobody": t.Context(), "a viewer": asToken(t.Context(), "view"), "an admin of one namespace": asToken(t.Context(), "team"),
		"another account": caller.With(t.Context(), caller.Caller{Name: "eve (socket)", Subjects: []rights.Subject{{Kind: rights.Account, Name: "eve"}}}),
	} {
		if err := closed(ctx); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "would lose all rights by it") || e.State() != access.Open {
			t.Errorf("%s closes it: %v, %s", who, err, e.State())
		}
	}
	if err := closed(asToken(t.Context(), "ghost")); err == nil {
		t.Error("a token that is gone closes it")
	}
	for who, ctx := range map[string]context.Context{
		"an admin": asToken(t.Context(), "ada"),
		"root":     caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true}),
	} {
		if err := closed(ctx); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if v, err := e.SetAccess(ctx, access.Noting, api.Order{}); err != nil || v.State != "noting" || e.State() != access.Noting {
			t.Errorf("%s has it noted: %+v, %v", who, v, err)
		}
		if v, err := e.SetAccess(ctx, access.Open, api.Order{}); err != nil || v.State != "open" || e.State() != access.Open {
			t.Errorf("%s opens it: %+v, %v", who, v, err)
		}
	}
	if _, err := e.SetAccess(t.Context(), "half", api.Order{}); err == nil || !strings.Contains(err.Error(), `"half" is no state`) {
		t.Errorf("no state: %v", err)
	}
	page, err := e.Audit(t.Context(), api.AuditQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, r := range page.Records {
		n[r.Action+" "+r.By]++
	}
	if n["auth.close token ada"] != 1 || n["auth.close root (socket)"] != 1 || n["auth.note token ada"] != 1 || n["auth.open token ada"] != 1 || n["auth.close me"] != 0 {
		t.Errorf("on record: %v", n)
	}
}

// TestI9_AllNodesKnow: one of a former release would go on answering everybody.
func TestI9_AllNodesKnow(t *testing.T) {
	t.Parallel()
	e := setup(t)
	root := caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true})
	e.node(t, etcdkv.Member{Node: "n1", KnowsAccess: true})
	e.node(t, etcdkv.Member{Node: "old"})
	if _, err := e.SetAccess(root, access.Closed, api.Order{}); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "[old]") {
		t.Errorf("beside a node of a former release: %v", err)
	}
	if _, err := e.SetAccess(root, access.Noting, api.Order{}); err != nil {
		t.Errorf("to note: %v", err)
	}
	e.node(t, etcdkv.Member{Node: "old", KnowsAccess: true})
	if _, err := e.SetAccess(root, access.Closed, api.Order{}); err != nil {
		t.Errorf("after its upgrade: %v", err)
	}
	e.node(t, etcdkv.Member{Node: "late"})
	v, err := e.AccessState(t.Context())
	if err != nil || len(v.Unaware) != 1 || v.Unaware[0] != "late" {
		t.Errorf("a late one: %+v, %v", v, err)
	}
	if got := e.accessCheck(t); got.Status != api.CheckFail || !strings.Contains(got.Detail, "[late] answer everybody") {
		t.Errorf("doctor: %+v", got)
	}
}

func (e *env) accessCheck(t *testing.T) api.Check {
	t.Helper()
	checks, err := e.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.Name == "access" {
			return c
		}
	}
	t.Fatalf("no check of access: %+v", checks)
	return api.Check{}
}

// TestDoctorWarnsOfOpenClusters that other hosts reach.
func TestDoctorWarnsOfOpenClusters(t *testing.T) {
	t.Parallel()
	e := setup(t)
	root := caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true})
	e.node(t, etcdkv.Member{Node: "n1", KnowsAccess: true})
	if got := e.accessCheck(t); got.Status != api.CheckOK {
		t.Errorf("on loopback: %+v", got)
	}
	e.node(t, etcdkv.Member{Node: "n2", KnowsAccess: true, OpenAPI: true})
	for _, s := range []access.State{access.Open, access.Noting} {
		if _, err := e.SetAccess(root, s, api.Order{}); err != nil {
			t.Fatal(err)
		}
		if got := e.accessCheck(t); got.Status != api.CheckWarn || !strings.Contains(got.Detail, "is "+string(s)+", and other hosts reach the API of [n2]") || !strings.Contains(got.Hint, "carillon auth on") {
			t.Errorf("%s: %+v", s, got)
		}
	}
	if _, err := e.SetAccess(root, access.Closed, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if got := e.accessCheck(t); got.Status != api.CheckOK {
		t.Errorf("closed: %+v", got)
	}
}

// Who may grant, and is no admin, does not open a closed cluster: that would give
// everybody all rights.
func TestOnlyAnAdminOpensAClosedCluster(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, deps *Deps) { deps.Decode = nil })
	root := asRoot(t.Context())
	if err := e.give(root, t, role("granter", rule("grant", "*")), bound("ann", "granter", "ann"), bound("bob", rights.Admin, "bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.SetAccess(root, access.Closed, api.Order{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []access.State{access.Open, access.Noting} {
		if _, err := e.SetAccess(as(t.Context(), "ann"), s, api.Order{}); !errors.Is(err, job.ErrForbidden) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := e.SetAccess(as(t.Context(), "bob"), access.Noting, api.Order{}); err != nil {
		t.Errorf("an admin: %v", err)
	}
}

// Who asks is told which roles it has, where, and by which binding; and none of others.
func TestSelfTellsRoles(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.bind(t, "billing", rights.Editor, "bill", "billing", "invoices")
	e.bind(t, "all", rights.Viewer, "bill")
	e.bind(t, "others", rights.Admin, "ann")
	e.bind(t, "gone", "no-such-role", "bill")
	for name, want := range map[string]string{
		"bill": "[{editor billing [billing invoices]} {viewer all []}]",
		"ann":  "[{admin others []}]",
		"sam":  "[]",
	} {
		self, err := e.Self(caller.With(t.Context(), caller.Caller{Name: "token " + name, Subjects: []rights.Subject{{Kind: rights.Token, Name: name}}}))
		if err != nil || fmt.Sprint(self.Roles) != want {
			t.Errorf("%s has %v, %v; want %s", name, self.Roles, err, want)
		}
	}
	if self, err := e.Self(t.Context()); err != nil || self.Roles != nil {
		t.Errorf("nobody has %v, %v", self.Roles, err)
	}
}
