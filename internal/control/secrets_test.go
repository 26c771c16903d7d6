package control

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func secretNamed(name, sealed string, recipients ...string) manifest.Object {
	return manifest.Object{Kind: job.KindSecret, Metadata: job.Metadata{Namespace: "ops", Name: name}, Secret: job.SecretSpec{Sealed: sealed, Recipients: recipients}}
}

func using(name, secret string) manifest.Object {
	return object(name, func(o *manifest.Object) {
		o.Spec.Env = map[string]job.EnvValue{"PW": {Secret: &job.SecretRef{Name: secret}}}
	})
}

// A secret has a version for each sealed text, is shown with what uses it, and stays while
// a job or a queue does. The audit has no sealed text, but its fingerprint.
func TestSecretsAreVersionedAndKept(t *testing.T) {
	t.Parallel()
	e := setup(t)
	if _, err := e.Apply(t.Context(), "f", encode(t, using("j", "pw")), false); err == nil || !strings.Contains(err.Error(), `spec.env.PW.secret.name: there is no secret "pw" in namespace "ops"`) {
		t.Errorf("a job with a secret that there is not: %v", err)
	}
	e.apply(t, secretNamed("pw", "first-text", "age1a"), using("j", "pw"), manifest.Object{
		Kind: job.KindQueue, Metadata: job.Metadata{Namespace: "ops", Name: "q"},
		Queue: job.QueueSpec{Command: []string{"x"}, Env: map[string]job.EnvValue{"PW": {Secret: &job.SecretRef{Name: "pw"}}}},
	})
	v, err := e.Secret(t.Context(), jobNamed("pw"))
	if err != nil || v.Version != 1 || v.SHA256 != job.ScriptSum("first-text") {
		t.Errorf("%+v, %v", v, err)
	}
	if d := cmp.Diff([]job.Key{jobNamed("j")}, v.Jobs) + cmp.Diff([]job.Key{jobNamed("q")}, v.Queues); d != "" {
		t.Error(d)
	}
	sealedAt := v.SealedAt
	labelled := secretNamed("pw", "first-text", "age1a")
	labelled.Metadata.Labels = map[string]string{"team": "db"}
	e.pass(1)
	for want, o := range map[int]manifest.Object{1: labelled} {
		e.apply(t, o)
		if v, err = e.Secret(t.Context(), jobNamed("pw")); err != nil || v.Version != want || !v.SealedAt.Equal(sealedAt) || v.Labels["team"] != "db" {
			t.Errorf("other labels: %+v, %v", v, err)
		}
	}
	if got := e.apply(t, labelled)["pw"]; got != api.ActionUnchanged {
		t.Errorf("the same again: %s", got)
	}
	e.apply(t, secretNamed("pw", "second-text", "age1a", "age1b"))
	if v, err = e.Secret(t.Context(), jobNamed("pw")); err != nil || v.Version != 2 || v.SHA256 != job.ScriptSum("second-text") || len(v.Spec.Recipients) != 2 {
		t.Errorf("rotated: %+v, %v", v, err)
	}
	err = e.DeleteSecret(t.Context(), jobNamed("pw"))
	if !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "secret ops/pw is named by 1 job (ops/j) and 1 queue (ops/q); change that first") {
		t.Errorf("delete one that is used: %v", err)
	}
	e.apply(t, object("j"), manifest.Object{Kind: job.KindQueue, Metadata: job.Metadata{Namespace: "ops", Name: "q"}, Queue: job.QueueSpec{Command: []string{"x"}}})
	if err := e.DeleteSecret(t.Context(), jobNamed("pw")); err != nil {
		t.Error(err)
	}
	if _, err := e.Secret(t.Context(), jobNamed("pw")); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	all, _ := json.Marshal(e.records(t, 20))
	for _, text := range []string{"first-text", "second-text"} {
		if strings.Contains(string(all), text) {
			t.Errorf("the audit has %q", text)
		}
		if !strings.Contains(string(all), job.ScriptSum(text)) {
			t.Errorf("the audit has no fingerprint of %q", text)
		}
	}
}

// What does not fit into an order is refused when the job is applied.
func TestTooMuchSealedText(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, secretNamed("a", strings.Repeat("x", job.MaxSealedBytes), "age1a"), secretNamed("b", strings.Repeat("x", job.MaxSealedBytes), "age1a"))
	o := using("j", "a")
	o.Spec.Env["PW2"] = job.EnvValue{Secret: &job.SecretRef{Name: "b"}}
	e.apply(t, o)
	o.Spec.Env["PW3"] = job.EnvValue{Secret: &job.SecretRef{Name: "c"}}
	if _, err := e.Apply(t.Context(), "f", encode(t, o, secretNamed("c", "x", "age1a")), false); err == nil || !strings.Contains(err.Error(), "spec.env: names secrets that come to 131073 bytes, sealed") {
		t.Errorf("%v", err)
	}
}

// A secret that is deleted while a job comes to name it is told.
func TestNoJobWithoutItsSecret(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, secretNamed("pw", "text", "age1a"))
	e.between(func() {
		if err := e.DeleteSecret(t.Context(), jobNamed("pw")); err != nil {
			t.Error(err)
		}
	}, func() {
		if _, err := e.Apply(t.Context(), "f", encode(t, using("j", "pw")), false); err == nil || !strings.Contains(err.Error(), "there is no secret") {
			t.Errorf("%v", err)
		}
	})
}
