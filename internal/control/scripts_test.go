package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// script is the manifest of a script.
func script(name, source string, params ...job.Param) manifest.Object {
	return manifest.Object{
		Kind: job.KindScript, Metadata: job.Metadata{Namespace: "ops", Name: name}, Script: job.ScriptSpec{Source: source, Params: params},
	}
}

// stepped is a job with steps and no schedule.
func stepped(name string, steps ...job.Step) manifest.Object {
	return object(name, func(o *manifest.Object) { o.Spec.Schedules, o.Spec.Command, o.Spec.Steps = nil, nil, steps })
}

func (e *env) has(t *testing.T, prefix string) int {
	t.Helper()
	resp, err := e.cli.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return int(resp.Count)
}

// Every change of content is a new version, an unchanged one is not, and a
// version keeps saying what it said.
func TestScriptVersionsAreImmutable(t *testing.T) {
	t.Parallel()
	e, ctx := setup(t), t.Context()
	large := strings.Repeat("#", job.SmallScript+1)
	texts := []string{"one", large, "three"}
	for i, text := range texts {
		for n, want := range []api.Action{api.ActionUpdated, api.ActionUnchanged} {
			if i+n == 0 {
				want = api.ActionCreated
			}
			if got := e.apply(t, script("s", text)); got["s"] != want {
				t.Errorf("text %d, time %d: %s, want %s", i, n, got["s"], want)
			}
		}
	}
	for i, text := range texts {
		v, err := e.Script(ctx, job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "s"}, Version: i + 1})
		if err != nil || v.Spec.Source != text || v.SHA256 != job.ScriptSum(text) || v.Version != i+1 || len(v.Versions) != len(texts) {
			t.Errorf("version %d: %+v, %v", i+1, v.Version, err)
		}
	}
	all, err := e.Scripts(ctx, "ops")
	if err != nil || len(all) != 1 || all[0].Version != 3 {
		t.Errorf("list: %+v, %v", all, err)
	}
	_, err = e.Script(ctx, job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "s"}, Version: 9})
	if !errors.Is(err, job.ErrNotFound) {
		t.Errorf("version 9: %v", err)
	}
}

func TestOldVersionsGoUnlessAJobNamesThem(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for i := range job.KeptVersions + 5 {
		e.apply(t, script("s", fmt.Sprint("text ", i)))
		if i == 2 {
			e.apply(t, stepped("pins", job.Step{Script: "s@2"}))
		}
	}
	v, err := e.Script(t.Context(), job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	last := v.Versions[len(v.Versions)-1].Version
	if len(v.Versions) > job.KeptVersions+1 || last != 2 || v.Version != job.KeptVersions+5 {
		t.Errorf("%d versions, the oldest is %d, the newest %d", len(v.Versions), last, v.Version)
	}
}

func TestScriptOfAJobIsKept(t *testing.T) {
	t.Parallel()
	e, ctx := setup(t), t.Context()
	key := job.Key{Namespace: "ops", Name: "s"}
	e.apply(t, script("s", "x"), stepped("uses", job.Step{Script: "s"}))
	err := e.DeleteScript(ctx, key)
	if !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "ops/uses") {
		t.Errorf("in use: %v", err)
	}
	if _, err := e.Delete(ctx, job.Key{Namespace: "ops", Name: "uses"}); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteScript(ctx, key); err != nil {
		t.Fatal(err)
	}
	if n := e.has(t, e.keys.Scripts()) + e.has(t, e.keys.ScriptHeads()); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if err := e.DeleteScript(ctx, key); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}

// What can be known is told when a job is applied, and the rest when it is
// started, before anything is stored.
func TestParametersAreCheckedBeforeARun(t *testing.T) {
	t.Parallel()
	e, ctx := setup(t), t.Context()
	n := job.Param{Name: "n", Type: job.ParamInt, Required: true}
	data := encode(t, script("s", "x", n), stepped("bad", job.Step{Script: "s", Params: map[string]string{"n": "many"}}, job.Step{Script: "gone"}, job.Step{Script: "s@7"}))
	_, err := e.Apply(ctx, "f", data, false)
	for _, want := range []string{`"many" is not a whole number`, `there is no script "gone"`, `there is no script "s@7"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("apply: %v; want %s", err, want)
		}
	}
	if left := e.has(t, e.keys.Scripts()); left != 0 {
		t.Errorf("%d versions were stored", left)
	}

	e.apply(t, script("s", "x", n, job.Param{Name: "m", Default: "d"}), stepped("good", job.Step{Script: "s"}))
	key := job.Key{Namespace: "ops", Name: "good"}
	for _, params := range []map[string]string{nil, {"n": "x"}, {"n": "1", "q": "2"}} {
		var invalid *job.InvalidError
		if _, err := e.Start(ctx, key, api.StartRequest{Params: params}); !errors.As(err, &invalid) {
			t.Errorf("start with %v: %v", params, err)
		}
	}
	if _, err := e.Start(ctx, key, api.StartRequest{Params: map[string]string{"n": "3"}}); err != nil {
		t.Error(err)
	}

	plain := object("plain", func(o *manifest.Object) {
		o.Spec.Params = []job.Param{{Name: "size", Type: job.ParamEnum, Values: []string{"s", "l"}, Default: "s"}}
	})
	e.apply(t, plain)
	stored, _, err := e.Stored(ctx, plain.Metadata.Key())
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := e.CheckStart(ctx, "ops", &stored.Spec, nil)
	if d := cmp.Diff(map[string]string{"size": "s"}, got); d != "" || err != nil {
		t.Errorf("defaults: %v %s", err, d)
	}
	if _, _, err := e.CheckStart(ctx, "ops", &stored.Spec, map[string]string{"size": "m"}); err == nil {
		t.Error("a value that is not allowed was taken")
	}
}

// A text goes only when nothing has named it for two looks, and comes back with
// what names it.
func TestTextsGoWhenNothingNamesThem(t *testing.T) {
	t.Parallel()
	e, ctx := setup(t), t.Context()
	large := strings.Repeat("#", job.SmallScript+1)
	inline := object("inline", func(o *manifest.Object) { o.Spec.Command, o.Spec.Script = nil, &job.Script{Source: large} })
	e.apply(t, script("s", "x"), inline)
	var known definitions.ScriptTexts
	look := func(want int) {
		t.Helper()
		if err := e.SweepTexts(ctx, &known); err != nil {
			t.Fatal(err)
		}
		if n := e.has(t, e.keys.Blobs()); n != want {
			t.Errorf("%d texts, want %d", n, want)
		}
	}
	look(2)
	look(2)
	if _, err := e.Delete(ctx, inline.Metadata.Key()); err != nil {
		t.Fatal(err)
	}
	look(2)
	e.apply(t, inline) // named again: it was put again
	look(2)
	if _, err := e.Delete(ctx, inline.Metadata.Key()); err != nil {
		t.Fatal(err)
	}
	look(2)
	look(1)
	if _, err := e.Exec(ctx, "f", encode(t, object("x", func(o *manifest.Object) {
		o.Spec.Schedules, o.Spec.Command, o.Spec.Script = nil, nil, &job.Script{Source: large}
	})), api.StartRequest{}); !errors.Is(err, job.ErrNoMinions) {
		t.Errorf("exec: %v", err)
	}
	e.pass(time.Hour)
	look(1)
}
