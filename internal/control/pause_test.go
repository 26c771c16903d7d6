package control

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/pauses"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestPauseRefused: what a scope has no use for is refused, by pause and by
// resume, and writes nothing.
func TestPauseRefused(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}))
	for name, c := range map[string]struct {
		p    api.Paused
		want string
	}{
		"all and a namespace":  {api.Paused{Scope: api.ScopeAll, Namespace: "ops", Name: ""}, `invalid: namespace: is "ops", but scope all has none; leave it out, or give scope namespace`},
		"all and a name":       {api.Paused{Scope: api.ScopeAll, Namespace: "", Name: "g"}, `invalid: name: is "g", but scope all has none; leave it out, or give scope job or group`},
		"namespace and a name": {api.Paused{Scope: api.ScopeNamespace, Namespace: "ops", Name: "g"}, `invalid: name: is "g", but scope namespace has none; leave it out, or give scope job or group`},
		"no namespace":         {api.Paused{Scope: api.ScopeNamespace, Namespace: "", Name: ""}, `invalid: namespace: is empty; give a name of letters, digits, '.', '_' and '-'`},
		"two namespaces":       {api.Paused{Scope: api.ScopeNamespace, Namespace: "ops/g", Name: ""}, `invalid: namespace: "ops/g" contains "/"; allowed are letters a-z, A-Z, digits, '.', '_' and '-'`},
		"job without a name":   {api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: ""}, `invalid: name: is empty; give a name of letters, digits, '.', '_' and '-'`},
		"group without both":   {api.Paused{Scope: api.ScopeGroup, Namespace: "", Name: "g"}, `invalid: namespace: is empty; give a name of letters, digits, '.', '_' and '-'`},
		"no scope":             {api.Paused{}, `invalid: scope: "" is unknown; want job, group, namespace or all`},
		"other scope":          {api.Paused{Scope: "everything"}, `invalid: scope: "everything" is unknown; want job, group, namespace or all`},
	} {
		if got := refusal(second(e.Pause(t.Context(), c.p, time.Time{}, api.Order{}))); got != c.want {
			t.Errorf("pause, %s:\n got %s\nwant %s", name, got, c.want)
		}
		if got := refusal(second(e.Resume(t.Context(), c.p, api.Order{}))); got != c.want {
			t.Errorf("resume, %s:\n got %s\nwant %s", name, got, c.want)
		}
	}
	for _, prefix := range []string{e.keys.Pauses(), e.keys.Audit()} {
		if left := e.keysUnder(t, prefix); len(left) > 1 { // the group's own record
			t.Errorf("something was written: %v", left)
		}
	}
}

// TestPauseOfANamespaceThatIsNotThere: a namespace without jobs and groups is
// mistyped, and is not paused.
func TestPauseOfANamespaceThatIsNotThere(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j"))
	_, err := e.Pause(t.Context(), api.Paused{Scope: api.ScopeNamespace, Namespace: "opps"}, time.Time{}, api.Order{})
	if want := `namespace opps has no jobs; did you mean "ops"?: not found`; !errors.Is(err, job.ErrNotFound) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := e.Pause(t.Context(), api.Paused{Scope: api.ScopeNamespace, Namespace: "ops"}, time.Time{}, api.Order{}); err != nil {
		t.Error(err)
	}
}

