package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// TestRedoOnVeryMany: a run on as many minions as a cluster has can be done
// again; if their names cannot be stored, nothing is, and the reason is told.
func TestRedoOnVeryMany(t *testing.T) {
	t.Parallel()
	const many = 100_000
	for _, c := range []struct {
		name string
		id   func(i int) string
		err  string
	}{
		{"numbered", func(i int) string { return fmt.Sprintf("web-%06d.example.com", i) }, ""},
		{"random", func(i int) string {
			sum := sha256.Sum256(fmt.Append(nil, i))
			return hex.EncodeToString(sum[:20])
		}, "the names of 100000 minions take"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			o := object("j")
			o.Spec.Target.Run = job.SpreadAll
			e.apply(t, o)
			run := someRun(e.storedJob(t, "j").UID, "j", e.now(), job.StateFailed)
			var want []job.MinionID
			for i := range many {
				want = append(want, job.MinionID(c.id(i)))
				run.Tasks = append(run.Tasks, job.Task{Minion: want[i], Attempt: 1, State: job.StateFailed})
			}
			slices.Sort(want)
			e.runs.end(run)
			_, err := e.Redo(t.Context(), run.RunID, nil, api.Order{})
			stored := e.triggers(t)
			if c.err != "" {
				var invalid *job.InvalidError
				if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.err) || len(stored) != 0 {
					t.Errorf("%v, and %d starts are stored; want %q, and none", err, len(stored), c.err)
				}
				return
			}
			if err != nil || len(stored) != 1 || !slices.Equal(stored[0].Hosts, want) {
				t.Errorf("%v, and the starts that are stored are not one on all %d minions", err, many)
			}
		})
	}
}
