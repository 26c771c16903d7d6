package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"explain-attempts": "explain job.spec.retry.attempts", "explain-retry": "explain job.retry", "explain-overlap": "explain job.overlap",
		"explain-secret": "explain job.spec.env.PGPASSWORD.secret", "explain-target": "explain Job.spec.target --recursive", "explain-labels": "explain jobs.metadata.labels",
		"explain-unknown": "explain job.spec.retry.atempts", "explain-scalar": "explain job.timeout.x", "explain-kind": "explain jbo",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, carillon(t.Context(), nil, "", strings.Fields(args)...).String())
		})
	}
}

// TestExplainKnowsAllFields: each field that the tables of fields name is explained, with
// a type and a text.
func TestExplainKnowsAllFields(t *testing.T) {
	t.Parallel()
	for _, kind := range manifest.Kinds() {
		if got := carillon(t.Context(), nil, "", "explain", kind); got.code != 0 || !strings.Contains(got.stdout, "spec <object> (required)") {
			t.Errorf("explain %s: got\n%s", kind, got)
		}
		for _, f := range job.Fields(kind) {
			path, field, err := fieldNamed(kind + "." + f.Path)
			switch {
			case err != nil:
				t.Error(err)
			case field.kind() == "any":
				t.Errorf("%v has no type", path)
			}
		}
	}
}

func TestExplainAsObject(t *testing.T) {
	t.Parallel()
	got := carillon(t.Context(), nil, "", "explain", "job.overlap", "-o", "json")
	var v struct {
		Default string
		Enum    []string
	}
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || v.Default != "skip" || len(v.Enum) != 6 {
		t.Errorf("%v in\n%s", err, got)
	}
}

func TestFieldsAreCompleted(t *testing.T) {
	t.Parallel()
	for begun, want := range map[string]string{"": "job\n", "job.spec.retry.": "job.spec.retry.attempts\n", "job.": "job.retry\n"} {
		if got := carillon(t.Context(), nil, "", "__complete", "explain", begun); !strings.Contains(got.stdout, want) {
			t.Errorf("%q: want %q among\n%s", begun, want, got.stdout)
		}
	}
}
