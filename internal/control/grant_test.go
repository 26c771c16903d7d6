package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// watchedDoor is closed unless it is said, and tells when somebody looks at it.
type watchedDoor struct {
	looked func()
	state  access.State
}

func (d *watchedDoor) State() access.State {
	if d.looked != nil {
		d.looked()
	}
	return cmp.Or(d.state, access.Closed)
}

// as is a context of requests of a user.
func as(ctx context.Context, user string) context.Context {
	return caller.With(ctx, caller.Caller{Name: user, Subjects: []rights.Subject{{Kind: rights.User, Name: user}}})
}

// asRoot is a context of requests of root on the local socket.
func asRoot(ctx context.Context) context.Context {
	return caller.With(ctx, caller.Caller{Name: "root (socket)", Local: true})
}

// closed returns a Control of a closed cluster, with what root has applied.
func closed(t *testing.T, objects ...manifest.Object) (*env, *watchedDoor) {
	t.Helper()
	return closedOf(t, func(*Deps) {}, objects...)
}

// closedOf is closed with other deps.
func closedOf(t *testing.T, edit func(*Deps), objects ...manifest.Object) (*env, *watchedDoor) {
	t.Helper()
	d := &watchedDoor{}
	e := setup(t, func(_ *Config, deps *Deps) {
		deps.Decode, deps.Door = nil, d
		edit(deps)
	})
	if err := e.give(asRoot(t.Context()), t, objects...); err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.WatchRights(watching) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	<-e.RightsKnown()
	return e, d
}

