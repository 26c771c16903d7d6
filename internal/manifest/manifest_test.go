package manifest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/configs/examples"
	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/internal/testkit/jobgen"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

var update = flag.Bool("update", false, "write the golden files")

const good = `# a comment
apiVersion: carillon/v1
kind: Job
metadata:
  name: hello
  labels: {team: a}
spec:
  schedule: "*/5 * * * *"
  timeZone: Europe/Berlin
  command: [sleep, 10, yes, 1.50, 0x10, true]
  timeout: 30s
  retry: {attempts: 3, backoff: 1s}
  overlap: allow
  env: {PORT: 8080, EMPTY: ""}
  target: {names: web-*}
---
---
{"apiVersion": "carillon/v1", "kind": "Job", "metadata": {"namespace": "ops", "name": "two"}, "spec": {"schedule": "@daily", "script": {"source": "true\n"}, "enabled": false}}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: short}
spec:
  schedules: "@daily"
  script: echo $HOME
  enabled:
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
				Schedules: []string{"*/5 * * * *"}, TimeZone: "Europe/Berlin", Command: []string{"sleep", "10", "yes", "1.50", "0x10", "true"},
				Timeout: job.Duration(30 * time.Second), Retry: job.Retry{Attempts: 3, Backoff: job.Duration(time.Second)}, Overlap: job.OverlapAllow,
				Env: map[string]job.EnvValue{"PORT": job.Text("8080"), "EMPTY": {}}, Target: job.Target{Names: []string{"web-*"}},
			},
		},
		{
			Kind: "Job", File: "a.yaml", Line: 18,
			Metadata: job.Metadata{Namespace: "ops", Name: "two"},
			Spec:     job.Spec{Schedules: []string{"@daily"}, Script: &job.Script{Source: "true\n"}, Enabled: &off},
		},
		{
			Kind: "Job", File: "a.yaml", Line: 20,
			Metadata: job.Metadata{Namespace: "default", Name: "short"},
			Spec:     job.Spec{Schedules: []string{"@daily"}, Script: &job.Script{Source: "echo $HOME"}},
		},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Object{})); d != "" {
		t.Errorf("objects (-want +got):\n%s", d)
	}
}

// TestM1_GoldenProblems pins the words for every mistake in testdata.
func TestM1_GoldenProblems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.[yj][as]*")
	if err != nil || len(files) == 0 {
		t.Fatalf("test data: %v %v", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := Decode(filepath.Base(file), data)
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || objects != nil {
				t.Fatalf("Decode: %v %v", objects, err)
			}
			for _, p := range invalid.Problems {
				if p.Line == 0 || p.File == "" {
					t.Errorf("%q has no place", p.Message)
				}
			}
			golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, readErr := os.ReadFile(golden)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(err.Error()+"\n", "\n")); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

// TestM4_Bounds: a small file cannot become something large.
func TestM4_Bounds(t *testing.T) {
	t.Parallel()
	head := "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\n"
	for name, c := range map[string]struct{ text, want string }{
		"nested aliases": {
			head + "spec: {command: [a]}\nb: &b [x,x,x,x,x,x,x,x,x]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\n", "this field is unknown",
		},
		"long text, often": {
			head + "spec:\n  script: &a \"" + strings.Repeat("x", 100_000) + "\"\n  env: {A: *a, B: *a, C: *a, D: *a}\n", "aliases make this document larger",
		},
		"no such anchor":  {head + "spec: {script: *s}\n", "unknown anchor"},
		"alias of itself": {head + "spec: &s {script: *s}\n", "unknown"},
		"large":           {head + strings.Repeat("# comment\n", 1<<19), "bytes; at most 4194304 are allowed"},
		"many problems":   {strings.Repeat("---\nx\n", 1000), "there are more problems"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Decode("f", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.300v; want an error with %q", err, c.want)
			}
			var invalid *job.InvalidError
			if errors.As(err, &invalid) && len(invalid.Problems) > MaxProblems+1 {
				t.Errorf("%d problems", len(invalid.Problems))
			}
		})
	}
}

func TestDecodeJSONEscapes(t *testing.T) {
	t.Parallel()
	got, err := Decode("f", []byte(`{"apiVersion":"carillon/v1","kind":"Job","metadata":{"name":"x"},"spec":{"command":["echo","\ud83d\ude00 \u00e9 \\ud83d\\ude00 \/"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\U0001F600 \u00e9 \\ud83d\\ude00 /"; got[0].Spec.Command[1] != want {
		t.Errorf("got %q, want %q", got[0].Spec.Command[1], want)
	}
}

// TestM3_RoundTrip: what Encode writes, Decode reads.
func TestM3_RoundTrip(t *testing.T) {
	t.Parallel()
	name := rapid.StringMatching(`[a-z]([a-z0-9._-]{0,8}[a-z0-9])?`)
	text := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,20}(\n[ -~\t]{0,10}){0,3}`),
		rapid.StringOf(rapid.RuneFrom([]rune(" \t\n\r:#-'\"&*!|>%@`{}[],?\\~aé\u2028\u0085\ufeff\U0001F600"))),
		rapid.SampledFrom([]string{"true", "1", "null", "~", "1e3", "- a", "#", "", " ", "\n", "a\n", "\na", " a\nb", "<<", "=", "2026-01-01", "0o7", "yes", "---", "..."}),
	)
	duration := func(low, high time.Duration) *rapid.Generator[job.Duration] {
		return rapid.Map(rapid.Int64Range(int64(low), int64(high)), func(n int64) job.Duration { return job.Duration(n) })
	}
	variable := rapid.Custom(func(rt *rapid.T) job.EnvValue {
		if rapid.Bool().Draw(rt, "is text") {
			return job.Text(text.Draw(rt, "value"))
		}
		ref := rapid.SampledFrom([]job.SecretRef{{File: "/a b"}, {Env: "PW"}, {Name: "pw"}, {Exec: []string{"/bin/x", "", "- a"}}}).Draw(rt, "secret")
		return job.EnvValue{Secret: &ref, Mask: rapid.Bool().Draw(rt, "mask")}
	})
	spec := func(rt *rapid.T) job.Spec {
		s := job.Spec{
			Schedules:  rapid.SliceOfN(rapid.SampledFrom([]string{"* * * * *", "@daily", "TZ=UTC 0 0 1 1 *"}), 0, 3).Draw(rt, "schedules"),
			TimeZone:   rapid.SampledFrom([]string{"", "Europe/Berlin"}).Draw(rt, "zone"),
			Enabled:    rapid.Ptr(rapid.Bool(), true).Draw(rt, "enabled"),
			Env:        rapid.MapOfN(rapid.StringMatching(`[A-B_][A-Z0-9_]{0,3}`), variable, 0, 3).Draw(rt, "env"),
			WorkingDir: rapid.SampledFrom([]string{"", "/tmp", "/a b"}).Draw(rt, "dir"),
			User:       rapid.SampledFrom([]string{"", "root", "1000"}).Draw(rt, "user"),
			Target: job.Target{
				Names:  rapid.SliceOfN(rapid.SampledFrom([]string{"*", "web-?", "[a-z]1"}), 0, 2).Draw(rt, "names"),
				Labels: rapid.MapOfN(name, name, 0, 2).Draw(rt, "target labels"),
				Match:  rapid.SampledFrom([]string{"", `os == "linux" and web*`, "web[001-120]!web7"}).Draw(rt, "match"),
				Run:    rapid.SampledFrom(append(job.Spreads(), "")).Draw(rt, "run"),
			},
			Timeout: duration(job.MinTimeout, job.MaxTimeout).Draw(rt, "timeout"),
			Retry: job.Retry{
				Attempts: rapid.IntRange(0, job.MaxAttempts).Draw(rt, "attempts"),
				Backoff:  duration(0, job.DefaultMaxBackoff).Draw(rt, "backoff"),
			},
			Overlap:    rapid.SampledFrom(append(job.Overlaps(), "")).Draw(rt, "overlap"),
			Group:      rapid.SampledFrom([]string{"", "g"}).Draw(rt, "group"),
			Jitter:     duration(0, job.MaxJitter).Draw(rt, "jitter"),
			CatchUp:    duration(0, job.MaxCatchUpWindow).Draw(rt, "catch up"),
			Misfire:    rapid.SampledFrom(append(job.Misfires(), "")).Draw(rt, "misfire"),
			Idempotent: rapid.Bool().Draw(rt, "idempotent"),
		}
		if rapid.Bool().Draw(rt, "bounded") {
			from := time.Unix(0, rapid.Int64Range(0, 4e18).Draw(rt, "from")).UTC()
			to := from.Add(time.Hour)
			s.StartAt, s.EndAt, s.Retry.ExitCodes = &from, &to, []int{1, 255}
		}
		onlyWhatWorks(&s)
		if s.Target.Run == job.SpreadEach {
			s.Target.By = rapid.SampledFrom([]string{"site", "example.org/rack"}).Draw(rt, "by")
		}
		if s.Target.Run != job.SpreadAll {
			s.Target.Prefer = rapid.SampledFrom([]string{"", `site == "east"`}).Draw(rt, "prefer")
		}
		if s.Target.Run == job.SpreadAny {
			s.Target.Count = 2
		}
		if s.Target.EffectiveRun() != job.SpreadOne && rapid.Bool().Draw(rt, "rolled out") {
			few := job.Amount("10%")
			s.Rollout = job.Rollout{
				Canary: "web1", CanaryCount: 1, Promote: job.PromoteManual, Batch: "5", Pause: job.Duration(time.Second),
				MaxFailures: &few, Order: job.OrderLabel, OrderBy: "site", MaxPer: map[string]int{"rack": 2}, ClusterMaxPer: map[string]int{"site": 9},
			}
		}
		if rapid.Bool().Draw(rt, "has steps") {
			s.Params = []job.Param{{Name: "p", Required: true, MaxLength: 3}}
			s.Steps = []job.Step{
				{Script: "a/b@3", Params: map[string]string{"x": "is {{p}}"}, ContinueOnFailure: true, Timeout: job.Duration(10 * time.Millisecond)},
				{Name: "two", Shell: rapid.SampledFrom([]string{"echo $CARILLON_PARAM_P\n", "true"}).Draw(rt, "shell"), Args: []string{"a", "{{p}}"}},
				{Command: []string{"x", "{{p}}"}, If: job.IfAlways},
			}
			return s
		}
		if rapid.Bool().Draw(rt, "is script") {
			s.Script = &job.Script{Interpreter: rapid.SliceOfN(name, 0, 2).Draw(rt, "interpreter"), Source: "x" + text.Draw(rt, "source")}
			if rapid.Bool().Draw(rt, "blank first") {
				s.Script.Source = " \n" + s.Script.Source
			}
		} else {
			s.Command = append([]string{"x"}, rapid.SliceOfN(text, 0, 3).Draw(rt, "args")...)
		}
		return s
	}
	group := func(rt *rapid.T) job.GroupSpec {
		g := job.GroupSpec{
			Mode:          rapid.SampledFrom(append(mode.Names(), "")).Draw(rt, "mode"),
			Nodes:         rapid.SliceOfNDistinct(rapid.Map(name, func(s string) job.NodeID { return job.NodeID(s) }), 0, 3, rapid.ID).Draw(rt, "nodes"),
			Pin:           rapid.MapOfN(name, text, 0, 2).Draw(rt, "pin"),
			Ordered:       rapid.Bool().Draw(rt, "ordered"),
			MaxConcurrent: rapid.IntRange(0, 9).Draw(rt, "max"),
			Mutex:         rapid.SampledFrom([]string{"", "m"}).Draw(rt, "mutex"),
		}
		switch g.Mode {
		case "failback":
			g.HoldOff, g.Sites = duration(0, job.MaxHoldOff).Draw(rt, "hold-off"), []string{"a", "b"}
		case "preempt":
			g.Grace = duration(0, job.MaxGrace).Draw(rt, "grace")
		case "timeslice":
			g.Slice, g.OnLoss, g.Spread = duration(job.MinSlice, job.MaxSlice).Draw(rt, "slice"), job.LossSkip, "rack"
		case "parallel":
			g.Start = job.StartSync
		}
		return g
	}
	rapid.Check(t, func(rt *rapid.T) {
		in := make([]Object, rapid.IntRange(1, 3).Draw(rt, "objects"))
		for i := range in {
			in[i] = Object{Kind: rapid.SampledFrom(Kinds()).Draw(rt, "kind"), File: "f", Metadata: job.Metadata{
				Namespace: name.Draw(rt, "namespace"), Name: fmt.Sprint(name.Draw(rt, "name"), i),
				Labels:      rapid.MapOfN(name, name, 0, 2).Draw(rt, "labels"),
				Annotations: rapid.MapOfN(name, text, 0, 2).Draw(rt, "annotations"),
			}}
			switch in[i].Kind {
			case job.KindGroup:
				in[i].Group = group(rt)
			case job.KindCalendar:
				in[i].Calendar = job.CalendarSpec{
					TimeZone: "Europe/Berlin", Weekdays: []string{"MON-FRI"}, Closed: []string{"12-25 Christmas"}, Windows: []string{"0 2 * * SUN for 2h: patching"},
				}
			case job.KindScript:
				in[i].Script = job.ScriptSpec{
					Category: "disk", Interpreter: []string{"bash", "-e"}, Source: rapid.SampledFrom([]string{"df\n", "x", "a\n\tb\n"}).Draw(rt, "source"),
					Args: []string{"--top={{n}}"}, Timeout: duration(time.Second, time.Hour).Draw(rt, "timeout"), Env: rapid.MapOfN(rapid.StringMatching("[A-Z]{3}"), text, 0, 2).Draw(rt, "env"),
					Params: []job.Param{{Name: "n", Type: job.ParamInt, Default: "3", Min: "1"}, {Name: "m", Type: job.ParamEnum, Values: []string{"a", "b"}, Required: true}},
				}
			case job.KindQueue:
				in[i].Queue = job.QueueSpec{
					Command: []string{"work", "--all"}, Env: rapid.MapOfN(rapid.StringMatching("[A-Z]{3}"), variable, 0, 2).Draw(rt, "env"), User: "www-data",
					Target: job.QueueTarget{Match: "os == 'linux'"}, Timeout: duration(time.Second, time.Hour).Draw(rt, "timeout"),
					Retry: job.Retry{Attempts: 3, Backoff: job.Duration(time.Second), ExitCodes: []int{1, 2}}, Aging: job.Duration(time.Minute), MaxItems: 10,
					PayloadSchema: `{"type":"object"}`, DedupWindow: job.Duration(time.Hour), ExpireAfter: job.Duration(time.Hour), LostAfter: job.Duration(time.Minute), Limits: job.Limits{Pids: 5},
				}
			case job.KindSecret:
				in[i].Secret = job.SecretSpec{Description: text.Draw(rt, "description"), Sealed: jobgen.Sealed, Recipients: []string{jobgen.Recipient}}
			case job.KindNotifier:
				in[i].Notifier = job.NotifierSpec{
					Description: text.Draw(rt, "description"), On: []job.AlertEvent{job.AlertFailed, job.AlertSkipped, job.AlertLongRunning}, Everywhere: true, Namespaces: []string{"prod-*"}, Jobs: []string{"a*"},
					Labels: map[string]string{"team": "db"}, SkippedRuns: 3, RunsFor: job.Duration(time.Hour), RemindAfter: job.Duration(time.Hour), GroupFor: duration(time.Second, time.Hour).Draw(rt, "group"), MaxPerHour: 5,
					Quiet: []string{"night"}, Subject: "{{.Job}}", Text: "{{range .Alerts}}{{.Reason}}{{end}}",
					Email: &job.EmailReceiver{Server: "smtp.example.org:587", TLS: job.TLSStart, From: "c@example.org", To: []string{"a@example.org"}, User: "me", PasswordFile: "pw"},
				}
			case job.KindDefaults:
				in[i].Metadata.Name = job.DefaultsName
				in[i].Defaults = job.DefaultsSpec{
					Description: text.Draw(rt, "description"), TimeZone: "Europe/Berlin", User: "www", Env: map[string]string{"A": text.Draw(rt, "env")}, Timeout: job.Duration(time.Hour),
					Retry: job.Retry{Attempts: 3, Backoff: job.Duration(time.Second)}, PauseAfterFailures: 3, LateAfter: duration(time.Second, time.Hour).Draw(rt, "late"),
				}
			case job.KindRole:
				in[i].Metadata.Namespace = job.DefaultNamespace
				in[i].Role.Rules = []job.RoleRule{
					{Verbs: []string{"read", "run"}, Resources: []string{"jobs"}, Namespaces: []string{"a", "*"}, Labels: map[string]string{"team": name.Draw(rt, "team")}},
					{Verbs: []string{"*"}, Resources: []string{"nodes", "*"}},
				}
			case job.KindRoleBinding:
				in[i].Metadata.Namespace = job.DefaultNamespace
				in[i].RoleBinding = job.RoleBindingSpec{
					Role: name.Draw(rt, "role"), Namespaces: rapid.SliceOfN(name, 0, 2).Draw(rt, "namespaces"),
					Subjects: []job.RoleSubject{{Kind: "user", Name: "ann@example.org"}, {Kind: "account", Name: "0"}},
				}
			case job.KindHostGroup:
				in[i].Metadata.Namespace = job.DefaultNamespace
				in[i].HostGroup.Match = rapid.SampledFrom([]string{"@a or web[1-3]", "os == 'linux'", "/a b/"}).Draw(rt, "match")
			default:
				in[i].Spec = spec(rt)
			}
		}
		b, err := Encode(in...)
		if err != nil {
			rt.Fatal(err)
		}
		out, err := Decode("f", b)
		if err != nil {
			rt.Fatalf("%v\n%s", err, b)
		}
		if d := cmp.Diff(in, out, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Object{}, "Line", "places")); d != "" {
			rt.Fatalf("round trip (-in +out):\n%s\n%s", d, b)
		}
		again, err := Encode(out...)
		if err != nil || string(again) != string(b) {
			rt.Fatalf("not stable: %v\n%s\n%s", err, b, again)
		}
	})
}

