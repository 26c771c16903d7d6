package control

import (
	"context"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// A job has the name of who changed it last, and a start that of who asked for it, as far
// as these are proven: what minions' lists are held against.
func TestSubjectsAreKept(t *testing.T) {
	t.Parallel()
	e, _, eve, _ := narrow(t)
	oli := as(t.Context(), "oli")
	key := job.Key{Namespace: "ops", Name: "j"}
	plain := func(s *job.Spec) { s.Target = job.Target{} }
	applied := func(what, want string, ctx context.Context, edits ...func(*job.Spec)) {
		t.Helper()
		if ctx != nil {
			if err := e.give(ctx, t, restarts("j", append([]func(*job.Spec){plain}, edits...)...)); err != nil {
				t.Fatal(err)
			}
		}
		if got := e.storedJob(t, "j").AppliedBy; got != want {
			t.Errorf("%s: applied by %q, want %q", what, got, want)
		}
	}
	other := func(s *job.Spec) { s.Command[2] = "app-2" }
	root := asRoot(t.Context())
	applied("created", "eve", eve)
	applied("as it is, by another", "eve", root)
	applied("changed by another", "root (socket)", root, other)
	if _, err := e.SetEnabled(eve, key, false, api.Order{}); err != nil {
		t.Fatal(err)
	}
	applied("switched off by another", "root (socket)", nil)
	// One that a former release has stored is whose who applies it next.
	old := e.storedJob(t, "j")
	old.AppliedBy = ""
	text, err := etcdkv.Encode(old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.cli.Put(t.Context(), e.jobKey(key), text); err != nil {
		t.Fatal(err)
	}
	applied("as it is, and nobody is known", "eve", eve, other, func(s *job.Spec) { off := false; s.Enabled = &off })

	asked := func(what, want string, key job.Key, fire job.FireID, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		name := e.keys.Trigger(e.HashShard(key), fire)
		resp, err := e.cli.Get(t.Context(), name)
		if err != nil || len(resp.Kvs) == 0 {
			t.Fatalf("%s: %v, %v", what, resp, err)
		}
		v, err := etcdkv.Decode[etcdkv.Trigger](name, resp.Kvs[0].Value)
		if err != nil || v.Subject != want {
			t.Errorf("%s: the subject is %q, %v; want %q", what, v.Subject, err, want)
		}
	}
	fire, err := e.Start(eve, key, api.StartRequest{By: "oli"})
	asked("a run by hand", "eve", key, fire, err)
	data, err := manifest.Encode(restarts("exec", plain, func(s *job.Spec) { s.Schedules = nil }))
	if err != nil {
		t.Fatal(err)
	}
	v, err := e.Exec(oli, "f", data, api.StartRequest{})
	asked("a command", "oli", v.Job, v.FireID, err)
	if stored, _, err := e.Stored(t.Context(), v.Job); err != nil || stored.AppliedBy != "oli" {
		t.Errorf("a command is applied by %q, %v", stored.AppliedBy, err)
	}
}
