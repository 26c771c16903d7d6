package cli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *updateGolden {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestOutputForms(t *testing.T) {
	t.Parallel()
	failed := string(exampleFire(noon.Add(-6 * time.Minute)).RunID())
	for name, args := range map[string]string{
		"jobs-table": "get jobs", "jobs-all-wide": "get jobs -A -o wide", "jobs-all-json": "get jobs -A -o json", "jobs-all-name": "get jobs -A -o name",
		"jobs-none": "get jobs -n empty", "jobs-none-json": "get jobs -n empty -o json", "jobs-label": "get jobs -A -l team=db -l tier=1 -o name",
		"job-table": "get job backup", "job-json": "get job backup -o json", "job-yaml": "get job backup -o yaml", "jobs-yaml": "get jobs -A -o yaml", "job-name": "get jobs team/report -o name",
		"runs-table": "runs", "runs-all-wide": "runs -A -o wide", "runs-job-name": "get runs -o name", "runs-state-json": "runs --state running -o json",
		"runs-missed-yaml": "runs -n team report -o yaml", "runs-none": "runs backup --state dropped", "runs-none-json": "runs backup --state dropped -o json", "run-table": "get run " + failed,
		"etcd-members": "etcd members", "etcd-wide": "etcd members -o wide", "etcd-status": "etcd status", "etcd-name": "etcd members -o name",
		"nodes-table": "nodes", "nodes-wide": "get nodes -o wide", "nodes-json": "nodes -o json", "nodes-yaml": "nodes -o yaml", "nodes-name": "get nodes -o name",
		"minions-table": "minions", "minions-wide": "get minions -o wide", "minions-json": "minions -o json",
		"describe-minion": "describe minion web-1", "describe-minion-unknown": "describe minion web-2", "describe-minion-json": "describe minion web-1 -o json", "describe-minion-none": "describe minion web-9",
		"hostgroups-table": "get hostgroups", "hostgroups-name": "get hostgroups -o name", "hostgroup-yaml": "get hostgroup frontend -o yaml", "hostgroup-none": "get hostgroup nope",
		"hostgroup-delete": "delete hostgroup canary",
		"roles-table":      "get roles", "role-yaml": "get role deployer -o yaml", "role-none": "get role nope", "describe-role": "describe role deployer",
		"rolebindings-table": "get rolebindings", "rolebindings-name": "get role-bindings -o name", "rolebinding-yaml": "get rolebinding billing-team -o yaml", "rolebinding-delete": "delete rolebinding everybody",
		"match-table": "minions match web*", "match-name": "minions match web* -o name", "match-json": "minions match web* -o json", "match-nowhere": "minions match nowhere", "match-bad": "minions match web[3-1],a]",
		"shards-table": "shards", "shards-wide": "get shards -o wide", "shards-json": "shards -o json",
		"groups-table": "get groups", "groups-wide": "get groups -A -o wide", "groups-json": "get group turns -n team -o json", "groups-yaml": "get groups -A -o yaml",
		"groups-none": "get groups -n empty", "groups-name": "get groups -A -o name", "describe-group": "describe group ledger", "describe-group-turns": "describe group team/turns",
		"audit-table": "audit", "audit-wide": "audit -o wide", "help-shards": "shards --help", "help-move": "shards move --help",
		"doctor-table": "doctor", "doctor-json": "doctor -o json",
		"describe-run": "describe run " + failed, "describe-run-missed": "describe run abcd-0123456789abcdef",
		"describe-job": "describe job backup", "describe-job-json": "describe job backup -o json", "describe-job-script": "describe job team/report", "overview": "", "help-run": "run --help",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := carillon(t.Context(), withExamples(newFake(t)), "", strings.Fields(args)...).String()
			golden(t, name, got)
		})
	}
}

// A run whose minion is gone is not told as running.
func TestRunWhoseMinionIsGone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	run := exampleRun(noon.Add(-time.Minute), job.StateRunning)
	run.GoneSince, run.Tasks[0].GoneSince = noon.Add(-30*time.Second), noon.Add(-30*time.Second)
	f.runs = []job.Run{run}
	for args, want := range map[string]string{
		"runs":                              "minion gone",
		"describe run " + string(run.RunID): "not known: the minion is gone since ",
		"get run " + string(run.RunID):      "minion gone",
		"runs -o json":                      `"goneSince": "2026`,
	} {
		got := carillon(t.Context(), f, "", strings.Fields(args)...)
		if !strings.Contains(got.stdout, want) || !strings.Contains(args, "json") && strings.Contains(got.stdout, "  running") {
			t.Errorf("%s: want %q, and not that it is running:\n%s", args, want, got)
		}
	}
}

