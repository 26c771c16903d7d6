package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// closedPort returns an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	gone := closedPort(t)
	for name, c := range map[string]struct {
		args   string
		code   int
		stderr string
		prep   func(*fake)
	}{
		"ok":                {args: "get jobs", code: 0},
		"unknown verb":      {args: "aply -f x", code: exitUsage, stderr: `did you mean "apply"?`},
		"verb then flag":    {args: "aply --nope", code: exitUsage, stderr: `unknown verb "aply"`},
		"unknown flag":      {args: "run --wiat backup", code: exitUsage, stderr: "did you mean --wait?"},
		"unknown noun":      {args: "get jbos", code: exitUsage, stderr: `did you mean "jobs"?`},
		"no noun":           {args: "describe", code: exitUsage, stderr: "job, lock, minion, node, notifier, queue, role, run"},
		"bad format":        {args: "get jobs -o jsn", code: exitUsage, stderr: `did you mean "json"?`},
		"bad state":         {args: "runs --state faild", code: exitUsage, stderr: `did you mean "failed"?`},
		"bad limit":         {args: "runs --limit 0", code: exitUsage, stderr: "--limit 0"},
		"bad label":         {args: "get jobs -l x", code: exitUsage, stderr: "KEY=VALUE"},
		"bad name":          {args: "get job a%b", code: exitUsage, stderr: "a%b"},
		"bad namespace":     {args: "get jobs -n ../x", code: exitUsage, stderr: "--namespace"},
		"bad server":        {args: "get jobs --server ftp://x", code: exitUsage, stderr: "want a URL"},
		"bad timeout":       {args: "get jobs --timeout -3s", code: exitUsage, stderr: "above zero"},
		"two names":         {args: "get job a b", code: exitNotFound, stderr: "job default/b: not found"},
		"two runs to start": {args: "run a b", code: exitUsage, stderr: "specify one job"},
		"two kinds":         {args: "get job/a group/b", code: exitUsage, stderr: "two kinds"},
		"no template":       {args: "get jobs -o jsonpath", code: exitUsage, stderr: "add the template"},
		"bad template":      {args: "get jobs -o go-template={{", code: exitUsage, stderr: "--output"},
		"bad path":          {args: "get jobs -o jsonpath={.a[?(@.b)]}", code: exitUsage, stderr: "go-template or jq can do more"},
		"bad order":         {args: "get jobs --sort-by nextat", code: exitUsage, stderr: `did you mean "nextAt"?`},
		"no file":           {args: "apply", code: exitUsage, stderr: "name one with -f"},
		"missing file":      {args: "apply -f /no/such", code: exitUsage, stderr: "/no/such: no such file"},
		"no such job":       {args: "describe job nope", code: exitNotFound, stderr: "job default/nope: not found"},
		"no such run":       {args: "describe run nope", code: exitNotFound, stderr: "not found"},
		"odd run":           {args: "describe run ..", code: exitNotFound, stderr: "not found"},
		"logs of none":      {args: "logs nope", code: exitNotFound, stderr: "job default/nope: not found"},
		"no run yet":        {args: "logs team/report", code: exitNotFound, stderr: "has no run yet", prep: func(f *fake) { f.runs = nil }},
		"no minions":        {args: "run nowhere", code: exitFailed, stderr: "No minions matched the target", prep: func(f *fake) { f.jobs[0].Name = "nowhere" }},
		"conflict":          {args: "run backup", code: exitConflict, prep: func(f *fake) { f.status["POST /v1/namespaces/default/jobs/backup/run"] = 409 }},
		"not known":         {args: "nodes", code: exitNotAllowed, stderr: "\nlog in with `carillon login`, or give a token by --token-file FILE, ", prep: func(f *fake) { f.status["GET /v1/nodes"] = 401 }},
		"not allowed":       {args: "nodes", code: exitNotAllowed, prep: func(f *fake) { f.status["GET /v1/nodes"] = 403 }},
		"unavailable":       {args: "nodes", code: exitUnavailable, prep: func(f *fake) { f.status["GET /v1/nodes"] = 503 }},
		"server error":      {args: "nodes", code: exitFailed, prep: func(f *fake) { f.status["GET /v1/nodes"] = 500 }},
		"unreachable":       {args: "nodes --server " + gone, code: exitUnavailable, stderr: "no answer from https://" + gone},
		"not carillon":      {args: "--server URL/elsewhere nodes", code: exitNotFound, stderr: "is it a Carillon server?"},
		"check fails":       {args: "doctor", code: exitFailed, stderr: "1 of 3 checks failed", prep: func(f *fake) { f.checks = append(f.checks, api.Check{Status: api.CheckFail}) }},
		"many to delete":    {args: "delete job a b", code: exitUsage, stderr: "add --yes"},
		"dev not linked":    {args: "dev", code: exitUsage, stderr: "unknown verb"},
		"bad shell":         {args: "completion bsh", code: exitUsage, stderr: `did you mean "bash"?`},
		"help flag of none": {args: "gett --help", code: exitUsage, stderr: `did you mean "get"?`},
		"help of none":      {args: "help gett", code: exitUsage, stderr: `did you mean "get"?`},
		"help":              {args: "help get jobs", code: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := withExamples(newFake(t))
			if c.prep != nil {
				c.prep(f)
			}
			got := carillon(t.Context(), f, "", strings.Fields(strings.ReplaceAll(c.args, "URL", f.url))...)
			if got.code != c.code || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("carillon %s: want exit code %d and %q on stderr, got\n%s", c.args, c.code, c.stderr, got)
			}
			if c.code == exitUnavailable && strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("want one line on stderr, got\n%s", got.stderr)
			}
			if c.code != 0 && c.code != exitFailed && got.stdout != "" {
				t.Errorf("want nothing on stdout, got\n%s", got.stdout)
			}
		})
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestApply(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	dir := writeFiles(t, map[string]string{"b.yml": "name: backup", "a.yaml": "name: hello\n---\nname: world", "c.json": "name: c", "readme.md": "name: bad"})

	got := carillon(t.Context(), f, "", "apply", "--dry-run", dir)
	want := "job default/hello created (dry run)\njob default/world created (dry run)\njob default/backup updated (dry run)\njob default/c created (dry run)\n"
	if got.code != 0 || got.stdout != want || len(f.applied) != 0 {
		t.Errorf("dry run: applied %v, got\n%s", f.applied, got)
	}

	got = carillon(t.Context(), f, "name: from-stdin", "apply", "-f", dir, "-")
	want = strings.ReplaceAll(want, " (dry run)", "") + "job default/from-stdin created\n"
	if got.code != 0 || got.stdout != want {
		t.Errorf("want\n%sgot\n%s", want, got)
	}
	files := []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml"), filepath.Join(dir, "c.json"), "stdin"}
	if diff := cmp.Diff(files, f.applied); diff != "" {
		t.Errorf("files applied (-want +got):\n%s", diff)
	}

	got = carillon(t.Context(), f, "name: x", "apply", "-f", "-", "-o", "json")
	var results []api.ApplyResult
	if err := json.Unmarshal([]byte(got.stdout), &results); err != nil || len(results) != 1 || results[0].Action != api.ActionCreated {
		t.Errorf("want an array of one result: %v in %s", err, got)
	}
}