// onlyWhatWorks leaves out what would have no effect.
func onlyWhatWorks(s *job.Spec) {
	if len(s.Schedules) == 0 {
		s.StartAt, s.EndAt, s.Jitter, s.Misfire, s.CatchUp = nil, nil, 0, "", 0
		if !s.IsEnabled() {
			s.Enabled = nil
		}
	}
	if !slices.ContainsFunc(s.Schedules, func(expr string) bool { return !strings.HasPrefix(expr, "TZ=") }) {
		s.TimeZone = ""
	}
	if s.Misfire == job.MisfireSkip {
		s.CatchUp = 0
	}
	if s.Retry.Attempts < 2 {
		s.Retry.ExitCodes = nil
		if !s.Idempotent {
			s.Retry.Backoff = 0
		}
	}
}

// TestM3_OddText: texts that trip writers of YAML up.
func TestM3_OddText(t *testing.T) {
	t.Parallel()
	odd := []string{"\t:\n", " a\n b\n", "a \nb\t\n", "a\r\nb", "\n\n", "a\n\n\n", "- a\n- b", "# a\nb", "a: b\n---\n", "yes", "~", "\u2028\n", "\ufeff", "'", "\""}
	in := Object{Kind: "Job", File: "f", Line: 1, Metadata: job.Metadata{Namespace: "a", Name: "b"}, Spec: job.Spec{Command: append([]string{"x"}, odd...)}}
	b, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode("f", b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if d := cmp.Diff([]Object{in}, out, cmpopts.IgnoreUnexported(Object{})); d != "" {
		t.Errorf("round trip (-in +out):\n%s\n%s", d, b)
	}
}

func TestEncodeIsReadable(t *testing.T) {
	t.Parallel()
	objects, err := Decode("a.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	objects[1].Spec.Script.Source = "set -eu\nif true; then\n\techo hi\nfi\n"
	got, err := Encode(objects[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: carillon/v1
kind: Job
metadata:
  namespace: default
  name: hello
  labels:
    team: a
spec:
  schedules: ['*/5 * * * *']
  timeZone: Europe/Berlin
  command: [sleep, "10", "yes", "1.50", "0x10", "true"]
  env:
    EMPTY: ""
    PORT: "8080"
  target:
    names: [web-*]
  timeout: 30s
  retry:
    attempts: 3
    backoff: 1s
  overlap: allow
---
apiVersion: carillon/v1
kind: Job
metadata:
  namespace: ops
  name: two
spec:
  schedules: ['@daily']
  enabled: false
  script:
    source: |
      set -eu
      if true; then
      	echo hi
      fi
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestExamplesDecode(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(examples.FS(), "*.yaml")
	if err != nil || len(names) < 5 {
		t.Fatalf("examples: %v %v", names, err)
	}
	seen := map[identity]string{}
	for _, n := range names {
		b, err := fs.ReadFile(examples.FS(), n)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := Decode(n, b)
		if err != nil {
			t.Errorf("%s:\n%v", n, err)
		}
		for _, o := range objects {
			id := identity{o.Kind, o.Metadata.Key()}
			if other, twice := seen[id]; twice {
				t.Errorf("%s and %s have the same %s", n, other, o.Kind)
			}
			seen[id] = n
		}
		if !strings.HasPrefix(string(b), "# yaml-language-server: $schema=../schema/job.schema.json\n# ") {
			t.Errorf("%s does not begin with its schema and a comment", n)
		}
	}
}

func TestSynonymsNameFields(t *testing.T) {
	t.Parallel()
	for word, field := range synonyms {
		_, err := Decode("f", []byte("apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\nspec: {"+word+": x}\n"))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("did you mean %q?", field)) {
			t.Errorf("%s: %v; want %q", word, err, field)
		}
		first, _, _ := strings.Cut(field, ".")
		if !slices.Contains(append(fieldNames(specType), "schedule"), first) {
			t.Errorf("the synonym %q stands for %q, which is no field", word, field)
		}
	}
}

func TestGroupSynonymsNameFields(t *testing.T) {
	t.Parallel()
	for word, field := range groupSynonyms {
		_, err := Decode("f", []byte("apiVersion: carillon/v1\nkind: Group\nmetadata: {name: x}\nspec: {"+word+": x}\n"))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("did you mean %q?", field)) {
			t.Errorf("%s: %v; want %q", word, err, field)
		}
		if !slices.Contains(fieldNames(reflect.TypeFor[job.GroupSpec]()), field) {
			t.Errorf("the synonym %q stands for %q, which is no field", word, field)
		}
	}
}

// TestDecodeGroup: a group and a job of it, in one file.
func TestDecodeGroup(t *testing.T) {
	t.Parallel()
	got, err := Decode("a.yaml", []byte(`
apiVersion: carillon/v1
kind: Group
metadata: {name: nightly}
spec:
  mode: failback
  nodes: n1
  sites: [a, b]
  pin: {disk: ssd}
  holdOff: 2m
  ordered: true
  maxConcurrent: 3
  mutex: db
---
apiVersion: carillon/v1
kind: Job
metadata: {name: nightly}
spec: {group: nightly, command: [x]}
`))
	if err != nil {
		t.Fatal(err)
	}
	meta := job.Metadata{Namespace: "default", Name: "nightly"}
	want := []Object{
		{Kind: "Group", File: "a.yaml", Line: 2, Metadata: meta, Group: job.GroupSpec{
			Mode: "failback", Nodes: []job.NodeID{"n1"}, Sites: []string{"a", "b"}, Pin: map[string]string{"disk": "ssd"},
			HoldOff: job.Duration(2 * time.Minute), Ordered: true, MaxConcurrent: 3, Mutex: "db",
		}},
		{Kind: "Job", File: "a.yaml", Line: 15, Metadata: meta, Spec: job.Spec{Group: "nightly", Command: []string{"x"}}},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Object{})); d != "" {
		t.Errorf("objects (-want +got):\n%s", d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c\n<<: *x\n"))
	fuzzed.Run(f, func(t *testing.T, b []byte) {
		objects, err := Decode("f", b)
		if err != nil {
			if objects != nil {
				t.Error("objects beside problems")
			}
			return
		}
		if names, err := DecodeNames("f", b); err != nil || !slices.EqualFunc(names, objects, sameName) {
			t.Errorf("M6: the names are %+v, %v; want those of %+v", names, err, objects)
		}
		text, err := Encode(objects...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("f", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if d := cmp.Diff(objects, again, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Object{}, "Line", "places")); d != "" {
			t.Errorf("round trip (-in +out):\n%s\n%s", d, text)
		}
	})
}

func sameName(a, b Object) bool { return a.Kind == b.Kind && a.Metadata.Key() == b.Metadata.Key() }

// TestM6_NamesOfARefusedFile: who only wants to know which objects a file names is
// told, whatever else is wrong with them; and what is wrong with the names.
func TestM6_NamesOfARefusedFile(t *testing.T) {
	t.Parallel()
	const file = `apiVersion: carillon/v2
kind: Job
metadata: {name: &n old, colour: red}
spec: {schedule: "@every 1h", timeZone: Europe/Rome, was: once, command: "a b"}
---
apiVersion: carillon/v1
kind: Group
metadata: {name: *n, namespace: ops}
`
	if _, err := Decode("f", []byte(file)); err == nil {
		t.Fatal("the file is not refused: this test shows nothing")
	}
	got, err := DecodeNames("f", []byte(strings.ReplaceAll(file, "*n", "old")))
	want := []Object{
		{Kind: job.KindJob, Metadata: job.Metadata{Namespace: "default", Name: "old"}}, {Kind: job.KindGroup, Metadata: job.Metadata{Namespace: "ops", Name: "old"}},
	}
	if err != nil || !slices.EqualFunc(got, want, sameName) {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"[]":                              "f:1:1: is a list of other things than objects; write one object per document",
		"apiVersion: batch/v1\nkind: Job": `f:1:13: apiVersion: "batch/v1" is unknown`,
		"apiVersion: carillon/v1\nkind: Pod\nmetadata: {name: x}":   `f:2:7: kind: "Pod" is unknown`,
		"apiVersion: carillon/v1\nkind: Job\nmetadata: {name: a b}": `f:3:18: metadata.name: "a b" contains " "`,
		"apiVersion: carillon/v1\nkind: Job\nmetadata: {name: }":    "f:3:18: metadata.name: is empty",
		"apiVersion: carillon/v1\nkind: Job":                        "f:1:1: metadata.name: is empty",
		"a: *b":                                                     "f: this is neither YAML nor JSON",
	} {
		if _, err := DecodeNames("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
