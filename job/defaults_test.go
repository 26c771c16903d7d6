package job

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// A job gets what it does not say itself, and nothing that has no effect on it.
func TestDefaultsFill(t *testing.T) {
	t.Parallel()
	d := DefaultsSpec{
		User: "www", Env: map[string]string{"A": "default", "B": "default"}, Timeout: Duration(2 * time.Hour), Retry: Retry{Attempts: 3},
		PauseAfterFailures: 5, LateAfter: Duration(time.Minute),
	}
	if p := d.Validate(); len(p) > 0 {
		t.Fatalf("%+v", p)
	}
	validate := func(s *Spec) []Problem { return s.Validate() }
	plain := Spec{Schedules: []string{"@daily"}, Command: []string{"true"}, Env: map[string]EnvValue{"A": {Text: "own"}}, Timeout: Duration(time.Minute)}
	own := plain.Env
	filled, wrong := d.Fill(&plain, validate)
	told := strings.Join(filled, ", ")
	if len(wrong) > 0 || told != "user www, env B, retry, pauseAfterFailures, lateAfter 1m" {
		t.Errorf("filled: %s %v", told, wrong)
	}
	if plain.User != "www" || plain.Env["A"].Text != "own" || plain.Env["B"].Text != "default" || plain.Timeout != Duration(time.Minute) || plain.Retry.Attempts != 3 || len(own) != 1 {
		t.Errorf("%+v", plain)
	}
	if again, _ := d.Fill(&plain, validate); len(again) > 0 {
		t.Errorf("filled again: %v", again)
	}
	queued := Spec{Dispatch: &QueueDispatch{Queue: "q"}}
	if told, _ := d.Fill(&queued, validate); strings.Join(told, ", ") != "lateAfter 1m" {
		t.Errorf("of a job that a queue runs: %v", told)
	}
	inside := Spec{Command: []string{"go:tidy"}}
	d.Fill(&inside, validate)
	if inside.User != "" || inside.PauseAfterFailures != 0 || inside.Timeout == 0 {
		t.Errorf("of a handler that is started by hand: %+v", inside)
	}
	full := Spec{Command: []string{"true"}, Env: map[string]EnvValue{}}
	for n := range MaxEnv {
		full.Env["V"+strconv.Itoa(n)] = EnvValue{}
	}
	if _, wrong := d.Fill(&full, validate); len(wrong) != 1 || wrong[0].Path != "spec.env" {
		t.Errorf("of a job that has no room for the variables: %v", wrong)
	}
}

func TestDefaultsAreChecked(t *testing.T) {
	t.Parallel()
	bad := DefaultsSpec{User: "a b", Env: map[string]string{"CARILLON_X": "1"}, Timeout: Duration(time.Nanosecond), Retry: Retry{Attempts: 1 << 20}, PauseAfterFailures: -1, LateAfter: Duration(-time.Second)}
	got := ""
	for _, p := range bad.Validate() {
		got += p.Path + "\n"
	}
	for _, want := range []string{"spec.user", "spec.env", "spec.timeout", "spec.retry.attempts", "spec.pauseAfterFailures", "spec.lateAfter"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not told of:\n%s", want, got)
		}
	}
}