func TestApplyTellsAllProblemsAndAppliesNothing(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	dir := writeFiles(t, map[string]string{"a.yaml": "name: good", "b.yaml": "name: bad", "c.yaml": "name: bad2", "d.yaml": "name: good"})
	path := func(name string) string { return filepath.Join(dir, name) }
	got := carillon(t.Context(), f, "", "apply", "-f", dir)
	problem := ":3: metadata.name: is bad\n"
	overlap := ":4: spec.overlap: \"skp\" is not allowed; did you mean \"skip\"?\n"
	want := result{code: exitUsage, stderr: path("b.yaml") + problem + path("b.yaml") + overlap + path("c.yaml") + problem + path("c.yaml") + overlap +
		path("d.yaml") + ": job default/good is in " + path("a.yaml") + " too; keep one of them\n"}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(f.applied) != 0 {
		t.Errorf("applied %v, want nothing", f.applied)
	}
}

func TestApplyRefusesAnotherNamespace(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	got := carillon(t.Context(), f, "name: a", "apply", "-n", "team", "-f", "-")
	if got.code != exitUsage || !strings.Contains(got.stderr, `not in the namespace "team"`) || len(f.applied) != 0 {
		t.Errorf("applied %v, got\n%s", f.applied, got)
	}
}

func TestApplyTellsWhatWasDoneBeforeAnError(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	dir := writeFiles(t, map[string]string{"a.yaml": "name: a", "b.yaml": "name: conflict", "c.yaml": "name: c"})
	got := carillon(t.Context(), f, "", "apply", "-f", dir)
	if got.code != exitConflict || got.stdout != "job default/a created\n" || !strings.Contains(got.stderr, "1 of 3 files were applied") {
		t.Errorf("got\n%s", got)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got := carillon(t.Context(), f, "", "delete", "job", "backup"); got.code != 0 || got.stdout != "job default/backup deleted\n" {
		t.Errorf("one name: got\n%s", got)
	}
	got := carillon(t.Context(), f, "", "delete", "jobs", "backup", "team/report", "--yes")
	if got.code != exitNotFound || got.stdout != "job team/report deleted\n" || !strings.Contains(got.stderr, "carillon: job default/backup: not found\n") {
		t.Errorf("one of two: got\n%s", got)
	}
	f = withExamples(newFake(t))
	file := "apiVersion: carillon/v1\nkind: Group\nmetadata: {namespace: team, name: turns}\nspec: {}\n---\n" +
		"apiVersion: carillon/v1\nkind: Job\nmetadata: {name: backup}\nspec: {command: [x], group: not-there-any-more}\n"
	if got := carillon(t.Context(), f, file, "delete", "-f", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "named are 1 job and 1 group (default/backup, team/turns): to delete more than one, add --yes") {
		t.Errorf("by file: got\n%s", got)
	}
	if got := carillon(t.Context(), f, file, "delete", "-f", "-", "--yes"); got.code != 0 || got.stdout != "job default/backup deleted\ngroup team/turns deleted\n" {
		t.Errorf("by file, the job first: got\n%s", got)
	}
	if got := carillon(t.Context(), f, strings.Replace(file, "kind: Group", "kind: Grup", 1), "delete", "-f", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "stdin:2:7: kind") {
		t.Errorf("bad file: got\n%s", got)
	}
	// What an older release took can be deleted by the file that made it.
	f = withExamples(newFake(t))
	old := strings.NewReplacer("spec: {}", "spec: {mode: x}", "command: [x]", "schedule: '@every 1h', timeZone: Europe/Rome").Replace(file)
	if got := carillon(t.Context(), f, old, "delete", "-f", "-", "--yes"); got.code != 0 || got.stdout != "job default/backup deleted\ngroup team/turns deleted\n" {
		t.Errorf("a file that apply refuses: got\n%s", got)
	}
}

func TestDeleteGroup(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got := carillon(t.Context(), f, "", "delete", "group", "team/turns"); got.code != 0 || got.stdout != "group team/turns deleted\n" {
		t.Errorf("got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "delete", "group", "ledger"); got.code != exitConflict || !strings.Contains(got.stderr, "group default/ledger has 2 jobs") {
		t.Errorf("one with jobs: got\n%s", got)
	}
}

// TestApplyGroupsInOtherFiles: a job may be in a group of another file, whatever
// the files' order.
func TestApplyGroupsInOtherFiles(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	dir := t.TempDir()
	jobs, groups := filepath.Join(dir, "a-jobs.yaml"), filepath.Join(dir, "b-groups.yaml")
	for path, text := range map[string]string{
		jobs:   "apiVersion: carillon/v1\nkind: Job\nmetadata:\n  name: one\nspec: {command: [x], group: g}\n",
		groups: "apiVersion: carillon/v1\nkind: Group\nmetadata:\n  name: g\nspec: {}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := carillon(t.Context(), f, "", "apply", "-f", dir)
	if got.code != 0 || got.stdout != "group default/g created\njob default/one created\n" {
		t.Errorf("got\n%s", got)
	}
	want := []string{
		jobs + " (dry run): default/one default/g", groups + " (dry run): default/g",
		groups + ": default/g", jobs + ": default/one",
	}
	if d := cmp.Diff(want, f.given); d != "" {
		t.Errorf("the server was given (-want +got):\n%s", d)
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for args, c := range map[string]struct {
		code               int
		stdout, asked, err string
	}{
		"nodes drain n1":                            {0, "node n1 drained\n", `n1 drain {"by":"ada"}`, ""},
		"node undrain n1 --reason done":             {0, "node n1 undrained\n", `n1 undrain {"by":"ada","reason":"done"}`, ""},
		"nodes drain n1 -o json":                    {0, "{\n  \"kind\": \"node\",\n  \"name\": \"n1\",\n  \"action\": \"drained\"\n}\n", `n1 drain {"by":"ada"}`, ""},
		"shards move 7 n2":                          {0, "shard 7 moved to n2\n", `7 move {"node":"n2","by":"ada"}`, ""},
		"shards move ledger n2 -n ops --reason=why": {0, "group ops/ledger moved to n2\n", `ops/ledger move {"node":"n2","by":"ada","reason":"why"}`, ""},
		"shards hold ledger":                        {0, "group default/ledger held\n", `default/ledger hold {"by":"ada"}`, ""},
		"shards release ops/ledger -o name":         {0, "ops/ledger\n", `ops/ledger release {"by":"ada"}`, ""},
		"shard failback 65536":                      {0, "shard 65536 fails back\n", `65536 failback {"by":"ada"}`, ""},
		"pause backup":                              {0, "job default/backup paused; holds for what is due after 2026-11-29T12:00:00.25Z\n", ` pause {"scope":"job","namespace":"default","name":"backup","by":"ada"}`, ""},
		"resume all -o json":                        {0, "{\n  \"kind\": \"all\",\n  \"name\": \"jobs\",\n  \"action\": \"resumed\",\n  \"holdsFrom\": \"2026-11-29T12:00:00.25Z\"\n}\n", ` resume {"scope":"all","by":"ada"}`, ""},
		"nodes drain n9":                            {exitNotFound, "", "", `did you mean "n1"?`},
		"shards move 7 n9":                          {exitNotFound, "", "", `did you mean "n1"?`},
		"nodes drain":                               {exitUsage, "", "", "specify one node"},
		"nodes drian n1":                            {exitUsage, "", "", `did you mean "drain"?`},
		"get nodes drain":                           {exitNotFound, "", "", `there is no node "drain"`},
		"nodes drain a/b":                           {exitUsage, "", "", "a/b"},
		"shards move 7":                             {exitUsage, "", "", "a shard and a node"},
		"shards move a%b n1":                        {exitUsage, "", "", "a%b"},
		"shards release -1":                         {exitUsage, "", "", "-1"},
		"shards hold":                               {exitUsage, "", "", "specify one shard"},
		"audit --limit 0":                           {exitUsage, "", "", "--limit 0"},
		"describe group nope":                       {exitNotFound, "", "", "group default/nope: not found"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			f := withExamples(newFake(t))
			got := carillon(t.Context(), f, "", strings.Fields(args)...)
			if got.code != c.code || got.stdout != c.stdout || !strings.Contains(got.stderr, c.err) {
				t.Errorf("got\n%s", got)
			}
			if asked := strings.Join(f.orders, "; "); asked != c.asked {
				t.Errorf("asked for %q, want %q", asked, c.asked)
			}
		})
	}
}

func TestRunPrintsItsID(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	id := string(exampleFire(noon).RunID())
	if got := carillon(t.Context(), f, "", "run", "backup"); got.code != 0 || got.stdout != id+"\n" || f.by != "ada" {
		t.Errorf("started by %q, got\n%s", f.by, got)
	}
	got := carillon(t.Context(), f, "", "run", "backup", "-o", "json")
	var s api.Started
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil || string(s.RunID) != id || s.FireID != exampleFire(noon) {
		t.Errorf("%v in %s", err, got)
	}
}

func TestRunWaitFollowsTheState(t *testing.T) {
	t.Parallel()
	for state, code := range map[job.State]int{
		job.StateSucceeded: 0, job.StateFailed: exitFailed, job.StateTimedOut: exitTimedOut, job.StateCancelled: exitFailed,
		job.StateDeliveryTimeout: exitFailed, job.StateIndeterminate: exitFailed, job.StateSkipped: exitFailed,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			f := withExamples(newFake(t))
			f.started = func(f *fake) { f.runs = []job.Run{exampleRun(noon, state)} }
			got := carillon(t.Context(), f, "", "run", "backup", "--wait")
			lines := strings.Split(got.stdout, "\n")
			if got.code != code || len(lines) != 3 || lines[0] != string(exampleFire(noon).RunID()) ||
				!strings.HasPrefix(lines[1], "job default/backup "+string(state)+" on web-1") || !strings.HasSuffix(lines[1], " (1.5s)") {
				t.Errorf("want exit code %d, got\n%s", code, got)
			}
			got = carillon(t.Context(), f, "", "run", "backup", "--wait", "-o", "json")
			var r job.Run
			if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || r.State != state || got.code != code {
				t.Errorf("json: %v in %s", err, got)
			}
		})
	}
}

// A run that is not known yet, and then a server that is not available, do not
// end a wait.
func TestRunWaitBearsAnAbsentServer(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	path := "GET /v1/runs/" + string(exampleFire(noon).RunID())
	done := make(chan result)
	go func() { done <- carillon(t.Context(), f, "", "run", "backup", "-w") }()
	waitAsked(t, f, path, 1)
	f.change(func(f *fake) { f.status[path] = 503 })
	f.change(func(f *fake) {
		f.status[path] = 0
		f.runs = []job.Run{exampleRun(noon, job.StateSucceeded)}
	})
	if got := <-done; got.code != 0 {
		t.Errorf("got\n%s", got)
	}

	f.status[path] = 503
	if got := carillon(t.Context(), f, "", "run", "backup", "-w"); got.code != exitUnavailable {
		t.Errorf("want an end to the patience, got\n%s", got)
	}
}

// waitAsked waits until the fake was asked that n times.
func waitAsked(t *testing.T, f *fake, what string, n int) {
	t.Helper()
	await.Missing(t, func() string {
		var asked int
		f.change(func(f *fake) { asked = f.asked[what] })
		if asked < n {
			return fmt.Sprintf("%s was asked %d times, want %d", what, asked, n)
		}
		return ""
	})
}

func TestRunWaitInterruptedAndTimedOut(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.started = func(f *fake) { f.runs = []job.Run{exampleRun(noon, job.StateRunning)} }
	id := string(exampleFire(noon).RunID())

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result)
	go func() { done <- carillon(ctx, f, "", "run", "backup", "--wait") }()
	waitAsked(t, f, "GET /v1/runs/"+id, 2)
	cancel()
	if got := <-done; got.code != exitInterrupted || got.stdout != id+"\n" || !strings.Contains(got.stderr, "interrupted; run "+id+" goes on") {
		t.Errorf("interrupted: got\n%s", got)
	}

	// On a busy machine the time may be over before the start is answered.
	for limit := 50 * time.Millisecond; ; limit *= 2 {
		got := carillon(t.Context(), f, "", "run", "backup", "--wait", "--timeout", limit.String())
		if got.code == exitTimedOut && got.stderr == fmt.Sprintf("carillon: timed out after %s\n", limit) {
			continue
		}
		if got.code != exitTimedOut || !strings.Contains(got.stderr, fmt.Sprintf("timed out after %s; run %s goes on", limit, id)) {
			t.Errorf("timed out: got\n%s", got)
		}
		break
	}
}

