package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

func list(t *testing.T, format string, args ...any) *List {
	t.Helper()
	l, err := Parse("list.yaml", fmt.Appendf(nil, format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

var billing = job.Key{Namespace: "billing", Name: "close"}

func TestS1_OnlyWhatARuleNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := write(t, dir+"/own", "mine", 0o600)
	write(t, dir+"/other", "theirs", 0o600)
	if err := os.Mkdir(dir+"/sub", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/sub/deep", "deep", 0o600)
	for name, c := range map[string]struct {
		rules string
		ref   job.SecretRef
		of    job.Key
		want  string
	}{
		"a path":             {"{file: " + own + "}", job.SecretRef{File: own}, billing, "mine"},
		"a glob":             {"{file: " + dir + "/*}", job.SecretRef{File: own}, billing, "mine"},
		"a glob is not deep": {"{file: " + dir + "/*}", job.SecretRef{File: dir + "/sub/deep"}, billing, ""},
		"another path":       {"{file: " + own + "}", job.SecretRef{File: dir + "/other"}, billing, ""},
		"up again":           {"{file: " + dir + "/*}", job.SecretRef{File: dir + "/sub/../own"}, billing, ""},
		"their job":          {"{file: " + own + ", jobs: [billing/*]}", job.SecretRef{File: own}, billing, "mine"},
		"not their job":      {"{file: " + own + ", jobs: [billing/*]}", job.SecretRef{File: own}, job.Key{Namespace: "search", Name: "close"}, ""},
		"not its name":       {"{file: " + own + ", jobs: [billing/open]}", job.SecretRef{File: own}, billing, ""},
		"a variable":         {"{env: HOME}", job.SecretRef{Env: "HOME"}, billing, os.Getenv("HOME")},
		"another variable":   {"{env: HOME}", job.SecretRef{Env: "PATH"}, billing, ""},
		"a program":          {"{exec: [/bin/echo, a]}", job.SecretRef{Exec: []string{"/bin/echo", "a"}}, billing, "a"},
		"other arguments":    {"{exec: [/bin/echo, a]}", job.SecretRef{Exec: []string{"/bin/echo", "a", "b"}}, billing, ""},
		"a file of that":     {"{exec: [/bin/echo]}", job.SecretRef{File: "/bin/echo"}, billing, ""},
		"two at once":        {"{file: " + own + "}", job.SecretRef{File: own, Env: "HOME"}, billing, ""},
	} {
		l := list(t, "rules: [%s]", c.rules)
		got, err := l.Find(t.Context(), c.of, &c.ref)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	if _, err := (*List)(nil).Find(t.Context(), billing, &job.SecretRef{Env: "HOME"}); err == nil {
		t.Error("a minion without a list tells something")
	}
}

// Whoever can change a file, a link or a directory would have the minion read another
// file.
func TestS2_NobodyElseCouldChangeTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := write(t, dir+"/good", "value", 0o600)
	open := write(t, dir+"/open", "value", 0o666)
	loose := dir + "/loose"
	if err := os.Mkdir(loose, 0o700); err != nil {
		t.Fatal(err)
	}
	within := write(t, loose+"/file", "value", 0o600)
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"/link": good, "/toloose": within, "/dev": "/dev/zero"} {
		if err := os.Symlink(to, dir+link); err != nil {
			t.Fatal(err)
		}
	}
	l := list(t, "rules: [{file: %s/*}, {file: %s/*}]", dir, loose)
	for path, want := range map[string]string{
		good: "", dir + "/link": "", open: "can be written by others", within: "can be written by others", dir + "/toloose": "can be written by others",
		dir + "/dev": "", loose: "can be written", dir + "/none": "does not exist",
	} {
		got, err := l.Find(t.Context(), billing, &job.SecretRef{File: path})
		is := want == "" && path != dir+"/dev"
		if is != (err == nil && got == "value") || want != "" && !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
}

// A program that was written a moment ago is busy while somebody still has it open, such
// as a process that was forked meanwhile.
func TestS3_BusyProgramsAreWaitedFor(t *testing.T) {
	t.Parallel()
	program := write(t, t.TempDir()+"/tell", "#!/bin/sh\necho value\n", 0o700)
	f, err := os.OpenFile(program, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	busy, tries := exec.Command(program).Run(), 0
	got, err := begin(t.Context(), func() *exec.Cmd {
		if tries++; tries == 3 {
			_ = f.Close()
		}
		return exec.Command(program)
	})
	if !errors.Is(busy, syscall.ETXTBSY) || err != nil || tries < 3 {
		t.Fatalf("busy: %v; begun in %d tries: %v", busy, tries, err)
	}
	if err := got.Wait(); err != nil {
		t.Error(err)
	}
}

func TestS3_ProgramsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := func(name, text string) string { return write(t, dir+"/"+name, "#!/bin/sh\n"+text, 0o700) }
	names := []string{
		program("fails", "echo hunter2; echo hunter2 >&2; exit 3"),
		program("floods", "exec yes hunter2"),
		program("who", `echo "$CARILLON_NAMESPACE $CARILLON_JOB"`),
		program("none", "echo >&2 x"),
	}
	var rules []string
	for _, n := range names {
		rules = append(rules, "{exec: ["+n+"]}")
	}
	l := list(t, "rules: [%s]", strings.Join(rules, ", "))
	for i, want := range []string{"exit status 3", "more than 65536 bytes", "", "is empty"} {
		got, err := l.Find(t.Context(), billing, &job.SecretRef{Exec: []string{names[i]}})
		if want != "" && (!strings.Contains(fmt.Sprint(err), want) || strings.Contains(err.Error(), "hunter2")) || want == "" && got != "billing close" {
			t.Errorf("%s: %q, %v; want %q", names[i], got, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Find(ctx, billing, &job.SecretRef{Exec: names[:1]}); err == nil {
		t.Error("a program outlives the minion")
	}
}

func TestS5_Values(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := list(t, "rules: [{file: %s/*}]", dir)
	for name, c := range map[string]struct{ text, want, err string }{
		"plain":        {"a b", "a b", ""},
		"line":         {"a\n", "a", ""},
		"two lines":    {"a\n\n", "a\n", ""},
		"windows":      {"a\r\n", "a", ""},
		"empty":        {"\n", "", "is empty"},
		"zero":         {"a\x00b", "", "zero byte"},
		"as large":     {strings.Repeat("x", job.MaxSecretBytes), strings.Repeat("x", job.MaxSecretBytes), ""},
		"too large":    {strings.Repeat("x", job.MaxSecretBytes+1), "", "more than 65536 bytes"},
		"not a letter": {"\xff", "\xff", ""},
	} {
		file := write(t, filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), c.text, 0o600)
		got, err := l.Find(t.Context(), billing, &job.SecretRef{File: file})
		if got != c.want || c.err == "" && err != nil || c.err != "" && !strings.Contains(fmt.Sprint(err), c.err) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestS6_BadListsAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                    "has no rules",
		"{}":                                  "has no rules",
		"rules: {a: b}":                       "cannot unmarshal",
		"rules: [{file: /a}]\nmore: 1":        "more",
		"rules: [{file: /a}]\n---\nrules: []": "more than one document",
		"rules: [a]":                          "rules[0]: is not a mapping",
		"rules: [{path: /a}]":                 "rules[0].path: this field is unknown",
		"rules: [{}]":                         "has 0 of file, env, exec and name",
		"rules: [{file: /a, env: B}]":         "has 2 of file, env, exec and name",
		"rules: [{file: a}]":                  "is not an absolute path",
		"rules: [{file: /a/../b}]":            "is not an absolute path",
		"rules: [{file: '/[a'}]":              "is not a pattern",
		"rules: [{env: CARILLON_JOIN_TOKEN}]": "Carillon's own",
		"rules: [{exec: [vault]}]":            "is not the absolute path of a program",
		"rules: [{env: A, jobs: [x]}]":        "is neither NAMESPACE/NAME nor a glob",
		"rules: [{env: A, jobs: []}]":         "names no job",
	} {
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Parse("f", []byte("rules: []")); err != nil {
		t.Errorf("an empty list: %v", err)
	}
	file := write(t, t.TempDir()+"/list", "rules: []", 0o622)
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("a list that others may write: %v", err)
	}
	if _, err := Read(write(t, t.TempDir()+"/list", "rules: []", 0o644)); err != nil {
		t.Error(err)
	}
}

// FuzzParse: no file crashes the minion, and none that is taken tells what is Carillon's
// own, or lets a job read a path that is not clean.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"rules: []", "rules: [{file: /a/*, jobs: ['*/*']}, {env: A}, {exec: [/bin/a, b]}]", "rules:\n- &a {env: A}\n- *a", "rules: [{env: CARILLON_JOIN_TOKEN}]", "rules: [{file: '/**'}]", "- a",
	} {
		f.Add([]byte(text))
	}
	fuzzed.Run(f, func(t *testing.T, text []byte) {
		l, err := Parse("f", text)
		if err != nil {
			return
		}
		for _, ref := range []job.SecretRef{{Env: "CARILLON_JOIN_TOKEN"}, {File: "/etc/../etc/shadow"}, {File: "etc"}, {}, {Exec: []string{"sh"}}} {
			if v, err := l.Find(t.Context(), billing, &ref); err == nil {
				t.Errorf("%q lets a job have the %s: %q", text, &ref, v)
			}
		}
	})
}
