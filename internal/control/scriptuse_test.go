package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// command makes a job for one run, as Exec does, that names a script.
func (e *env) command(t *testing.T, ref string) (job.Key, error) {
	t.Helper()
	o := stepped("x", job.Step{Script: ref})
	shelf, err := e.IndexScripts(t.Context(), o.Spec.ScriptRefs("ops"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shelf.CheckStart("ops", &o.Spec, nil); err != nil {
		return job.Key{}, err
	}
	_, key, err := e.MakePassing(t.Context(), &job.Job{Metadata: o.Metadata, Spec: o.Spec}, shelf, api.StartRequest{})
	return key, err
}

// TestNoJobWithoutItsScript: a script that is deleted while a job comes to name
// it is either kept, or the job is refused; and so with a version that is too old.
func TestNoJobWithoutItsScript(t *testing.T) {
	t.Parallel()
	ref := job.Key{Namespace: "ops", Name: "s"}
	users := map[string]func(t *testing.T, e *env) error{
		"job": func(t *testing.T, e *env) error {
			t.Helper()
			_, err := e.Apply(t.Context(), "f", encode(t, stepped("a", job.Step{Script: "s@1"})), false)
			return err
		},
		"command": func(t *testing.T, e *env) error {
			t.Helper()
			_, err := e.command(t, "s@1")
			return err
		},
	}
	for name, use := range users {
		t.Run(name+" first", func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.apply(t, script("s", "x"))
			e.between(func() {
				if err := use(t, e); err != nil {
					t.Error(err)
				}
			}, func() {
				if err := e.DeleteScript(t.Context(), ref); !errors.Is(err, job.ErrConflict) {
					t.Errorf("the script is deleted: %v", err)
				}
			})
			if _, err := e.Script(t.Context(), job.ScriptRef{Key: ref, Version: 1}); err != nil {
				t.Error(err)
			}
		})
		t.Run(name+" second", func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.apply(t, script("s", "x"))
			e.between(func() {
				if err := e.DeleteScript(t.Context(), ref); err != nil {
					t.Error(err)
				}
			}, func() {
				if err := use(t, e); err == nil {
					t.Error("it names a script that is gone")
				}
			})
		})
		t.Run(name+" beside a new version", func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			for i := range job.KeptVersions {
				e.apply(t, script("s", fmt.Sprint(i)))
			}
			e.between(func() {
				if err := use(t, e); err != nil {
					t.Error(err)
				}
			}, func() { e.apply(t, script("s", "one more")) })
			if _, err := e.Script(t.Context(), job.ScriptRef{Key: ref, Version: 1}); err != nil {
				t.Errorf("the version is gone that it names: %v", err)
			}
		})
	}
}

// TestVersionOfTheSameFileIsKept: a job may come to name the oldest version in the
// file that makes one too many.
func TestVersionOfTheSameFileIsKept(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for i := range job.KeptVersions {
		e.apply(t, script("s", fmt.Sprint(i)))
	}
	e.apply(t, script("s", "one more"), stepped("a", job.Step{Script: "s@1"}))
	if _, err := e.Script(t.Context(), job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "s"}, Version: 1}); err != nil {
		t.Error(err)
	}
}

// TestScriptOfACommandIsKept: a script stays while a command that names it may be
// run again, and is not said to be a job's.
func TestScriptOfACommandIsKept(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, script("s", "x"))
	made, err := e.command(t, "s@1")
	if err != nil {
		t.Fatal(err)
	}
	key := job.Key{Namespace: "ops", Name: "s"}
	if err := e.DeleteScript(t.Context(), key); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), made.String()) {
		t.Errorf("deleted beside a command: %v", err)
	}
	if v, err := e.Script(t.Context(), job.ScriptRef{Key: key}); err != nil || len(v.Jobs) != 0 {
		t.Errorf("told of as a script of jobs %v (%v)", v.Jobs, err)
	}
	e.pass(24 * time.Hour)
	if err := e.SweepPassing(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteScript(t.Context(), key); err != nil {
		t.Error(err)
	}
	if n := e.has(t, e.keys.ScriptUses()); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