// TestPauseAndResumeEachScope: each scope has one key, which resume finds; so
// it finds those that were written elsewhere once.
func TestPauseAndResumeEachScope(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, group("g", job.GroupSpec{}), object("j"))
	stray := func(p etcdkv.Pause) {
		p.Schema, p.Since = etcdkv.Schema, e.now()
		e.put(t, e.keys.Pauses()+string(p.Scope)+"/"+p.Namespace+"/"+p.Name, p)
	}
	strayOfAll := func() {
		stray(etcdkv.Pause{Scope: etcdkv.ScopeAll, Name: "j"})
		stray(etcdkv.Pause{Scope: etcdkv.ScopeAll, Namespace: "ops"})
	}
	strayOfNamespace := func() {
		stray(etcdkv.Pause{Scope: etcdkv.ScopeNamespace, Namespace: "ops", Name: "j"})
		stray(etcdkv.Pause{Scope: etcdkv.ScopeNamespace, Namespace: "opsy", Name: "j"}) // another one's
	}
	for name, c := range map[string]struct {
		p      api.Paused
		before func()
		paused bool
		want   int // pauses that are left
	}{
		"job":                             {p: api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, paused: true},
		"group":                           {p: api.Paused{Scope: api.ScopeGroup, Namespace: "ops", Name: "g"}, paused: true},
		"namespace":                       {p: api.Paused{Scope: api.ScopeNamespace, Namespace: "ops"}, paused: true},
		"all":                             {p: api.Paused{Scope: api.ScopeAll}, paused: true},
		"all, only elsewhere":             {p: api.Paused{Scope: api.ScopeAll}, before: strayOfAll},
		"all, elsewhere as well":          {p: api.Paused{Scope: api.ScopeAll}, before: strayOfAll, paused: true},
		"namespace, only elsewhere":       {p: api.Paused{Scope: api.ScopeNamespace, Namespace: "ops"}, before: strayOfNamespace, want: 1},
		"namespace, elsewhere as well":    {p: api.Paused{Scope: api.ScopeNamespace, Namespace: "ops"}, before: strayOfNamespace, paused: true, want: 1},
		"namespace, that of another name": {p: api.Paused{Scope: api.ScopeNamespace, Namespace: "opsy"}, before: strayOfNamespace, want: 1},
	} {
		if _, err := e.cli.Delete(t.Context(), e.keys.Pauses(), clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		if c.before != nil {
			c.before()
		}
		if c.paused {
			if _, err := e.Pause(t.Context(), c.p, time.Time{}, api.Order{}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if all, err := e.Pauses(t.Context()); err != nil || len(all) == 0 {
			t.Errorf("%s: paused %v, %v; want what is to be resumed", name, all, err)
		}
		if _, err := e.Resume(t.Context(), c.p, api.Order{}); err != nil {
			t.Errorf("%s: resume: %v", name, err)
		}
		left := slices.DeleteFunc(e.keysUnder(t, e.keys.Pauses()), func(key string) bool {
			return strings.HasSuffix(e.keys.Pause(etcdkv.Scope(c.p.Scope), c.p.Namespace, c.p.Name), key) // with its end
		})
		if len(left) != c.want {
			t.Errorf("%s: left over are %v, want %d", name, left, c.want)
		}
		if got, want := refusal(second(e.Resume(t.Context(), c.p, api.Order{}))), "404: pause of "+c.p.String()+": not found"; got != want {
			t.Errorf("%s: resumed again:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestResumeKeepsWhatWasPaused: pauses that have ended stay, whether by themselves or by
// a resume, until the job's shard has come to all that was due in them.
func TestResumeKeepsWhatWasPaused(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j"))
	p := api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}
	key := e.keys.Pause(etcdkv.Scope(p.Scope), p.Namespace, p.Name)
	stored := func() etcdkv.StoredPause {
		t.Helper()
		kv, err := e.db.Get(t.Context(), "pause", key)
		if err != nil || kv == nil {
			t.Fatal(kv, err)
		}
		v, err := store.Decode[etcdkv.StoredPause](kv)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	pause := func(until time.Time) time.Time {
		t.Helper()
		if _, err := e.Pause(t.Context(), p, until, api.Order{By: "ada"}); err != nil {
			t.Fatal(err)
		}
		return e.now()
	}
	first := pause(time.Time{})
	e.pass(time.Minute)
	if pause(time.Time{}); !stored().Since.Equal(first) || len(stored().Earlier) != 0 {
		t.Errorf("a pause that goes on is %+v", stored())
	}
	e.pass(time.Minute)
	if _, err := e.Resume(t.Context(), p, api.Order{}); err != nil {
		t.Fatal(err)
	}
	ended := e.now()
	if all, err := e.Pauses(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("paused after its end: %v %v", all, err)
	}
	e.pass(time.Minute)
	second := pause(e.now().Add(time.Minute))
	e.pass(2 * time.Minute)
	third := pause(time.Time{})
	want := []etcdkv.Rest{{Since: first, Until: ended, By: "ada"}, {Since: second, Until: second.Add(time.Minute), By: "ada"}}
	if got := stored(); !got.Since.Equal(third) || !got.Until.IsZero() {
		t.Errorf("paused since %v, want %v", got.Since, third)
	} else if diff := cmp.Diff(want, got.Earlier); diff != "" {
		t.Errorf("earlier ones (-want +got):\n%s", diff)
	}
	for range etcdkv.MaxRests {
		e.pass(time.Second)
		if _, err := e.Resume(t.Context(), p, api.Order{}); err != nil {
			t.Fatal(err)
		}
		e.pass(time.Second)
		pause(time.Time{})
	}
	if n := len(stored().Earlier); n != etcdkv.MaxRests {
		t.Errorf("%d pauses that have ended are kept, want %d", n, etcdkv.MaxRests)
	}

	swept := func() bool {
		t.Helper()
		if err := e.SweepPauses(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(e.keysUnder(t, key)) == 0
	}
	e.pass(time.Hour)
	e.put(t, e.keys.State(e.HashShard(job.Key{Namespace: "ops", Name: "j"})), etcdkv.ShardState{Schema: 1, Cursor: e.now()})
	if swept() {
		t.Error("a pause that holds was removed")
	}
	if _, err := e.Resume(t.Context(), p, api.Order{}); err != nil {
		t.Fatal(err)
	}
	e.pass(pauses.PauseStays / 2)
	e.put(t, e.keys.State(e.HashShard(job.Key{Namespace: "ops", Name: "j"})), etcdkv.ShardState{Schema: 1, Cursor: e.now()})
	if swept() {
		t.Error("a pause was removed right after its end")
	}
	e.put(t, e.keys.State(e.HashShard(job.Key{Namespace: "ops", Name: "j"})), etcdkv.ShardState{Schema: 1, Cursor: stored().Until})
	if e.pass(pauses.PauseStays); swept() {
		t.Error("a pause was removed before its shard had come to its end")
	}
	e.put(t, e.keys.State(e.HashShard(job.Key{Namespace: "ops", Name: "j"})), etcdkv.ShardState{Schema: 1, Cursor: stored().Until.Add(1)})
	if !swept() {
		t.Error("a pause stays that nobody needs any more")
	}
}

func second(_ time.Time, err error) error { return err }
