package manifest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/configs/examples"
	"github.com/carillon-cron/carillon/job"
	"io/fs"
)

const good = `# a comment
apiVersion: carillon/v1
kind: Job
metadata:
  name: hello
  labels: {team: a}
spec:
  schedule: "*/5 * * * *"
  timeZone: Europe/Berlin
  command: [echo, hi]
  timeout: 30s
  retry: {attempts: 3, backoff: 1s}
  overlap: allow
---
---
{"apiVersion": "carillon/v1", "kind": "Job", "metadata": {"namespace": "ops", "name": "two"}, "spec": {"script": {"source": "true\n"}, "enabled": false}}
`

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := Decode("a.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	off := false
	want := []Object{
		{
			Kind: "Job", File: "a.yaml", Line: 2,
			Metadata: job.Metadata{Namespace: "default", Name: "hello", Labels: map[string]string{"team": "a"}},
			Spec: job.Spec{
				Schedules: []string{"*/5 * * * *"}, TimeZone: "Europe/Berlin", Command: []string{"echo", "hi"},
				Timeout: job.Duration(30e9), Retry: job.Retry{Attempts: 3, Backoff: job.Duration(1e9)}, Overlap: job.OverlapAllow,
			},
		},
		{
			Kind: "Job", File: "a.yaml", Line: 16,
			Metadata: job.Metadata{Namespace: "ops", Name: "two"},
			Spec:     job.Spec{Script: &job.Script{Source: "true\n"}, Enabled: &off},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("objects (-want +got):\n%s", d)
	}
}

func TestProblemsAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Decode("bad.yaml", []byte(`apiVersion: carillon/v2
kind: Job
metadata:
  name: "a b"
  lables: {x: y}
spec:
  schedules: ["61 * * * *", "@daily"]
  timeZone: Europe/Berlim
  command: echo hi
  comand: [x]
  timeout: 10
  overlap: skipp
  retry: {attempts: many}
`))
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("Decode: %v", err)
	}
	want := []string{
		`bad.yaml:5: metadata.lables: is not a known field; namespace, name, labels, annotations are allowed; did you mean "labels"?`,
		`bad.yaml:9: spec.command: is "echo hi"; a list is expected, such as ["echo", "hi"]; for a line of shell use script: {source: ...}`,
		`bad.yaml:10: spec.comand: is not a known field;`,
		`bad.yaml:11: spec.timeout: "10" is not a duration; give a number with a unit, such as 90s or 1h30m`,
		`bad.yaml:12: spec.overlap: "skipp" is not known; one of skip, allow, queue-one is allowed; did you mean "skip"?`,
		`bad.yaml:13: spec.retry.attempts: "many" is not a whole number`,
		`bad.yaml:1: apiVersion: is "carillon/v2"; this release reads "carillon/v1"`,
		`bad.yaml:4: metadata.name: "a b" has the character " ";`,
		`bad.yaml:9: spec.command: is missing;`,
		`bad.yaml:8: spec.timeZone: time zone "Europe/Berlim" is not known;`,
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	head := "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\n"
	for text, want := range map[string]string{
		"a: [": "is not YAML or JSON",
		"[]":   "a mapping with apiVersion",
		head + "spec: {command: [x], script: {source: y}}": "stands beside command",
		head + "spec: {}": "is missing; give a command",
		head + "spec: {command: [x], schedules: [\"0 0 30 2 *\"]}":           "never comes due",
		head + "spec: {command: [x]}\n---\n" + head + "spec: {command: [x]}": "twice; the first is in line 1",
		head + "spec: {command: [x], workingDir: rel}":                       "is relative",
		head + "spec: {command: [x], env: {CARILLON_X: y}}":                  "is set by Carillon itself",
		"apiVersion: carillon/v1\nkind: Jobs\nmetadata: {name: x}\nspec: {}": `did you mean "Job"?`,
		"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]": "aliases",
	} {
		if _, err := Decode("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Decode(%.60q): %v; want an error with %q", text, err, want)
		}
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,20}(\n[ -~]{1,10})?`)
		name := rapid.StringMatching(`[a-z][a-z0-9]{0,8}`)
		in := Object{Kind: "Job", File: "f", Line: 1, Metadata: job.Metadata{
			Namespace: name.Draw(rt, "ns"), Name: name.Draw(rt, "name"),
			Annotations: map[string]string{"note": text.Draw(rt, "note")},
		}}
		in.Spec = job.Spec{
			Command: []string{"x", text.Draw(rt, "arg"), rapid.SampledFrom([]string{"true", "1", "null", "~", "1e3", "- a", "#"}).Draw(rt, "odd")},
			Env:     map[string]string{"A": text.Draw(rt, "env")},
			Timeout: job.Duration(rapid.Int64Range(1e7, 1e12).Draw(rt, "timeout")),
			Misfire: rapid.SampledFrom(job.Misfires()).Draw(rt, "misfire"),
		}
		b, err := Encode(in)
		if err != nil {
			rt.Fatal(err)
		}
		out, err := Decode("f", b)
		if err != nil {
			rt.Fatalf("%v\n%s", err, b)
		}
		if d := cmp.Diff([]Object{in}, out); d != "" {
			rt.Fatalf("round trip (-in +out):\n%s\n%s", d, b)
		}
	})
}

func TestExamplesDecode(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(examples.FS(), "*.yaml")
	if err != nil || len(names) < 5 {
		t.Fatalf("examples: %v %v", names, err)
	}
	for _, n := range names {
		b, err := fs.ReadFile(examples.FS(), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(n, b); err != nil {
			t.Errorf("%s:\n%v", n, err)
		}
		if !strings.HasPrefix(string(b), "# yaml-language-server: $schema=../schema/job.schema.json\n") {
			t.Errorf("%s does not name its schema", n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Decode("f", b)
	})
}
