package cli

import (
	"io"
	"os/user"
	"regexp"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// A run that was tried again began when its first attempt did: it is no later for that.
func TestRetriedRunBeganWithItsFirstAttempt(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	run := &f.runs[1]
	run.Attempt, run.StartedAt, run.EndedAt = 2, run.ScheduledAt.Add(3*time.Second), run.ScheduledAt.Add(4*time.Second)
	run.Attempts = []job.Attempt{{Attempt: 1, Minion: "web-1", State: job.StateFailed, StartedAt: run.ScheduledAt.Add(22 * time.Millisecond), EndedAt: run.ScheduledAt.Add(time.Second)}}
	describe := func() string {
		got := carillon(t.Context(), f, "", "describe", "run", string(run.RunID))
		if got.code != 0 {
			t.Fatal(got)
		}
		return got.stdout
	}
	if out := describe(); !regexp.MustCompile(`(?m)^  started +.* late by 22ms\n  last attempt +.* attempt 2\n  ended +.* took 1s$`).MatchString(out) {
		t.Errorf("want the start of the first attempt, and of the last one, in\n%s", out)
	}
	run.AttemptsLeftOut = 1 // the first is not known any more
	if out := describe(); regexp.MustCompile(`late by`).MatchString(out) || !regexp.MustCompile(`(?m)^  last attempt `).MatchString(out) {
		t.Errorf("nobody knows when it began:\n%s", out)
	}
}

// A run whose last attempt was not started, as its job was deleted before, did not take
// no time.
func TestRunThatWasNotStartedTookNothing(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	run := &f.runs[1]
	run.State, run.Attempt, run.StartedAt = job.StateCancelled, 2, time.Time{}
	run.Attempts = []job.Attempt{{Attempt: 1, Minion: "web-1", State: job.StateFailed, StartedAt: run.ScheduledAt.Add(22 * time.Millisecond), EndedAt: run.ScheduledAt.Add(time.Second)}}
	got := carillon(t.Context(), f, "", "describe", "run", string(run.RunID))
	if !regexp.MustCompile(`(?m)^  started +.* late by 22ms$`).MatchString(got.stdout) || regexp.MustCompile(`(?m)^  ended .*took`).MatchString(got.stdout) {
		t.Errorf("got\n%s", got.stdout)
	}
}

// Who asks is the account, whatever the environment lacks: never the name by which
// Carillon itself pauses a job that fails.
func TestWhoAsksIsTheAccount(t *testing.T) {
	t.Parallel()
	own, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{"ada": {"USER=ada", "LOGNAME=bob"}, "bob": {"LOGNAME=bob"}, own.Username: nil} {
		if got := newApp(Options{Env: env, Stdout: io.Discard, Stderr: io.Discard}).user(); got != want {
			t.Errorf("with %q: %q, want %q", env, got, want)
		}
	}
}