func (e *env) give(ctx context.Context, t *testing.T, objects ...manifest.Object) error {
	t.Helper()
	data, err := manifest.Encode(objects...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Apply(ctx, "f", data, false)
	return err
}

// Who may grant gives as much as they hold, in the namespaces in which they hold it, and
// no more: neither by a binding, nor by a role that is given already.
func TestNobodyGrantsMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	granter := role("granter", rule("grant", "roles"))
	e, _ := closed(t, granter, bound("ann-grants", "granter", "ann"), bound("ann-edits", rights.Editor, "ann", "a"), role("team", rule("read", "jobs", "a")), bound("bob", "team", "bob"))
	ann := as(t.Context(), "ann")
	for name, objects := range map[string][]manifest.Object{
		"a role of all":                   {bound("b", rights.Admin, "ann")},
		"a role of all in a namespace":    {bound("b", rights.Admin, "bob", "a")},
		"one's own role elsewhere":        {bound("b", rights.Editor, "bob", "b")},
		"one's own role everywhere":       {bound("b", rights.Editor, "bob")},
		"a verb that one lacks":           {role("new", rule("exec", "minions"))},
		"one's own verbs everywhere":      {role("new", rule("edit", "jobs"))},
		"more for who has a role already": {role("team", rule("read", "jobs", "a"), rule("operate", "nodes"))},
		"a role of the same file":         {bound("b", "new", "bob"), role("new", rule("*", "*"))},
	} {
		if err := e.give(ann, t, objects...); !errors.Is(err, job.ErrForbidden) || !strings.Contains(err.Error(), "than you may do yourself") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, objects := range map[string][]manifest.Object{
		"one's own role":             {bound("b", rights.Editor, "bob", "a")},
		"less":                       {bound("c", rights.Viewer, "bob", "a")},
		"the right to grant":         {bound("d", "granter", "bob")},
		"a role of what one has":     {role("new", rule("edit", "jobs", "a")), bound("e", "new", "bob")},
		"what is so already, of all": {bound("ann-edits", rights.Editor, "ann", "a"), granter},
	} {
		if err := e.give(ann, t, objects...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that is too large for one transaction gives nobody more for a while: a role that
// it makes smaller is that before it is given.
func TestALargeFileGivesNoMoreMeanwhile(t *testing.T) {
	t.Parallel()
	granter := rule("grant", "roles")
	e, d := closed(t, role("granter", granter), bound("ann", "granter", "ann"), role("large", rule("*", "*")))
	objects := []manifest.Object{bound("given", "large", "ann")}
	for i := range 150 {
		objects = append(objects, bound(fmt.Sprint("other-", i), "granter", "bob"))
	}
	objects = append(objects, role("large", granter))
	var looks, most int
	d.looked = func() { // before each part of the file
		stored, err := e.Read(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		looks, most = looks+1, max(most, len(stored.Bindings))
		now, _ := stored.Role("large")
		if stored.Bindings["given"] != nil && slices.Contains(now.Rules[0].Verbs, rights.Any) {
			t.Error("ann has been given what she does not hold")
		}
	}
	if err := e.give(as(t.Context(), "ann"), t, objects...); err != nil {
		t.Fatal(err)
	}
	if looks < 2 || most < 2 {
		t.Errorf("the file was applied at once: %d looks, %d bindings", looks, most)
	}
}

// Who loses a right while they give it away does not give it: what they hold is compared
// in the transaction that writes.
func TestARightIsLostWhileItIsGiven(t *testing.T) {
	t.Parallel()
	e, d := closed(t, bound("ann", rights.Admin, "ann"))
	var once atomic.Bool // the deletion looks, too
	d.looked = func() {
		if once.CompareAndSwap(false, true) { // roles have been read for ann's change, which is not written yet
			if err := e.DeleteRoleBinding(asRoot(t.Context()), "ann"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := e.give(as(t.Context(), "ann"), t, bound("bob", rights.Admin, "bob")); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("a right that is lost was given: %v", err)
	}
	if all, err := e.RoleBindings(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("bindings: %+v %v", all, err)
	}
}

// Who may make tokens ends none of more than they hold, but their own.
func TestNobodyEndsATokenOfMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	e, _ := closed(t, role("maker", rule("grant", "tokens")), bound("ann", "maker", "ann"),
		forToken("one", "maker", "small"), forToken("two", rights.Admin, "admin"))
	for _, name := range []string{"small", "admin", "free"} {
		if _, err := e.CreateAPIToken(asRoot(t.Context()), api.APITokenRequest{Name: name, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	ann := as(t.Context(), "ann")
	if err := e.RevokeAPIToken(ann, "admin", api.Order{}); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("that of an admin: %v", err)
	}
	itself := caller.With(t.Context(), caller.Caller{Name: "token admin", Subjects: []rights.Subject{{Kind: rights.Token, Name: "admin"}}})
	for name, by := range map[string]context.Context{"small": ann, "free": ann, "admin": itself} {
		if err := e.RevokeAPIToken(by, name, api.Order{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// forToken gives a role to the token of a name.
func forToken(name, role, token string, namespaces ...string) manifest.Object {
	o := bound(name, role, token, namespaces...)
	o.RoleBinding.Subjects[0].Kind = string(rights.Token)
	return o
}

// Who may make tokens makes none that may more than they do: not by a name to which
// bindings give that already, and not when they give it while the token is made.
func TestNobodyMakesATokenOfMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	e, d := closed(t, role("maker", rule("grant", "tokens")), bound("ann", "maker", "ann"), bound("ann-edits", rights.Editor, "ann", "a"),
		forToken("one", rights.Editor, "same", "a"), forToken("two", rights.Editor, "elsewhere", "b"), forToken("three", rights.Admin, "admin"))
	ann := as(t.Context(), "ann")
	mint := func(name string) error {
		_, err := e.CreateAPIToken(ann, api.APITokenRequest{Name: name, TTL: time.Hour})
		return err
	}
	for _, name := range []string{"elsewhere", "admin"} {
		if err := mint(name); !errors.Is(err, job.ErrForbidden) || !strings.Contains(err.Error(), "more than you may do yourself") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"same", "new"} {
		if err := mint(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var once sync.Once
	d.looked = func() {
		once.Do(func() { e.bind(t, "late", rights.Admin, "late") }) // bindings have been read for ann's token, which is not written yet
	}
	if err := mint("late"); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("while it is bound: %v", err)
	}
	d.looked = nil
	all, err := e.APITokens(asRoot(t.Context()))
	if err != nil || len(all) != 2 {
		t.Errorf("tokens: %+v %v", all, err)
	}
	if _, err := e.CreateAPIToken(asRoot(t.Context()), api.APITokenRequest{Name: "admin", TTL: time.Hour}); err != nil {
		t.Errorf("root: %v", err)
	}
}

// A job that waits for itself over jobs which its author may not read is told without
// their names.
func TestRingsTellNoForeignNames(t *testing.T) {
	t.Parallel()
	after := func(namespace, name string, labels map[string]string, jobs ...string) manifest.Object {
		o := manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Namespace: namespace, Name: name, Labels: labels}, Spec: job.Spec{Command: []string{"true"}}}
		if len(jobs) > 0 {
			o.Spec.After = &job.After{Jobs: jobs}
		}
		return o
	}
	web := rule("read", "jobs", "mixed")
	web.Labels = map[string]string{"team": "web"}
	e, _ := closed(t, role("web", web), bound("ann", rights.Editor, "ann", "own"), bound("ann-web", "web", "ann"),
		after("own", "a", nil), after("own", "d", nil, "mixed/c"), after("mixed", "c", web.Labels, "foreign/b2"),
		after("foreign", "b2", nil, "mixed/b1"), after("mixed", "b1", map[string]string{"team": "db"}, "own/a"))
	ring := after("own", "a", nil, "d")
	for name, ask := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"ann":  {as(t.Context(), "ann"), "own/a waits for own/d waits for mixed/c waits for jobs that you may not read waits for own/a; take"},
		"root": {asRoot(t.Context()), "own/a waits for own/d waits for mixed/c waits for foreign/b2 waits for mixed/b1 waits for own/a; take"},
	} {
		if err := e.give(ask.ctx, t, ring); err == nil || !strings.Contains(err.Error(), "the job waits for itself: "+ask.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
