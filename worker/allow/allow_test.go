package allow

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

const sum = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"

// place makes a directory that is root's, or ours, with a program by two names,
// one of them with links on the way.
func place(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "bin"), 0o755), os.WriteFile(filepath.Join(dir, "bin", "tool"), []byte("#!/bin/sh\n"), 0o755),
		os.Symlink("tool", filepath.Join(dir, "bin", "other")), os.Symlink("bin", filepath.Join(dir, "sbin")),
		os.WriteFile(filepath.Join(dir, "bin", "evil"), []byte("#!/bin/sh\n"), 0o755),
		os.Symlink("evil", filepath.Join(dir, "bin", "fake")), os.Mkdir(filepath.Join(dir, "spool"), 0o755), os.Symlink("spool", filepath.Join(dir, "job")),
		os.Mkdir(filepath.Join(dir, "else"), 0o755), os.Symlink("../bin/evil", filepath.Join(dir, "else", "tool")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const rules = `
rules:
  - name: plain
    program: DIR/bin/tool
  - name: restart
    program: DIR/bin/tool
    args: [restart, {glob: "app-*"}]
    user: [deploy, 4711]
    workingDir: DIR/spool
    env: {TZ: UTC, LANG: {any: true}, MODE: {glob: "f*"}}
    params: [release]
  - name: sync
    program: DIR/bin/tool
    args: [sync, {any: true}, {rest: any}]
    params: any
  - name: alias
    program: DIR/sbin/other
    args: any
  - name: vacuum
    script: ` + sum + `
    interpreter: [/bin/sh, -eu]
    args: [{glob: "[a-z]*"}]
  - name: mail
    handler: mail
    args: [{glob: "*@example.org"}]
`

// Each thing that a start is made of is bound (I1, I2, I4).
func TestListBindsAllOfAStart(t *testing.T) {
	t.Parallel()
	dir := place(t)
	l, err := Parse("allow.yaml", []byte(strings.ReplaceAll(rules, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	low := strings.ToLower(sum)
	own := func(s Start) Start { s.User, s.Own = "root", true; return s }
	deploy := Start{
		Program: dir + "/bin/tool", Args: []string{"restart", "app-1"}, User: "deploy", UID: 1000, Dir: dir + "/spool",
		Env: map[string]string{"TZ": "UTC", "LANG": "x", "MODE": "fast", "CARILLON_PARAM_RELEASE": "3", "CARILLON_SHARE": "m1"},
	}
	with := func(change func(*Start)) Start {
		s := deploy
		s.Env = map[string]string{}
		for k, v := range deploy.Env {
			s.Env[k] = v
		}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		start Start
		// refusal is a part of the reason; empty: it is admitted.
		refusal string
	}{
		"as it stands":            {own(Start{Program: dir + "/bin/tool"}), ""},
		"through links":           {own(Start{Program: dir + "/sbin/../sbin/tool"}), ""},
		"an argument more":        {own(Start{Program: dir + "/bin/tool", Args: []string{"-p"}}), `rule "plain" (line 3) is nearest, but it has the arguments ["-p"], and the rule has 0`},
		"another account":         {Start{Program: dir + "/bin/tool", User: "app", UID: 7}, "is to run as app, and the rule names no user"},
		"a directory":             {own(Start{Program: dir + "/bin/tool", Dir: "/"}), "is to start in /, and the rule names no workingDir"},
		"a loader's variable":     {own(Start{Program: dir + "/bin/tool", Env: map[string]string{"LD_PRELOAD": "/x.so"}}), "it sets the variable LD_PRELOAD, which the rule's env does not name"},
		"a variable nobody knows": {own(Start{Program: dir + "/bin/tool", Env: map[string]string{"ZQX": ""}}), "it sets the variable ZQX"},
		"one of Carillon's own":   {own(Start{Program: dir + "/bin/tool", Env: map[string]string{"CARILLON_SERVER": "evil"}}), "it sets the variable CARILLON_SERVER"},
		"a parameter":             {own(Start{Program: dir + "/bin/tool", Env: map[string]string{"CARILLON_PARAM_X": "1"}}), "it has the parameter x, which the rule's params do not name"},
		"no such share":           {own(Start{Program: dir + "/bin/tool", Env: map[string]string{"CARILLON_SHARE": "() {"}}), "it sets the variable CARILLON_SHARE"},
		"all that a rule names":   {deploy, ""},
		"by the account's number": {with(func(s *Start) { s.User, s.UID = "someone", 4711 }), ""},
		"as the minion":           {with(func(s *Start) { s.User, s.UID, s.Own = "root", 0, true }), "it is to run as root, and the rule has the user deploy, 4711"},
		"the directory by a link": {with(func(s *Start) { s.Dir = dir + "/job" }), ""},
		"another directory":       {with(func(s *Start) { s.Dir = dir + "/spool/.." }), "and the rule has the workingDir " + dir + "/spool"},
		"not in the glob":         {with(func(s *Start) { s.Args = []string{"restart", "sshd"} }), `argument 2 is "sshd", and the rule has the glob "app-*"`},
		"a slash in the glob":     {with(func(s *Start) { s.Args = []string{"restart", "app-/x"} }), "argument 2 is"},
		"an argument less":        {with(func(s *Start) { s.Args = []string{"restart"} }), "it has 1 arguments, and the rule has 2"},
		"another value":           {with(func(s *Start) { s.Env["TZ"] = "CET" }), `the variable TZ is "CET", and the rule has "UTC"`},
		"not in a value's glob":   {with(func(s *Start) { s.Env["MODE"] = "slow" }), `the variable MODE is "slow"`},
		"a variable more":         {with(func(s *Start) { s.Env["PATH"] = "/tmp" }), "it sets the variable PATH"},
		"further arguments":       {own(Start{Program: dir + "/bin/tool", Args: []string{"sync", "a", "b", "c"}, Env: map[string]string{"CARILLON_PARAM_X": "1"}}), ""},
		"too few of them":         {own(Start{Program: dir + "/bin/tool", Args: []string{"sync"}}), `it has the arguments ["sync"], and the rule has 0`},
		"one file, another name":  {own(Start{Program: dir + "/bin/other", Args: []string{"x"}}), ""},
		"a name without a rule":   {own(Start{Program: dir + "/bin/evil"}), "the program is " + dir + "/bin/evil, and the rule has"},
		"a link to another file":  {own(Start{Program: dir + "/bin/fake"}), "the program is " + dir + "/bin/fake"},
		"one name, another place": {own(Start{Program: dir + "/else/tool"}), "the program is " + dir + "/else/tool"},
		"a shell":                 {own(Start{Program: "/bin/sh", Args: []string{"-c", dir + "/bin/tool"}}), "the program is"},
		"the script":              {own(Start{Program: "/bin/sh", Lead: []string{"-eu"}, Script: low, Args: []string{"users"}}), ""},
		"another text":            {own(Start{Program: "/bin/sh", Lead: []string{"-eu"}, Script: job.ScriptSum("x"), Args: []string{"users"}}), `rule "vacuum"`},
		"another interpreter":     {own(Start{Program: "/bin/cat", Lead: []string{"-eu"}, Script: low, Args: []string{"users"}}), "the interpreter is"},
		"its arguments":           {own(Start{Program: "/bin/sh", Lead: []string{"-c", "evil"}, Script: low, Args: []string{"users"}}), `the interpreter has the arguments ["-c" "evil"], and the rule has ["-eu"]`},
		"a script's arguments":    {own(Start{Program: "/bin/sh", Lead: []string{"-eu"}, Script: low, Args: []string{"-x"}}), "argument 1 is"},
		"the handler":             {own(Start{Handler: "mail", Args: []string{"a@example.org"}}), ""},
		"another handler":         {own(Start{Handler: "rm", Args: []string{"a@example.org"}}), "the Go handler rm is to run, and the rule has the Go handler mail"},
		"a handler's arguments":   {own(Start{Handler: "mail", Args: []string{"a@b"}}), "argument 1 is"},
		"a handler's variable":    {own(Start{Handler: "mail", Args: []string{"a@example.org"}, Env: map[string]string{"A": "b"}}), "it sets the variable A"},
		"a program that is gone":  {own(Start{Program: dir + "/bin/gone"}), "no such file"},
	} {
		_, err := l.Check(&c.start, os.Geteuid())
		if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s: %v, want %q", name, err, c.refusal)
		}
	}
	empty, err := Parse("f", []byte("rules: []"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Check(&Start{Program: "/bin/sh", Own: true}); err == nil || !strings.Contains(err.Error(), "has no rules") {
		t.Errorf("no rules: %v", err)
	}
}

// What others could change holds nothing (I3).
func TestListRefusesWhatOthersCouldChange(t *testing.T) {
	t.Parallel()
	dir := place(t)
	l, err := Parse("f", []byte("rules: [{name: tool, program: "+dir+"/bin/tool}]"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		_, err := l.Check(&Start{Program: dir + "/sbin/tool", Own: true}, os.Geteuid())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `rule "tool"`)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("")
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(dir+"/bin/tool", 0o775)
	check(dir + "/bin/tool can be written by others")
	chmod(dir+"/bin/tool", 0o755)
	chmod(dir+"/bin", 0o777)
	check(dir + "/bin can be written by others")
	chmod(dir+"/bin", 0o777|os.ModeSticky)
	check("")
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(dir+"/bin/tool", 4711, 4711); err != nil {
		t.Fatal(err)
	}
	check(dir + "/bin/tool belongs to the account 4711")
	if _, err := l.Check(&Start{Program: dir + "/sbin/tool", Own: true}, 4711); err != nil {
		t.Errorf("for its owner: %v", err)
	}
	if err := os.Chown(dir+"/bin/tool", 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(dir+"/sbin", 4711, 4711); err != nil {
		t.Fatal(err)
	}
	check(dir + "/sbin belongs to the account 4711")
}

// A file is taken as a whole, or all that is wrong with it is told (I5).
func TestParseTellsAllProblems(t *testing.T) {
	t.Parallel()
	problems := func(err error) []string {
		t.Helper()
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) {
			t.Fatalf("%v", err)
		}
		var all []string
		for _, p := range invalid.Problems {
			all = append(all, p.String())
		}
		return all
	}
	for text, want := range map[string][]string{
		"":                 {"f: has no rules"},
		"rule: []\n":       {`f:1: rule: this field is unknown; did you mean "rules"?`, "f:1: rules: is not given as a list"},
		"rules:\n  a: [\n": {"f:2: this is not YAML"},
		`rules:
  - {name: a, program: uptime}
  - {name: a, program: /bin/a, script: 12ab, arg: [x]}
  - {interpreter: [sh], args: x, user: {}, workingDir: tmp, env: {"A*": any, CARILLON_PARAM_X: b, B: {globe: x}, C: {any: no}}}
  - {script: ` + sum + `, interpreter: sh, args: [{glob: "[x"}, {rest: any}, {rest: some}, [x]], env: x, params: [[]], name: [x]}
  - text
  - {handler: , program: /bin/../x}
`: {
			`f:2: rules[0].program: "uptime" is not an absolute path`,
			"f:3: rules[1].arg: this field is unknown", `f:3: rules[1].script: "12ab" is not the SHA-256`, "f:3: rules[1]: has 2 of program, script and handler", `f:3: rules[1].name: "a" is the name of the rule in line 2`,
			"f:4: rules[2]: has 0 of", "f:4: rules[2].interpreter: is for script", "f:4: rules[2].args: is neither a list nor", "f:4: rules[2].user: is not a list", `f:4: rules[2].workingDir: "tmp" is not`,
			"f:4: rules[2].env.A*: is not the name of a variable", "f:4: rules[2].env.CARILLON_PARAM_X: is a parameter; name it in params, as in params: [x]", "f:4: rules[2].env.B.globe: this field is unknown", `f:4: rules[2].env.C.any: is "no"`,
			"f:5: rules[3].name: is not text", "f:5: rules[3].interpreter: begins with no absolute path", `f:5: rules[3].args[0].glob: "[x" is not a pattern`, "f:5: rules[3].args[1]: rest is for the last entry",
			"f:5: rules[3].args[2]: rest is for the last entry, and has the value any", "f:5: rules[3].args[3]: is neither text nor", "f:5: rules[3].env: is not a mapping", "f:5: rules[3].params[0]: is not text",
			"f:6: rules[4]: is not a mapping", "f:7: rules[5].handler: has no value", `f:7: rules[5].program: "/bin/../x" is not an absolute path without`,
		},
		"# a list\n/usr/bin/uptime\nsystemctl restart app-* # these\n/usr/bin/rsync ...\n\nscript " + sum + " bash -e\nenv TZ\n": {
			"f:2: this is the former format, which did not say as whom, where and with what a program runs; write, below a line rules:, - {program: /usr/bin/uptime, args: []}",
			`- {program: systemctl, args: ["restart", {glob: "app-*"}]}, and user: where it is not the minion's own account, with the program's absolute path`,
			"- {program: /usr/bin/rsync, args: [{rest: any}]}", "- {script: " + sum + ", interpreter: [bash, -e], args: any}", `in each rule that needs them: env: {"TZ": {any: true}}`,
		},
	} {
		_, err := Parse("f", []byte(text))
		got := problems(err)
		if len(got) != len(want) {
			t.Errorf("%s\n%d problems, want %d:\n%s", text, len(got), len(want), strings.Join(got, "\n"))
			continue
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				t.Errorf("missing: %s\n%s", w, strings.Join(got, "\n"))
			}
		}
	}
	file := filepath.Join(t.TempDir(), "allow.yaml")
	if err := os.WriteFile(file, []byte("rules: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(file, 0o666); err != nil { // that is the point
		t.Fatal(err)
	}
	_, err := Read(file)
	if got := problems(err); len(got) != 1 || !strings.Contains(got[0], "can be written by others") {
		t.Errorf("a file that all may write: %q", got)
	}
	if _, err := Read(file + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// The list that the documentation shows is one, and does what is said there.
func TestDocumentedListHolds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/minions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok1 := bytes.Cut(text, []byte("```yaml\nrules:"))
	text, _, ok2 := bytes.Cut(text, []byte("```"))
	l, err := Parse("docs/minions.md", append([]byte("rules:"), text...))
	if err != nil || !ok1 || !ok2 || len(l.rules) != 5 {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		start Start
		ok    bool
	}{
		"as it stands":     {Start{Program: "/usr/bin/id", Own: true}, true},
		"with an argument": {Start{Program: "/usr/bin/id", Own: true, Args: []string{"-u"}}, false},
		"as somebody":      {Start{Program: "/usr/bin/id", User: "deploy", UID: 1000}, false},
		"with a variable":  {Start{Program: "/usr/bin/id", Own: true, Env: map[string]string{"BASH_ENV": "/x"}}, false},
		"a handler":        {Start{Handler: "mail", Own: true}, true},
	} {
		if _, err := l.Check(&c.start); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: no file crashes the minion, and none that is taken lets an order set
// a variable that it does not name.
func FuzzParse(f *testing.F) {
	f.Add([]byte(rules))
	f.Add([]byte("rules: []"))
	f.Add([]byte("/usr/bin/uptime ...\nscript x\nenv A*\n"))
	f.Add([]byte("rules: [{program: /bin/true, args: any, user: root, env: {A: {any: true}}}]"))
	f.Add([]byte("rules: &a [*a]"))
	fuzzed.Run(f, func(t *testing.T, text []byte) {
		l, err := Parse("f", text)
		if err != nil {
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || l != nil {
				t.Fatalf("%v", err)
			}
			return
		}
		const name = "LD_PRELOAD_OF_NOBODY"
		if strings.Contains(string(text), name) {
			return
		}
		for _, path := range []string{"/bin/true", "/bin/sh"} {
			if _, err := l.Check(&Start{Program: path, Own: true, Env: map[string]string{name: "x"}}); err == nil {
				t.Errorf("%s starts with %s", path, name)
			}
		}
	})
}

// Who stands behind a start is bounded where a rule names subjects: who has caused it, and
// who has applied what is started (I6).
func TestI6_Subjects(t *testing.T) {
	t.Parallel()
	dir := place(t)
	l, err := Parse("f", []byte(strings.ReplaceAll(`rules:
  - {name: some, program: DIR/bin/tool, args: [asked], subjects: [ada@example.org, {glob: "token *"}]}
  - {name: any, program: DIR/bin/tool, args: [known], subjects: [{any: true}]}
  - {name: anybody, program: DIR/bin/tool, args: [plain]}
`, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ arg, author, subject, refusal, jobAuthor string }{
		{"plain", "", "", "", ""},
		{"plain", "eve", "mallory", "", ""},
		{"asked", "ada@example.org", "ada@example.org", "", ""},
		{"asked", "ada@example.org", "token ci", "", ""},
		{"asked", "token ci", "ada@example.org", "", ""},
		{"asked", "ada@example.org", "mallory", `mallory asked for the start, and the rule has the subjects "ada@example.org", the glob "token *"`, ""},
		{"asked", "mallory", "ada@example.org", "mallory applied the job, and the rule has", ""},
		{"asked", "ada@example.org (not proven)", "ada@example.org (not proven)", "(not proven) applied the job", ""},
		{"asked", "", "ada@example.org", "nobody knows who applied the job", ""},
		{"asked", "ada@example.org", "", "nobody knows who asked for the start", ""},
		{"asked", "ada@example.org", "token ci", "", "ada@example.org"},
		{"asked", "ada@example.org", "token ci", "mallory applied the job that put the item, and the rule has", "mallory"},
		{"known", "eve", "mallory", "", ""},
		{"known", "", "", "nobody knows who applied the job", ""},
	} {
		_, err := l.Check(&Start{Program: dir + "/bin/tool", Args: []string{c.arg}, Own: true, Author: c.author, Subject: c.subject, JobAuthor: c.jobAuthor}, os.Geteuid())
		if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, wrong := range []string{"[]", "ada", `[""]`, "[{glob: '['}]", "[[ada]]", "{any: true}"} {
		if _, err := Parse("f", []byte("rules: [{handler: x, subjects: "+wrong+"}]")); err == nil {
			t.Errorf("subjects: %s is taken", wrong)
		}
	}
}
