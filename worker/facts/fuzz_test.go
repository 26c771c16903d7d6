package facts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzFacts: no file of facts crashes the minion; it is taken whole or not at all
// (F1), changes no fact of the host (F2), and tells no more than nodes take (F3).
func FuzzFacts(f *testing.F) {
	for _, text := range []string{
		"", "role=db\n# a remark\n\nrack = r1\n", "os=plan9\n", "facts_error=none\n", "a=b\nno fact\n", "a=\x1b[2J\n", "a=\xff\n", "=x\n", "a b=c\n",
	} {
		f.Add(text, false)
	}
	for _, text := range []string{
		"", "{}", "disk: {type: ssd, sizes: [1, 2]}\n", `{"os": "plan9"}`, "a: &a [x]\nb: *a\n", "a: &a {b: *a}\n", "<<: {a: b}\n",
		"? [a, b]\n: c\n", "a: {b: {c: {d: {e: {f: {g: {h: {i: {j: k}}}}}}}}}\n", "- a\n", "a: ~\n", "a: \"\\x07\"\n", "a: b\n---\nc: d\n", "a: {b: c}\na.b: d\n",
	} {
		f.Add(text, true)
	}
	host := map[string]string{"os": "linux", "ip": "192.0.2.1"}
	fuzzed.Run(f, func(t *testing.T, text string, tree bool) {
		dir := t.TempDir()
		name := "10.txt"
		if tree {
			name = "10.yaml"
		}
		for file, text := range map[string]string{"00.txt": "kept=yes\n", name: text} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := (&Dir{Path: dir, Reserved: host}).Read(t.Context())
		if err != nil && (len(got) != 1 || got["kept"] != "yes") {
			t.Fatalf("%q is refused (%v), and facts are %q", text, err, got)
		}
		if len(text) > MaxBytes && err == nil {
			t.Errorf("a file of %d bytes is taken", len(text))
		}
		if len(got) > MaxFacts {
			t.Errorf("%d facts", len(got))
		}
		for k, v := range got {
			if job.CheckName(k) != nil || len(v) > MaxValue || !utf8.ValidString(v) || strings.ContainsAny(v, "\x00\n\x1b\x7f") {
				t.Errorf("taken is %q=%q", k, v)
			}
			if _, own := host[k]; own || k == ErrorFact {
				t.Errorf("the fact %s is changed to %q", k, v)
			}
		}
		if err != nil {
			if line := Text(err.Error()); len(line) > MaxValue || !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\n\x1b\x7f") {
				t.Errorf("the error is told as %q", line)
			}
		}
	})
}
