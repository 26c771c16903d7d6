package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// What a command of the workload writes is what is read, and it ends as it says.
func TestTraceLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "trace")
	fire := scheduled(job.UID{1}, time.Unix(5, 0))
	for _, c := range []struct {
		args  []string
		exits string
		want  started
	}{
		{nil, "", started{attempt: 1}},
		{[]string{"v12"}, "3", started{attempt: 2, exits: 3, version: 12}},
	} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", traceLine}, c.args...)...)
		cmd.Env = []string{"TRACE=" + path, "CARILLON_FIRE_ID=" + fire.String(), "CARILLON_TOKEN=1.7", "CARILLON_MINION=w1", "CARILLON_ATTEMPT=1"}
		if c.exits != "" {
			cmd.Env = append(cmd.Env, "EXITS="+c.exits, "LASTS=0.01", "CARILLON_ATTEMPT=2")
		}
		began := time.Now()
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != c.want.exits {
			t.Errorf("ended with %v, want %d", err, c.want.exits)
		}
		_, all, err := readTrace(path)
		if err != nil {
			t.Fatal(err)
		}
		got := all[len(all)-1]
		const tick = 20 * time.Millisecond // both clocks count in hundredths
		if off := got.at.Sub(began); off < -tick || got.at.After(time.Now().Add(tick)) {
			t.Errorf("started %v after it was asked to", off)
		}
		got.at = time.Time{}
		c.want.fire, c.want.token, c.want.minion = fire, job.Token{Epoch: 1, Revision: 7}, "w1"
		if got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}
