package job

import (
	"strings"
	"testing"
	"time"
)

func TestRetryAllows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codes []int
		state State
		exit  *Exit
		want  bool
	}{
		"any failure":          {nil, StateFailed, &Exit{Code: 3}, true},
		"a code of the list":   {[]int{3, 4}, StateFailed, &Exit{Code: 4}, true},
		"another code":         {[]int{3, 4}, StateFailed, &Exit{Code: 1}, false},
		"never started":        {[]int{3}, StateFailed, nil, false},
		"timed out":            {[]int{3}, StateTimedOut, nil, true},
		"succeeded":            {nil, StateSucceeded, &Exit{}, false},
		"nobody knows":         {nil, StateIndeterminate, nil, false},
		"ended by a request":   {nil, StateCancelled, &Exit{Code: -1}, false},
		"lost on its way":      {[]int{3}, StateDeliveryTimeout, nil, true},
		"killed by a signal":   {[]int{3}, StateFailed, &Exit{Code: -1, Signal: "SIGSEGV"}, false},
		"killed, no list":      {nil, StateFailed, &Exit{Code: -1, Signal: "SIGSEGV"}, true},
		"dropped from a topic": {nil, StateDropped, nil, true},
	} {
		r := Retry{Attempts: 2, ExitCodes: c.codes}
		if got := r.Allows(c.state, c.exit); got != c.want {
			t.Errorf("%s: allowed %v, want %v", name, got, c.want)
		}
	}
	final := Retry{Attempts: 2, PermanentExitCodes: []int{64, 137}}
	for name, c := range map[string]struct {
		state State
		exit  *Exit
		want  bool
	}{
		"another exit code": {StateFailed, &Exit{Code: 1}, true}, "a permanent one": {StateFailed, &Exit{Code: 64}, false},
		"a permanent signal": {StateFailed, &Exit{Code: -1, Signal: "SIGKILL"}, false}, "a handler": {StateFailed, nil, true},
		"a timeout": {StateTimedOut, &Exit{Code: -1, Signal: "SIGKILL"}, true},
	} {
		if got := final.Allows(c.state, c.exit); got != c.want {
			t.Errorf("permanent exit codes, %s: allowed %v, want %v", name, got, c.want)
		}
	}
}

func TestDelayIsStable(t *testing.T) {
	t.Parallel()
	s := Spec{Jitter: Duration(time.Minute)}
	id := FireID{Job: UID{1}, At: 1e18, Trigger: TriggerSchedule}
	if a, b := s.Delay(id), s.Delay(id); a != b || a < 0 || a >= time.Minute {
		t.Errorf("delays %v and %v, want one under a minute", a, b)
	}
	id.Trigger = TriggerManual
	if d := s.Delay(id); d != 0 {
		t.Errorf("a start by hand waits %v", d)
	}
}

func TestWindowsAreChecked(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := Spec{
		Command: []string{"x"}, Overlap: OverlapSkip, OverlapLimit: 5, OverlapGrace: Duration(time.Second),
		Jitter: Duration(-1), CatchUp: Duration(-time.Second), StartAt: &now, EndAt: &now, Retry: Retry{ExitCodes: []int{0, 3, 256}, PermanentExitCodes: []int{0}},
	}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Path)
	}
	want := "spec.retry.exitCodes[0] spec.retry.exitCodes[2] spec.retry.permanentExitCodes[0] spec.retry.permanentExitCodes spec.jitter spec.catchUp spec.endAt spec.retry.exitCodes spec.overlapLimit spec.overlapGrace"
	if strings.Join(got, " ") != want {
		t.Errorf("problems with %v, want %s", got, want)
	}
}