func TestRunJSONFields(t *testing.T) {
	t.Parallel()
	got := carillon(t.Context(), withExamples(newFake(t)), "", "runs", "-A", "-o", "json")
	var runs []map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &runs); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if len(runs) != 4 {
		t.Fatalf("got %d runs, want 4", len(runs))
	}
	for _, r := range runs {
		for _, name := range strings.Fields("runId fireId namespace job state reason attempt scheduledAt startedAt endedAt node tasks") {
			if _, ok := r[name]; !ok {
				t.Errorf("run %v has no field %q", r["runId"], name)
			}
		}
	}
}

// Whatever a string looks like, YAML gives it back as it was.
func TestYAMLKeepsStrings(t *testing.T) {
	t.Parallel()
	in := []string{"yes", "1", "null", "", " a ", "a: b", "# c", "two\nlines\n", "\ttab", "\x1b[0m", "☃ 😀", "<&>", "- x", "{", "2026-01-01T00:00:00Z", strings.Repeat("long ", 500)}
	var out strings.Builder
	a := newApp(Options{Stdout: &out})
	a.output = formatYAML
	if err := a.printValue(map[string]any{"list": in, "none": []string{}, "empty": map[string]string{}, "n": 7, "z": nil}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	list := make([]any, len(in))
	for i, s := range in {
		list[i] = s
	}
	want := map[string]any{"list": list, "none": []any{}, "empty": map[string]any{}, "n": 7, "z": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, out.String())
	}
}

func TestRunsReadsPages(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for i := range 10 {
		f.runs = append(f.runs, exampleRun(noon.Add(-time.Duration(i)*time.Minute), job.StateSucceeded))
	}
	for args, want := range map[string]int{"--all": 10, "--limit 4": 4, "--limit 1": 1, "--limit 10": 10, "": 10, "--all --limit 2": 10} {
		got := carillon(t.Context(), f, "", append([]string{"runs", "-o", "name"}, strings.Fields(args)...)...)
		if n := strings.Count(got.stdout, "\n"); n != want || got.code != 0 {
			t.Errorf("runs %s: got %d runs, want %d: %s", args, n, want, got)
		}
		if got.stderr != "" && strings.Contains(got.stderr, "missing") {
			t.Errorf("runs %s: nothing is missing: %s", args, got)
		}
	}
	f.missing = []api.MissingRuns{{Node: "s2", Shards: []job.ShardID{1, 2}}}
	got := carillon(t.Context(), f, "", "runs", "--all")
	if !strings.Contains(got.stderr, "2 shards of node s2") || got.code != 0 {
		t.Errorf("it does not say what is missing: %s", got)
	}
}

func TestShortDurations(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0ms", 12 * time.Millisecond: "12ms", 1500 * time.Millisecond: "1.5s", 9999 * time.Millisecond: "9.9s", 42 * time.Second: "42s",
		time.Minute: "1m", 61 * time.Second: "1m1s", 2*time.Hour + 30*time.Minute: "2h30m", 49 * time.Hour: "2d1h", -time.Second: "-1s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%s): got %s, want %s", d, got, want)
		}
	}
}

// TestLogsTellWhatIsLeftOut: how much of a stream is missing stands on stderr, in a
// line of its own, and not among the output.
func TestLogsTellWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	line := func(stream int, data string, leftOut int64) string {
		b, err := json.Marshal(map[string]any{"minion": "web-1", "stream": stream, "data": []byte(data), "leftOut": leftOut})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	f.output = []string{line(1, "one\n", 0), line(2, "oops", 0), line(1, "end\n", 42), line(2, "", 7)}
	got := carillon(t.Context(), f, "", "logs", string(exampleFire(noon.Add(-6*time.Minute)).RunID()))
	const left = "[carillon: %s of web-1 are left out here; the minion keeps no more of one run]\n"
	wantErr := "oops\n" + strings.Replace(left, "%s", "42 bytes of stdout", 1) + strings.Replace(left, "%s", "7 bytes of stderr", 1)
	if got.code != 0 || got.stdout != "one\nend\n" || got.stderr != wantErr {
		t.Errorf("got\n%s", got)
	}
}

// TestSilentRunSaysSo: who asks for the output of a run that wrote nothing is told that
// it wrote nothing, and how it ended.
func TestSilentRunSaysSo(t *testing.T) {
	t.Parallel()
	for state, want := range map[job.State]string{
		job.StateSucceeded: " wrote nothing\n", job.StateFailed: " wrote nothing (failed: exit code 3)\n", job.StateRunning: " is running: nothing has been written yet; -f follows it\n",
	} {
		f := newFake(t)
		run := exampleRun(noon, state)
		run.Tasks[0].Stdout, run.Tasks[0].Stderr = job.Output{}, job.Output{}
		f.runs, f.output = []job.Run{run}, nil
		got := carillon(t.Context(), f, "", "logs", string(run.RunID))
		want = "run " + string(run.RunID) + want
		if got.code != 0 || got.stdout != "" || got.stderr != want {
			t.Errorf("%s: got\n%swant %q", state, got, want)
		}
		run.Tasks[0].Stdout.Bytes = 3 // which its minion does not have any more
		f.runs = []job.Run{run}
		if got := carillon(t.Context(), f, "", "logs", string(run.RunID)); strings.Contains(got.stderr, "nothing") {
			t.Errorf("%s: got\n%s", state, got)
		}
	}
}

