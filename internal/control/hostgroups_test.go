package control

import (
	"errors"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func hostGroup(name, match string) manifest.Object {
	return manifest.Object{
		Kind: job.KindHostGroup, Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: name}, HostGroup: job.HostGroupSpec{Match: match},
	}
}

func (e *env) applied(t *testing.T, objects ...manifest.Object) ([]api.ApplyResult, error) {
	t.Helper()
	data, err := manifest.Encode(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return e.Apply(t.Context(), "f", data, false)
}

// TestHostGroups walks through the life of groups of hosts: they are saved
// together, in any order; what would make no sense is refused; and one that
// another names stays.
func TestHostGroups(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "web1", Node: "n1"}, {ID: "web2", Node: "n1"}}
		d.Decode = nil
	})
	for want, objects := range map[string][]manifest.Object{
		"no group of hosts is named nope": {hostGroup("a", "@nope")},
		"@a -> @b -> @a":                  {hostGroup("a", "@b"), hostGroup("b", "@a")},
	} {
		var invalid *job.InvalidError
		if _, err := e.applied(t, objects...); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) || invalid.Problems[0].Path != "spec.match" {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	results, err := e.applied(t, hostGroup("front", "web*!@canary"), hostGroup("canary", "web1"))
	if err != nil || len(results) != 2 || results[0].Action != api.ActionCreated || results[0].Kind != job.KindHostGroup {
		t.Fatalf("created: %v %v", results, err)
	}
	if results, err = e.applied(t, hostGroup("canary", "web1"), hostGroup("front", "web* and not @canary")); err != nil || results[0].Action != api.ActionUnchanged || results[1].Action != api.ActionUpdated {
		t.Errorf("again: %v %v", results, err)
	}
	if _, err := e.applied(t, hostGroup("canary", "@front")); err == nil || !strings.Contains(err.Error(), "@canary -> @front -> @canary") {
		t.Errorf("a cycle through a saved group: %v", err)
	}
	match, err := e.MatchMinions(t.Context(), "@front")
	if err != nil || match.Hosts != "web2" {
		t.Errorf("match: %+v %v", match, err)
	}
	named := object("j")
	named.Spec.Target.Match = "@frnt"
	if _, err := e.applied(t, named); err == nil || !strings.Contains(err.Error(), `did you mean "@front"?`) {
		t.Errorf("a job that names an unknown group: %v", err)
	}
	named.Spec.Target.Match = "@front"
	if _, err := e.applied(t, named); err != nil {
		t.Errorf("a job that names a group: %v", err)
	}
	if err := e.DeleteHostGroup(t.Context(), "canary"); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "named by @front") {
		t.Errorf("a group that another names: %v", err)
	}
	for _, name := range []string{"front", "canary"} {
		if err := e.DeleteHostGroup(t.Context(), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if err := e.DeleteHostGroup(t.Context(), "canary"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if groups, err := e.HostGroups(t.Context()); err != nil || len(groups) != 0 {
		t.Errorf("left: %v %v", groups, err)
	}
}
