package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// written is a line of the stream of output.
func written(minion job.MinionID, stream int, text string) string {
	line, err := json.Marshal(api.OutputLine{Minion: minion, Stream: stream, Data: []byte(text)})
	if err != nil {
		panic(err)
	}
	return string(line)
}

func TestSelectedLines(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	run := f.runs[2].RunID
	f.output = []string{
		written("web-1", 1, "one\ntw"), written("web-1", 2, "bad\n"), written("web-1", 1, "o\nthree\nfo"), written("web-1", 2, "worse\nworst"), written("web-1", 1, "ur"),
	}
	for args, want := range map[string]result{
		"":                        {0, "one\ntwo\nthree\nfour", "bad\nworse\nworst"},
		"--tail 2":                {0, "three\nfour\n", "worse\nworst\n"},
		"--tail 9":                {0, "one\ntwo\nthree\nfour\n", "bad\nworse\nworst\n"},
		"--tail 1 --stdout":       {0, "four\n", ""},
		"--grep ^t":               {0, "two\nthree\n", ""},
		"--grep o --tail 1":       {0, "four\n", "worst\n"},
		"--grep nothing --tail 1": {0, "", ""},
		"--tail 1 -f":             {0, "", ""}, // below
		"--grep [":                {exitUsage, "", "carillon: --grep: error parsing regexp: missing closing ]: `[`\nsee `carillon logs --help`\n"},
		"--fold --tail 3":         {exitUsage, "", "carillon: --fold shows what minions wrote as a whole; leave out --tail and --grep, or --fold\nsee `carillon logs --help`\n"},
		"--tail -3":               {exitUsage, "", "carillon: --tail -3: give how many lines\nsee `carillon logs --help`\n"},
	} {
		if strings.Contains(args, "-f") && !strings.Contains(args, "--fold") {
			continue
		}
		got := carillon(t.Context(), f, "", append([]string{"logs", string(run)}, strings.Fields(args)...)...)
		if got != want {
			t.Errorf("logs %s: want\n%s, got\n%s", args, want, got)
		}
	}
}

// TestTailFollows: the last lines of what is there come first, then all that comes, and no
// byte twice.
func TestTailFollows(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	before := []string{written("web-1", 1, "one\ntwo\nthr")}
	after := []string{written("web-1", 1, "one\ntwo\n"), written("web-1", 1, "three\nfour\n"), written("web-1", 1, "five\n")}
	f.output = before
	f.seen = func(f *fake, what string) {
		if n := f.asked[what]; strings.HasSuffix(what, "/output") && n == 2 {
			f.output = after
		}
	}
	got := carillon(t.Context(), f, "", "logs", string(f.runs[2].RunID), "-f", "--tail", "1")
	if want := "two\nthree\nfour\nfive\n"; got.code != 0 || got.stdout != want {
		t.Errorf("want\n%s, got\n%s", want, got)
	}
}

func TestRunsSince(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.total = 99
	ids := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintln(&b, f.runs[i].RunID)
		}
		return b.String()
	}
	for args, n := range map[string]int{
		"runs --since 7m -A": 2, "runs -A --since 1h": 3, "runs -A --since 48h": 4, "runs -A --since " + noon.Add(-7*time.Minute).Format(time.RFC3339): 2,
		"get runs -A --since 10s": 0, "runs backup --since 10s": 0,
	} {
		if got := carillon(t.Context(), f, "", append(strings.Fields(args), "-o", "name")...); got.code != 0 || got.stdout != ids(n) {
			t.Errorf("%s: want %d runs, got\n%s", args, n, got)
		}
	}
	if got := carillon(t.Context(), f, "", "runs", "-A", "--since", "7m"); strings.Contains(got.stderr, "99") {
		t.Errorf("what is older is counted:\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "runs", "--since", "yesterday"); got.code != exitUsage {
		t.Errorf("got\n%s", got)
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	for args, want := range map[string]string{
		"top minions":                      "MINION  RUNNING  STATE         NODE\nweb-1   2        connected     n1\nweb-2   0        disconnected  -\n",
		"top minion --limit 1 -o name":     "web-1\n",
		"top nodes":                        "NODE  RUNNING  MINIONS  SHARDS  PHASE     HEALTH\nn1    2        2        64      active    ok\nn2    0        0        0       draining  unhealthy\n",
		"top nodes --sort-by name -o name": "n1\nn2\n",
		"top jobs -A --no-headers":         "default/backup  1  0  failed 5m58s ago\n",
	} {
		if got := carillon(t.Context(), f, "", strings.Fields(args)...); got.code != 0 || got.stdout != want {
			t.Errorf("%s: want\n%s, got\n%s", args, want, got)
		}
	}
	if got := carillon(t.Context(), f, "", "top"); got.code != exitUsage || !strings.Contains(got.stderr, "specify a resource: jobs, minions, nodes") {
		t.Errorf("got\n%s", got)
	}
}

func TestAllNamesAreCompleted(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	run := string(f.runs[0].RunID)
	for args, want := range map[string]string{
		"get calendars": "holidays\n", "describe calendar": "holidays\n", "delete hostgroup": "canary\nfrontend\n", "get roles": "deployer\n", "get rolebindings": "billing-team\n",
		"delete role canary": "deployer\n", "get runs": run + "\tbackup running", "cancel": run + "\tbackup", "redo": run, "describe run": run, "logs": "backup\t*/5 * * * *\n" + run,
		"get nodes": "n2\tdraining\n", "get minions": "web-1\tconnected\n", "pause namespace": "default\nteam\n", "resume run": run, "minions label": "web-1\t", "get jobs -n": "default\nteam\n",
	} {
		got := carillon(t.Context(), f, "", append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if !strings.HasPrefix(got.stdout, want) {
			t.Errorf("%s: want %q, got\n%s", args, want, got)
		}
	}
}