// TestLogsOfAJobAreOfTheLatestThatStarted: newer occurrences that were skipped are
// told, and why.
func TestLogsOfAJobAreOfTheLatestThatStarted(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	skipped := job.Run{
		RunID: exampleFire(noon).RunID(), FireID: exampleFire(noon), Namespace: "default", Job: "backup", State: job.StateSkipped,
		Reason: "previous run still in progress", Count: 1, ScheduledAt: noon,
	}
	f.runs = append([]job.Run{skipped}, f.runs...)
	got := carillon(t.Context(), f, "", "logs", "backup")
	if got.code != 0 || !strings.Contains(got.stderr, "1 newer occurrence was not started, the latest is skipped: previous run still in progress") {
		t.Errorf("got\n%s", got)
	}
	waits := exampleRun(noon.Add(time.Minute), job.StatePending)
	waits.Tasks = nil
	f.runs = append([]job.Run{waits}, f.runs...)
	got = carillon(t.Context(), f, "", "logs", "backup")
	if got.code != 0 || !strings.Contains(got.stderr, "run "+string(exampleFire(noon.Add(-time.Minute)).RunID())) {
		t.Errorf("one that waits for the one that runs: got\n%s", got)
	}
	f.runs = []job.Run{skipped}
	got = carillon(t.Context(), f, "", "logs", "backup")
	if got.code != 0 || !strings.Contains(got.stderr, "wrote nothing (skipped: previous run still in progress)") {
		t.Errorf("got\n%s", got)
	}
}

// TestExecCodes: a host that did not answer is no success, and no failure either.
func TestExecCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		states string // of the tasks: one letter each
		run    job.State
		min    string
		want   int
	}{
		{"ss", job.StateSucceeded, "", 0}, {"su", job.StateSucceeded, "", exitPartly}, {"uu", job.StateUncontrollable, "", exitPartly},
		{"sf", job.StateFailed, "", exitFailed}, {"fu", job.StateFailed, "", exitFailed}, {"st", job.StateTimedOut, "", exitTimedOut},
		{"sd", job.StateDeliveryTimeout, "", exitPartly}, {"si", job.StateIndeterminate, "", exitPartly}, {"", job.StateUndeliverable, "", exitFailed},
		{"su", job.StateSucceeded, "1", 0}, {"su", job.StateSucceeded, "50%", 0}, {"su", job.StateSucceeded, "51%", exitPartly},
		{"sf", job.StateFailed, "50%", 0}, {"ff", job.StateFailed, "0", 0}, {"sf", job.StateFailed, "2", exitFailed},
	} {
		states := map[rune]job.State{
			's': job.StateSucceeded, 'u': job.StateUncontrollable, 'f': job.StateFailed, 't': job.StateTimedOut,
			'd': job.StateDeliveryTimeout, 'i': job.StateIndeterminate,
		}
		run := job.Run{State: c.run}
		for _, s := range c.states {
			run.Tasks = append(run.Tasks, job.Task{State: states[s]})
		}
		if got := execCode(&run, c.min); got != c.want {
			t.Errorf("%q with --min-success %q: got %d, want %d", c.states, c.min, got, c.want)
		}
	}
}

// TestRunsTellWhatTheyDoNotShow: a name that is mistyped is not found, and a list
// says of how many it shows how many.
func TestRunsTellWhatTheyDoNotShow(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got := carillon(t.Context(), f, "", "runs", "bakcup"); got.code != exitNotFound {
		t.Errorf("a job that is not there: got\n%s", got)
	}
	f.total, f.others = 812, map[job.State]int{job.StateSkipped: 50}
	got := carillon(t.Context(), f, "", "runs", "--limit", "2", "--state", "failed")
	if got.code != 0 || !strings.Contains(got.stderr, "not in the list for their state: 50 skipped") {
		t.Errorf("got\n%s", got)
	}
	for states, want := range map[string]int{"failed,skipped": 0, "failed,nosuch": exitUsage} {
		if got := carillon(t.Context(), f, "", "runs", "--state", states); got.code != want {
			t.Errorf("--state %s: got\n%s", states, got)
		}
	}
	if got = carillon(t.Context(), f, "", "runs", "--limit", "2", "-A"); !strings.Contains(got.stderr, "showing 2 of 812; see more with --limit N or --all") {
		t.Errorf("got\n%s", got)
	}
}
