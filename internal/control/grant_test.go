package control

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// watchedDoor is closed, and tells when somebody looks at it.
type watchedDoor struct{ looked func() }

func (d *watchedDoor) State() access.State {
	if d.looked != nil {
		d.looked()
	}
	return access.Closed
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
	d := &watchedDoor{}
	e := setup(t, func(_ *Config, deps *Deps) { deps.Decode, deps.Door = nil, d })
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

// Who loses a right while they give it away does not give it: what they hold is compared
// in the transaction that writes.
func TestARightIsLostWhileItIsGiven(t *testing.T) {
	t.Parallel()
	e, d := closed(t, bound("ann", rights.Admin, "ann"))
	var once sync.Once
	d.looked = func() {
		once.Do(func() { // roles have been read for ann's change, which is not written yet
			if err := e.DeleteRoleBinding(asRoot(t.Context()), "ann"); err != nil {
				t.Error(err)
			}
		})
	}
	if err := e.give(as(t.Context(), "ann"), t, bound("bob", rights.Admin, "bob")); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("a right that is lost was given: %v", err)
	}
	if all, err := e.RoleBindings(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("bindings: %+v %v", all, err)
	}
}
