package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// storedBackup is the job "backup" of the fake as it is stored.
const storedBackup = `apiVersion: carillon/v1
kind: Job
metadata:
  namespace: default
  name: backup
  labels:
    team: db
    tier: "1"
spec:
  schedules: ['*/5 * * * *']
  timeZone: America/New_York
  command: [/usr/bin/backup, --all, a b]
  env:
    LEVEL: "9"
  target:
    labels:
      role: db
  timeout: 10m0s
  retry:
    attempts: 3
`

func TestDiff(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	changed := strings.Replace(storedBackup, "attempts: 3", "attempts: 5", 1)
	got := carillon(t.Context(), f, changed, "diff", "-f", "-")
	want := `diff stored/job/default/backup applied/job/default/backup
--- stored/job/default/backup
+++ applied/job/default/backup
@@ -17,4 +17,4 @@
       role: db
   timeout: 10m0s
   retry:
-    attempts: 3
+    attempts: 5
`
	if diff := cmp.Diff(result{exitDiffers, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("an update (-want +got):\n%s", diff)
	}
	if len(f.applied) != 0 {
		t.Errorf("applied %v, want nothing", f.applied)
	}
	// What the file has in short forms, or in another order, is no difference.
	short := strings.NewReplacer("schedules: ['*/5 * * * *']", "schedule: '*/5 * * * *'", "10m0s", "10m", "  namespace: default\n", "").Replace(changed)
	if got := carillon(t.Context(), f, short, "diff", "-f", "-"); got.stdout != want {
		t.Errorf("short forms: got\n%s", got)
	}
	made := "apiVersion: carillon/v1\nkind: Job\nmetadata:\n  name: one\nspec: {command: [x]}\n"
	if got := carillon(t.Context(), f, made, "diff", "-f", "-"); got.code != exitDiffers || !strings.Contains(got.stdout, "--- /dev/null\n+++ applied/job/default/one\n@@ -0,0 +1,7 @@\n+apiVersion: carillon/v1\n") {
		t.Errorf("one that is not there: got\n%s", got)
	}
	if got := carillon(t.Context(), f, changed, "diff", "-f", "-", "-o", "name"); got.code != exitDiffers || got.stdout != "default/backup\n" {
		t.Errorf("names: got\n%s", got)
	}
	f.same = map[string]bool{"backup": true}
	if got := carillon(t.Context(), f, storedBackup, "diff", "-f", "-"); got.String() != (result{}).String() {
		t.Errorf("no difference: got\n%s", got)
	}
}

// TestDiffErrors: the exit code of an error is never that of a difference.
func TestDiffErrors(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got := carillon(t.Context(), f, "name: bad", "diff", "-f", "-"); got.code != exitUsage || got.stdout != "" {
		t.Errorf("a file with problems: got\n%s", got)
	}
	f.status["POST /v1/apply"] = http.StatusInternalServerError
	if got := carillon(t.Context(), f, storedBackup, "diff", "-f", "-"); got.code <= exitDiffers || got.stdout != "" {
		t.Errorf("a server that fails: got\n%s", got)
	}
	delete(f.status, "POST /v1/apply")
	f.status["GET /v1/namespaces/default/jobs/backup"] = http.StatusNotFound
	if got := carillon(t.Context(), f, storedBackup, "diff", "-f", "-"); got.code != exitDiffers || !strings.Contains(got.stderr, "job default/backup would be updated; what is stored is not shown to you") {
		t.Errorf("what one may not read: got\n%s", got)
	}
}

func TestApplyDirectories(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"a.yaml": "name: a"})
	for _, sub := range []string{"deep/er", ".git"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{"deep/er/b.yaml": "name: b", ".git/c.yaml": "name: c"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := newFake(t)
	if got := carillon(t.Context(), f, "", "apply", "-f", dir); got.stdout != "job default/a created\n" {
		t.Errorf("got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "apply", "-R", "-f", dir); got.stdout != "job default/a created\njob default/b created\n" {
		t.Errorf("-R: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "apply", "-f", filepath.Join(dir, "deep")); got.code != exitUsage || !strings.Contains(got.stderr, "-R looks into those below it") {
		t.Errorf("a directory of directories: got\n%s", got)
	}
}

func TestDryRuns(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	for flag, want := range map[string]string{
		"--dry-run": "job default/backup updated (dry run)\n", "--dry-run=server": "job default/backup updated (dry run)\n", "--dry-run=true": "job default/backup updated (dry run)\n",
		"--dry-run=client": "job default/backup checked (dry run)\n",
	} {
		f.asked = map[string]int{}
		if got := carillon(t.Context(), f, storedBackup, "apply", flag, "-f", "-"); got.code != 0 || got.stdout != want || len(f.applied) != 0 {
			t.Errorf("%s: applied %v, got\n%s", flag, f.applied, got)
		}
		if n := f.asked["POST /v1/apply"]; (n == 0) != (flag == "--dry-run=client") {
			t.Errorf("%s asked the server %d times", flag, n)
		}
	}
	if got := carillon(t.Context(), f, strings.Replace(storedBackup, "attempts: 3", "attempts: x", 1), "apply", "--dry-run=client", "-f", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "stdin:20:15: spec.retry.attempts: ") {
		t.Errorf("a problem, without a server: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "apply", "--dry-run=serv", "-f", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "want server, client or none") {
		t.Errorf("another word: got\n%s", got)
	}
	if got := carillon(t.Context(), f, storedBackup, "apply", "--dry-run=none", "-f", "-"); got.stdout != "job default/backup updated\n" || len(f.applied) != 1 {
		t.Errorf("none: got\n%s", got)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) *fake {
		f := withExamples(newFake(t))
		more := f.jobs[0]
		for _, name := range []string{"old", "older"} {
			more.Name = name
			f.jobs = append(f.jobs, more)
		}
		more.Name, more.Labels = "other", nil
		f.jobs = append(f.jobs, more)
		return f
	}
	for name, c := range map[string]struct {
		args           string
		code           int
		stdout, stderr string
		left           int // jobs, of five
	}{
		"by label":               {"-l team=db --yes", 0, "job default/backup updated\njob default/old pruned\njob default/older pruned\n", "", 3},
		"by label and namespace": {"-l team=db -n default --yes", 0, "job default/backup updated\njob default/old pruned\njob default/older pruned\n", "", 3},
		"by namespace":           {"-n default --yes", 0, "job default/backup updated\njob default/old pruned\njob default/older pruned\njob default/other pruned\n", "", 2},
		"a dry run":              {"-l team=db --dry-run", 0, "job default/backup updated (dry run)\njob default/old pruned (dry run)\njob default/older pruned (dry run)\n", "", 5},
		"without --yes":          {"-l team=db", exitUsage, "", "--prune deletes 2 jobs (job default/old, job default/older), and nothing has been done yet; add --yes", 5},
		"within nothing":         {"--yes", exitUsage, "", "by --namespace NAME, --label KEY=VALUE or both", 5},
		"a label that all have that the files have not": {"-l tier=2 --yes", 0, "job default/backup updated\n", "", 5},
		"by the client": {"-l team=db --dry-run=client", exitUsage, "", "--dry-run=server", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fresh(t)
			got := carillon(t.Context(), f, storedBackup, append([]string{"apply", "--prune", "-f", "-"}, strings.Fields(c.args)...)...)
			if got.code != c.code || got.stdout != c.stdout || !strings.Contains(got.stderr, c.stderr) || len(f.jobs) != c.left {
				t.Errorf("%d jobs are left, want %d; got\n%s", len(f.jobs), c.left, got)
			}
			if (len(f.applied) > 0) != (c.code == 0 && !strings.Contains(c.args, "dry-run")) {
				t.Errorf("applied %v", f.applied)
			}
		})
	}
	// The wrong directory: no file holds what is there.
	f := fresh(t)
	got := carillon(t.Context(), f, strings.Replace(storedBackup, "name: backup", "name: another", 1), "apply", "--prune", "-l", "team=db", "--yes", "-f", "-")
	if got.code != exitUsage || !strings.Contains(got.stderr, "--prune would delete every job there (default/backup, default/old, default/older), as no file holds one of them") || len(f.jobs) != 5 || len(f.applied) != 0 {
		t.Errorf("all: got\n%s", got)
	}
	// Groups are in no file, so none is pruned, and roles lie in no namespace.
	if len(f.groups) != len(exampleGroups()) {
		t.Errorf("groups were pruned: %v", f.groups)
	}
	if got := carillon(t.Context(), f, storedBackup, "apply", "-l", "team=db", "-f", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "add --prune") {
		t.Errorf("a label alone: got\n%s", got)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	names := func(args ...string) string {
		return carillon(t.Context(), f, "", append([]string{"export", "-o", "name"}, args...)...).String()
	}
	tail := "-- stderr --\n-- exit code 0 --\n"
	for args, want := range map[string]string{
		"":                         "calendar/default/holidays\ngroup/default/ledger\njob/default/backup\n",
		"jobs":                     "job/default/backup\n",
		"job gr":                   "group/default/ledger\njob/default/backup\n",
		"jobs -A":                  "job/default/backup\njob/team/report\n",
		"jobs -A -l team=db":       "job/default/backup\n",
		"Job/team/report":          "job/team/report\n",
		"jobs/report -n team":      "job/team/report\n",
		"role":                     "role/deployer\n", // not those that every cluster has
		"hg/canary role/deployer":  "role/deployer\nhostgroup/canary\n",
		"jobs job/backup":          "job/default/backup\n",
		"job backup":               "job/default/backup\n",
		"-l team=db -n default":    "group/default/ledger\njob/default/backup\n",
		"cal":                      "calendar/default/holidays\n",
		"rolebind/everybody":       "rolebinding/everybody\n",
		"role-bindings/everybody ": "rolebinding/everybody\n",
	} {
		if got := names(strings.Fields(args)...); got != want+tail {
			t.Errorf("export %s: want\n%s, got\n%s", args, want, got)
		}
	}
	for args, want := range map[string]string{"jbos": `did you mean "jobs"?`, "r": `unknown kind "r"`, "ro": `unknown kind "ro"`} {
		if got := carillon(t.Context(), f, "", "export", args); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("export %s: want %q, got\n%s", args, want, got)
		}
	}
	if got := carillon(t.Context(), f, "", "export", "job/nope"); got.code != exitNotFound {
		t.Errorf("one that is not there: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "export", "job/backup"); got.stdout != storedBackup {
		t.Errorf("want\n%s, got\n%s", storedBackup, got)
	}
}

// TestExportsAreAppliedBack: what is printed is what is stored, in both forms.
func TestExportsAreAppliedBack(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.jobs[1].Spec.Schedules = []string{"@daily"} // without one it is nothing that apply takes
	var texts []string
	for _, form := range []string{"yaml", "json"} {
		got := carillon(t.Context(), f, "", "export", "jobs", "cal", "hg", "role", "rb", "-A", "-o", form)
		if got.code != 0 {
			t.Fatalf("got\n%s", got)
		}
		objects, err := manifest.Decode(form, []byte(got.stdout))
		if err != nil {
			t.Fatalf("%v in\n%s", err, got.stdout)
		}
		text, err := manifest.Encode(objects...)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		for i := range objects {
			if objects[i].Kind == job.KindJob && cmp.Diff(f.jobs[len(f.jobs)-len(objects)+i].Spec, objects[i].Spec) != "" {
				t.Errorf("%s: %s is another one:\n%s", form, objects[i].Metadata.Key(), got.stdout)
			}
		}
	}
	if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
		t.Errorf("(-yaml +json):\n%s", diff)
	}
	one := carillon(t.Context(), f, "", "export", "job/backup", "-o", "json")
	var v map[string]any
	if err := json.Unmarshal([]byte(one.stdout), &v); err != nil || v["status"] != nil || v["kind"] != "Job" {
		t.Errorf("one object, and no list: %v in %s", err, one)
	}
}

// editor writes an editor: a shell script that gets the file as $1.
func editor(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEdit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script         string
		args           string
		code           int
		stdout, stderr string
		applied        int
		kept           string // in the file that is left
		prep           func(*fake)
	}{
		"changed":              {script: `sed -i 's/attempts: 3/attempts: 5/' "$1"`, stdout: "job default/backup updated\n", applied: 1},
		"two words":            {script: `sed -i 's/attempts: 3/attempts: 5/' "$1"`, args: "job backup", stdout: "job default/backup updated\n", applied: 1},
		"a name alone":         {script: `sed -i 's/attempts: 3/attempts: 5/' "$1"`, args: "backup", stdout: "job default/backup updated\n", applied: 1},
		"unchanged":            {script: `:`, stderr: "job default/backup: nothing was changed\n"},
		"empty":                {script: `: > "$1"`, stderr: "job default/backup: the text is empty, so nothing was changed\n"},
		"an editor that fails": {script: `exit 3`, code: exitFailed, stderr: "exit status 3; VISUAL or EDITOR names another"},
		"no such job":          {script: `:`, args: "job/nope", code: exitNotFound, stderr: "job default/nope: not found"},
		"no such kind":         {script: `:`, args: "jbo/nope", code: exitUsage, stderr: `did you mean "job"?`},
		// The first time there is no head with problems; the second time it is mended.
		"mended": {script: `if grep -q 'not applied' "$1"; then sed -i 's/attempts: x/attempts: 5/' "$1"; else sed -i 's/attempts: 3/attempts: x/' "$1"; fi`,
			stdout: "job default/backup updated\n", applied: 1},
		"given up": {script: `sed -i 's/attempts: 3/attempts: x/' "$1"`, code: exitUsage,
			stderr: "spec.retry.attempts: ", kept: "#> It was not applied:\n#> line:23:15: spec.retry.attempts: "},
		"never right": {script: `sed -i 's/attempts: 3/attempts: x/; s/attempts: x/attempts: xx/' "$1"`, code: exitUsage, stderr: "spec.retry.attempts: ", kept: "attempts: xxxx"},
		"renamed":     {script: `sed -i 's/name: backup/name: other/' "$1"`, code: exitUsage, stderr: "this is job default/other now; what is edited is job default/backup"},
		"changed by another": {script: `sed -i 's/attempts: 3/attempts: 5/' "$1"`, code: exitConflict, stderr: "changed by somebody else meanwhile", kept: "attempts: 5",
			prep: func(f *fake) {
				f.seen = func(f *fake, what string) {
					if what == "POST /v1/apply" {
						f.jobs[0].Spec.Retry.Attempts = 9
					}
				}
			}},
		"not allowed": {script: `sed -i 's/attempts: 3/attempts: 5/' "$1"`, code: exitNotAllowed, stderr: "as the test wants", kept: "attempts: 5",
			prep: func(f *fake) { f.status["POST /v1/apply"] = http.StatusForbidden }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := withExamples(newFake(t))
			if c.prep != nil {
				c.prep(f)
			}
			tmp := t.TempDir()
			script := editor(t, fmt.Sprintf("cp \"$1\" %q\n%s", filepath.Join(tmp, "last"), c.script))
			a, out := testApp(f, append([]string{"edit"}, strings.Fields(orText(c.args, "job/backup"))...), "EDITOR="+script)
			got := out(a.main(t.Context()))
			if got.code != c.code || got.stdout != c.stdout || !strings.Contains(got.stderr, c.stderr) || len(f.applied) != c.applied {
				t.Errorf("applied %v, got\n%s", f.applied, got)
			}
			_, path, left := strings.Cut(got.stderr, "your text is kept in ")
			if left != (c.kept != "" || c.code == exitUsage && c.args == "") {
				t.Errorf("the file is left: %v; got\n%s", left, got)
			}
			if !left {
				return
			}
			path, _, _ = strings.Cut(path, ",")
			text, err := os.ReadFile(path)
			_ = os.Remove(path)
			if err != nil || !strings.Contains(string(text), c.kept) {
				t.Errorf("want %q in the file that is left: %v\n%s", c.kept, err, text)
			}
		})
	}
}
