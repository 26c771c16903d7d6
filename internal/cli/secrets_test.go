package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// A value in the clear is refused before anything is sent: also where no server answers.
func TestClearSecretsAreNotSent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	const head = "apiVersion: carillon/v1\nkind: Secret\nmetadata: {name: x}\nspec: "
	for spec, want := range map[string]string{
		"{value: open-sesame}":                       "spec.value: this field is unknown; a secret has no value in the clear",
		"{sealed: open-sesame, recipients: [age1x]}": "spec.sealed: is not one text that age has encrypted",
	} {
		got := carillon(t.Context(), f, head+spec+"\n", "apply", "-f", "-", "--server", "http://127.0.0.1:1")
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "open-sesame") {
			t.Errorf("%s: %s", spec, got)
		}
	}
}

// What seal prints is a manifest that opens by the key that was given, and by no name but
// its own; nothing is sent for it.
func TestSealPrintsAManifest(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ids, err := agesecret.OpenIdentities(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	got := carillon(t.Context(), f, "open-sesame\n", "secret", "seal", "-n", "billing", "pw", "--recipient", ids.Recipient(), "--from-file", "-", "--server", "http://127.0.0.1:1")
	if got.code != 0 || strings.Contains(got.stdout+got.stderr, "open-sesame") {
		t.Fatal(got)
	}
	objects, err := manifest.Decode("f", []byte(got.stdout))
	if err != nil || len(objects) != 1 || objects[0].Metadata.Namespace != "billing" {
		t.Fatalf("%v, %v", objects, err)
	}
	if value, err := agesecret.Open(job.Key{Namespace: "billing", Name: "pw"}, objects[0].Secret.Sealed, ids); value != "open-sesame" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
}

// A parameter's value may come from a file, which is not in the list of processes.
func TestParamsFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("a b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags paramFlags
		want  string
	}{
		"a file":         {paramFlags{files: []string{"p=" + file}}, "a b"},
		"standard input": {paramFlags{files: []string{"p=-"}}, "from in"},
		"both":           {paramFlags{pairs: []string{"q=1"}, files: []string{"p=" + file}}, "a b"},
		"twice":          {paramFlags{pairs: []string{"p=1"}, files: []string{"p=" + file}}, ""},
		"input twice":    {paramFlags{files: []string{"p=-", "q=-"}}, ""},
		"no file":        {paramFlags{files: []string{"p=" + file + "x"}}, ""},
	} {
		got, err := c.flags.read(strings.NewReader("from in\r\n"))
		if got["p"] != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
