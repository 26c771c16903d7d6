package steps

import (
	"bytes"
	"slices"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzResults: the result file is the account's that ran the steps; what is
// taken of it is within the ranges that records have.
func FuzzResults(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", `[{"name":"a","state":"succeeded","exitCode":0,"took":"1s"}]`, `[{"name":"a","state":"failed","exitCode":3}]` + "\n" + "rest of a longer one",
		`[{"name":"a","state":"running"}]`, `[{"name":"a","state":"failed","exitCode":1e9}]`, `[{"name":"a b\u001b[2J","state":"failed","exitCode":-1}]`, `[{"name":"a","state":"failed","took":"-1s"}]`, `{"name":"a"}`,
	} {
		f.Add([]byte(s))
	}
	fuzzed.Run(f, func(t *testing.T, in []byte) {
		results := Results(bytes.NewReader(in))
		if len(results) > job.MaxSteps {
			t.Errorf("%d results", len(results))
		}
		for _, r := range results {
			states := []job.State{job.StateSucceeded, job.StateFailed, job.StateTimedOut, job.StateCancelled, job.StateSkipped}
			if job.CheckName(r.Name) != nil || !slices.Contains(states, r.State) || r.ExitCode < 0 || r.ExitCode > 255 || r.Took < 0 || r.Took > job.Duration(job.MaxTimeout) {
				t.Errorf("taken: %+v", r)
			}
		}
	})
}
