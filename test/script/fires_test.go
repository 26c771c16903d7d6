package script

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carillon-cron/carillon/job"
)

func checkFiresCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "checkfires FIRES RUNS STEP")
	step, err := time.ParseDuration(args[2])
	ts.Check(err)
	var runs []job.Run
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &runs))
	fires := strings.Fields(ts.ReadFile(args[0]))
	if problems := checkFires(fires, runs, step); len(problems) > 0 {
		ts.Fatalf("%s", strings.Join(problems, "\n"))
	}
	ts.Logf("%d fires and %d records agree", len(fires), len(runs))
}

// checkFires compares the fire ids that a job has written with the records of
// its runs. The job is due once per step, all its runs have ended, and all
// their records are given. It returns what is wrong:
//
//   - a fire that ran twice;
//   - a fire that ran and has no record, or one that says it was not started;
//   - a record that says it succeeded, of a fire that left no trace;
//   - an instant between the first and the last record that has no record, or
//     several.
func checkFires(fires []string, runs []job.Run, step time.Duration) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	wrote := make(map[string]int)
	for _, f := range fires {
		wrote[f]++
	}
	for _, f := range slices.Sorted(maps.Keys(wrote)) {
		if n := wrote[f]; n > 1 {
			problem("%s ran %d times", f, n)
		}
	}

	records := make(map[string]job.Run)
	instants := make(map[int64]int)
	var first, last int64
	for _, r := range runs {
		id := r.FireID.String()
		records[id] = r
		if !r.State.Final() {
			problem("%s has not ended: %s", id, r.State)
		}
		if r.State == job.StateSucceeded && wrote[id] == 0 {
			problem("%s is recorded as succeeded, and left no trace", id)
		}
		if r.FireID.Trigger != job.TriggerSchedule {
			continue
		}
		// A record may stand for a row of missed occurrences.
		for i := range max(r.Count, 1) {
			at := r.ScheduledAt.Add(time.Duration(i) * step).UnixNano()
			instants[at]++
			if first == 0 || at < first {
				first = at
			}
			last = max(last, at)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(wrote)) {
		switch r, ok := records[f]; {
		case !ok:
			problem("%s ran, and has no record", f)
		case r.State == job.StateSkipped || r.State == job.StateMissed:
			problem("%s ran, and is recorded as %s", f, r.State)
		}
	}
	if first == 0 {
		problem("there is no record of a scheduled run")
	}
	for at := first; at <= last && first != 0; at += int64(step) {
		if n := instants[at]; n != 1 {
			problem("%s has %d records, want 1", time.Unix(0, at).UTC().Format(time.RFC3339Nano), n)
		}
	}
	return problems
}

// The check must be able to fail: each of its complaints, once.
func TestCheckFires(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
	fire := func(second int) job.FireID {
		return job.FireID{Job: job.UID{1}, At: at(second).UnixNano(), Trigger: job.TriggerSchedule}
	}
	run := func(second int, state job.State, count int) job.Run {
		return job.Run{FireID: fire(second), ScheduledAt: at(second), State: state, Count: count}
	}
	good := []job.Run{run(5, job.StateSucceeded, 1), run(2, job.StateMissed, 3), run(1, job.StateSucceeded, 1)}
	wrote := []string{fire(1).String(), fire(5).String()}
	id := fire(1).String()
	for name, c := range map[string]struct {
		fires []string
		runs  []job.Run
		want  []string
	}{
		"all is well": {wrote, good, nil},
		"twice":       {append([]string{id}, wrote...), good, []string{id + " ran 2 times"}},
		"no trace":    {wrote[1:], good, []string{id + " is recorded as succeeded, and left no trace"}},
		"a gap":       {wrote, []job.Run{good[0], good[2], run(2, job.StateMissed, 2)}, []string{"2026-01-01T00:00:04Z has 0 records, want 1"}},
		"two records": {wrote, []job.Run{good[0], good[2], run(2, job.StateMissed, 4)}, []string{"2026-01-01T00:00:05Z has 2 records, want 1"}},
		"no record":   {wrote, good[:2], []string{id + " ran, and has no record"}},
		"skipped":     {wrote, []job.Run{good[0], good[1], run(1, job.StateSkipped, 1)}, []string{id + " ran, and is recorded as skipped"}},
		"not ended":   {wrote, []job.Run{good[0], good[1], run(1, job.StateRunning, 1)}, []string{id + " has not ended: running"}},
		"nothing":     {nil, nil, []string{"there is no record of a scheduled run"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, checkFires(c.fires, c.runs, time.Second)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
