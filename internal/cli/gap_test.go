package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// TestGapsAreTold: where not all open runs are known, each verb that rests on them
// says so, and one that cannot answer without them fails as what may pass by itself.
func TestGapsAreTold(t *testing.T) {
	t.Parallel()
	gap := []api.MissingRuns{{Node: "s2", Shards: []job.ShardID{1, 2}}}
	const words = "2 shards of node s2, which has not answered"
	f := withExamples(newFake(t))
	f.missing = gap
	f.output = []string{line("web-1", 1, "one\n")}
	if got := carillon(t.Context(), f, "", "logs", "backup"); got.code != 0 || got.stdout != "one\n" ||
		!strings.Contains(got.stderr, "is the latest of job default/backup that is known now") || !strings.Contains(got.stderr, words) {
		t.Errorf("the output of what may not be the latest run: %s", got)
	}
	f.fire = api.Fire{Namespace: "default", Job: "backup", At: noon, Verdict: api.VerdictRecorded, Why: []string{"it ran"}, Missing: gap}
	if got := carillon(t.Context(), f, "", "describe", "fire", "backup@2026-11-20T12:00:00Z"); got.code != 0 || !strings.Contains(got.stderr, words) {
		t.Errorf("an instant with a record, of which there may be more: %s", got)
	}
	for _, form := range []string{"table", "json", "name"} {
		f.fire.Verdict = api.VerdictUnknown
		if got := carillon(t.Context(), f, "", "describe", "fire", "backup@2026-11-20T12:00:00Z", "-o", form); got.code != exitUnavailable || !strings.Contains(got.stderr, words) {
			t.Errorf("an instant of which nothing is known now, as %s: %s", form, got)
		}
	}
	f.runs = nil
	if got := carillon(t.Context(), f, "", "logs", "backup"); got.code != exitUnavailable || !strings.Contains(got.stderr, words) {
		t.Errorf("the output of a job whose runs nobody tells: %s", got)
	}
}

// TestWaitsBearAGap: who waits for a run goes on when its owner does not tell of it
// for a moment.
func TestWaitsBearAGap(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	run := exampleRun(noon, job.StateRunning)
	run.Tasks = nil
	id := string(run.RunID)
	f.runs = append(f.runs, run)
	at := "GET /v1/runs/" + id
	f.seen = func(f *fake, what string) {
		if what != at {
			return
		}
		switch f.asked[what] {
		case 2, 3:
			f.status[at] = http.StatusServiceUnavailable
		case 4:
			delete(f.status, at)
			f.runs[len(f.runs)-1] = exampleRun(noon, job.StateSucceeded)
		}
	}
	f.output = []string{line("web-1", 1, "one\n")}
	if got := carillon(t.Context(), f, "", "logs", id, "-f"); got.code != 0 || got.stdout != "one\n" {
		t.Errorf("it does not wait: %s", got)
	}
	if f.asked[at] < 4 {
		t.Errorf("the run was asked for %d times", f.asked[at])
	}
}

// TestPagesGapsAreJoined: what any page lacks is told, not what the last one lacks.
func TestPagesGapsAreJoined(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.missing = []api.MissingRuns{{Shards: []job.ShardID{7}}}
	got := carillon(t.Context(), f, "", "runs", "--all", "-A", "-o", "json")
	var runs []job.Run
	if err := json.Unmarshal([]byte(got.stdout), &runs); err != nil || len(runs) != len(f.runs) || strings.Count(got.stderr, "1 shard that no node owns now") != 1 {
		t.Errorf("%v: %s", err, got)
	}
}
