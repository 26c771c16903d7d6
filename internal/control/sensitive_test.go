package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// The value of a sensitive parameter is in what starts a run, and nowhere else: not in
// the answer, in the audit, among what backfills tell, and in what is kept of them.
func TestSensitiveValuesAreInStartsOnly(t *testing.T) {
	t.Parallel()
	e := setup(t)
	const value = "sesame-4711" // under a name that the audit does not mask by itself
	given := map[string]string{"word": value, "n": "7"}
	e.apply(t, object("j", func(o *manifest.Object) {
		o.Spec.Params = []job.Param{{Name: "word", Sensitive: true}, {Name: "n"}}
		o.Spec.Webhook = &job.Webhook{TokenSHA256: ofTest}
	}))
	script := manifest.Object{Kind: job.KindScript, Metadata: job.Metadata{Namespace: "ops", Name: "s"}, Script: job.ScriptSpec{Source: "true", Params: []job.Param{{Name: "word", Sensitive: true, Required: true}}}}
	e.apply(t, script)
	if _, err := e.Start(t.Context(), jobNamed("j"), api.StartRequest{By: "ada", Params: given}); err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(map[string]any{"params": given})
	if _, err := e.Hook(t.Context(), jobNamed("j"), webhook.Call{Token: "test", From: "10.0.0.1", Body: body}); err != nil {
		t.Fatal(err)
	}
	passing := stepped("x", job.Step{Script: "s"})
	index, err := e.IndexScripts(t.Context(), passing.Spec.ScriptRefs("ops"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.MakePassing(t.Context(), &job.Job{Metadata: passing.Metadata, Spec: passing.Spec}, index, api.StartRequest{Params: map[string]string{"word": value}}); err != nil {
		t.Fatal(err)
	}
	starts := e.triggers(t)
	for i := range starts {
		if s := &starts[i]; s.Sensitive["word"] != value || s.Params["word"] != "" {
			t.Errorf("start %d: %v, and apart %v", i, s.Params, s.Sensitive)
		}
	}
	if len(starts) != 3 {
		t.Errorf("%d starts", len(starts))
	}
	told, err := e.Backfill(t.Context(), jobNamed("j"), api.BackfillRequest{From: e.now().Add(-3 * time.Hour), To: e.now(), Params: given})
	if err != nil || told.Params["word"] != job.Masked || told.Params["n"] != "7" {
		t.Errorf("the answer of a backfill: %v, %v", told.Params, err)
	}
	for range 2 { // while it goes on, and when it was ended
		all, err := e.Backfills(t.Context())
		if err != nil || len(all) != 1 || all[0].Params["word"] != job.Masked {
			t.Errorf("backfills: %+v, %v", all, err)
		}
		if all[0].EndedAt.IsZero() {
			if err := e.EndBackfill(t.Context(), all[0].ID, api.Order{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	resp, err := e.cli.Get(t.Context(), e.keys.Prefix(), clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) < 5 {
		t.Fatalf("%d keys, %v", len(resp.Kvs), err)
	}
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Value), value) && !strings.Contains(string(kv.Key), "/triggers/") {
			t.Errorf("%s has it: %s", kv.Key, kv.Value)
		}
	}
	masked := 0
	for _, r := range e.records(t, 20) {
		text, _ := json.Marshal(r)
		if strings.Contains(string(text), value) {
			t.Errorf("the audit has it: %s", text)
		}
		if strings.Contains(string(text), job.Masked) {
			masked++
		}
	}
	if masked < 3 {
		t.Errorf("%d records of the audit say that a value was given", masked)
	}
}

// A run whose values are not kept cannot be done again: the refusal says how it can.
func TestRedoOfASensitiveRunIsRefused(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j", func(o *manifest.Object) { o.Spec.Params = []job.Param{{Name: "word", Sensitive: true}} }))
	run := someRun(e.storedJob(t, "j").UID, "j", e.now(), job.StateFailed)
	run.Params, run.Sensitive = map[string]string{"word": job.Masked}, []string{"word"}
	e.runs.end(run)
	_, err := e.Redo(t.Context(), run.RunID, nil, api.Order{})
	if err == nil || !strings.Contains(err.Error(), "sensitive parameters (word), which are not kept; start the job anew") || len(e.triggers(t)) != 0 {
		t.Errorf("%v", err)
	}
}