func TestInterruptedBeforeAnAnswer(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := carillon(ctx, f, "", "get", "jobs"); got.code != exitInterrupted || got.stderr != "carillon: interrupted\n" {
		t.Errorf("got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "get", "jobs", "--timeout", "1ns"); got.code != exitTimedOut || got.stderr != "carillon: timed out after 1ns\n" {
		t.Errorf("got\n%s", got)
	}
}

func line(minion string, stream int, text string) string {
	b, _ := json.Marshal(api.OutputLine{Minion: job.MinionID(minion), Stream: stream, Data: []byte(text)})
	return string(b)
}

func TestLogs(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.output = []string{line("web-1", 1, "one\ntw"), line("web-1", 2, "oh\n"), line("web-1", 1, "o\xff")}
	check := func(what string, got result, stdout, stderr string) {
		t.Helper()
		if got.code != 0 || got.stdout != stdout || got.stderr != stderr {
			t.Errorf("%s: want %q and %q, got\n%s", what, stdout, stderr, got)
		}
	}
	id := string(exampleFire(noon.Add(-6 * time.Minute)).RunID())
	check("of a run", carillon(t.Context(), f, "", "logs", id), "one\ntwo\xff", "oh\n")
	check("stdout only", carillon(t.Context(), f, "", "logs", id, "--stdout"), "one\ntwo\xff", "")
	check("stderr only", carillon(t.Context(), f, "", "logs", id, "--stderr"), "", "oh\n")
	check("both", carillon(t.Context(), f, "", "logs", id, "--stderr", "--stdout"), "one\ntwo\xff", "oh\n")
	check("of a job", carillon(t.Context(), f, "", "logs", "backup", "-f", "--minion", "web-1"), "one\ntwo\xff", "oh\n")
	latest := "GET /v1/runs/" + string(exampleFire(noon.Add(-time.Minute)).RunID()) + "/output"
	if q := f.queries[latest]; q != "follow=true&minion=web-1" {
		t.Errorf("query of the latest run's output: %q", q)
	}

	f.runs[1].Tasks = append(f.runs[1].Tasks, job.Task{Minion: "web-2"})
	f.output = []string{line("web-1", 1, "on"), line("web-2", 1, "uno\ndue"), line("web-1", 1, "e\n\n"), line("web-1", 2, "oh")}
	check("of two tasks", carillon(t.Context(), f, "", "logs", id), "web-2 | uno\nweb-1 | one\nweb-1 | \nweb-2 | due\n", "web-1 | oh\n")

	const rule = "---------------\n"
	f.output = []string{line("web-1", 1, "same"), line("web-2", 1, "same\n"), line("web-2", 2, "oh")}
	check("folded", carillon(t.Context(), f, "", "logs", id, "--fold"), rule+"web-[1-2] (2)\n"+rule+"same\n", rule+"web-2\n"+rule+"oh\n")
	check("folded stderr", carillon(t.Context(), f, "", "logs", id, "--fold", "--stderr"), "", rule+"web-2\n"+rule+"oh\n")
	f.output = []string{line("web-2", 1, "up\n")}
	check("folded, one silent", carillon(t.Context(), f, "", "logs", id, "--fold"), rule+"web-1\n"+rule+rule+"web-2\n"+rule+"up\n", "")

	f.output = []string{line("web-1", 1, "one\n"), `{"error":"minion web-1 went away"}`}
	if got := carillon(t.Context(), f, "", "logs", id); got.code != exitFailed || got.stdout != "web-1 | one\n" || !strings.Contains(got.stderr, "web-1 went away") {
		t.Errorf("broken stream: got\n%s", got)
	}
	f.output = []string{line("web-1", 1, "one\n"), `{"minion":"web`}
	if got := carillon(t.Context(), f, "", "logs", id); got.code != exitUnavailable {
		t.Errorf("cut stream: got\n%s", got)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := carillon(t.Context(), newFake(t), "", "version")
	if got.code != 0 || !strings.Contains(got.stdout, "carillon 1.2.3 (commit abc, go") || !strings.Contains(got.stdout, "\nserver 1.2.3 (commit abc, go1.26, node n1, cluster c1)\n") {
		t.Errorf("got\n%s", got)
	}
	got = carillon(t.Context(), nil, "", "version", "-o", "json", "--server", closedPort(t))
	var v map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || v["server"] != nil || got.code != 0 {
		t.Errorf("%v: got\n%s", err, got)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	for _, shell := range shells() {
		if got := carillon(t.Context(), f, "", "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "__complete") {
			t.Errorf("completion %s: exit code %d: %s", shell, got.code, got.stderr)
		}
	}
	if got := carillon(t.Context(), f, "", "__complete", "describe", "job", ""); !strings.HasPrefix(got.stdout, "backup\t*/5 * * * *\n:4\n") {
		t.Errorf("names of jobs: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "__complete", "describe", "group", ""); !strings.HasPrefix(got.stdout, "ledger\tfailback\n:4\n") {
		t.Errorf("names of groups: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "__complete", "shards", "move", "ledger", ""); !strings.HasPrefix(got.stdout, "n2\tdraining\nn1\tactive\n") {
		t.Errorf("names of nodes: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "__complete", "run", "-n", "team", ""); !strings.HasPrefix(got.stdout, "report\tmanual\n") {
		t.Errorf("names of a namespace: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "__complete", "--server", closedPort(t), "run", ""); !strings.HasPrefix(got.stdout, ":4\n") {
		t.Errorf("without a server: got\n%s", got)
	}
}

func TestDevIsDelegated(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"dev --data-dir D -x", "--data-dir D -x"}, {"dev --help", "--help"}, {"help dev", "--help"}} {
		var got []string
		code := Main(t.Context(), Options{
			Args: strings.Fields(c[0]), Stdout: io.Discard, Stderr: io.Discard,
			Dev: func(_ context.Context, args []string, _, _ io.Writer) int { got = args; return 7 },
		})
		if code != 7 || strings.Join(got, " ") != c[1] {
			t.Errorf("carillon %s: got exit code %d and arguments %q", c[0], code, got)
		}
	}
}

func TestWriteErrorIsReported(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	var stderr bytes.Buffer
	code := Main(t.Context(), Options{Args: []string{"get", "jobs", "--server", f.url}, Stdout: full{}, Stderr: &stderr})
	if code != exitFailed || !strings.Contains(stderr.String(), "write output: short write") {
		t.Errorf("got %d: %s", code, stderr.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestEveryVerbHasHelp(t *testing.T) {
	t.Parallel()
	root := newApp(Options{}).root()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c != root && !c.Hidden && (c.Short == "" || c.Example == "") {
			t.Errorf("%s needs a short text and an example", c.CommandPath())
		}
		if c.Parent() == root && !c.Hidden && c.GroupID == "" {
			t.Errorf("%s is in no group of the overview", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// Cancel tells whether the run is being ended, or had ended before, so that only what
// its minions may still run can be.
func TestCancelTellsWhatItCanDo(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.runs[1].State = job.StateIndeterminate
	for i, want := range []string{
		"is being cancelled", "has ended as indeterminate; what its minions still run of it ends, once they are connected",
	} {
		id := string(f.runs[i].RunID)
		got := carillon(t.Context(), f, "", "cancel", id, "--reason", "wrong")
		if got.code != 0 || got.stdout != "run "+id+" "+want+"\n" {
			t.Errorf("got\n%s", got)
		}
	}
	if len(f.orders) != 2 {
		t.Errorf("ordered %q", f.orders)
	}
}
