package agentpb

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

// full fails the test for every field of v that is zero: one that is new has to be
// in the values below, and so on the wire.
func full(t *testing.T, v any) {
	t.Helper()
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		if s.Type().Field(i).Tag.Get("json") == "-" {
			continue // it never leaves its node
		}
		if s.Field(i).IsZero() {
			t.Errorf("%s.%s is not in the test", s.Type(), s.Type().Field(i).Name)
		}
	}
}

func TestOrderSurvivesTheWire(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 2).UTC()
	step := job.OrderStep{
		Name: "s", Command: []string{"sh"}, Script: &job.OrderScript{SHA256: "b", Source: "y"}, Args: []string{"a", ""}, Env: map[string]string{"A": "b"},
		If: job.IfAlways, ContinueOnFailure: true, Timeout: time.Second,
	}
	full(t, step)
	full(t, *step.Script)
	want := job.Order{
		Task:  job.TaskID{Fire: job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerManual, Share: 3}, Minion: "m", Attempt: 2},
		Shard: 4, Token: job.Token{Epoch: 1, Revision: 2}, Term: 8, Key: job.Key{Namespace: "n", Name: "j"}, RunID: "r", Subject: "s", Author: "a", JobAuthor: "b",
		Command: []string{"x"}, Script: &job.Script{Interpreter: []string{"i"}, Source: "t"}, ScriptSHA256: "a", Steps: []job.OrderStep{step},
		Env: map[string]string{"k": "v"}, Secrets: map[string]job.OrderSecret{"s": {Value: "sesame", Mask: true}, "n": {Secret: &job.SecretRef{Name: "pw"}, Sealed: "age"}, "f": {Secret: &job.SecretRef{File: "/f"}}, "v": {Secret: &job.SecretRef{Env: "V"}}, "p": {Secret: &job.SecretRef{Exec: []string{"/p", ""}}, Mask: true}},
		WorkingDir: "/", User: "u", Limits: job.Limits{Memory: 1, Pids: 2, CPU: 3},
		ScheduledAt: at, NotAfter: at.Add(1), Timeout: time.Minute, HoldUntil: 7,
	}
	full(t, want)
	got, err := ToOrder(FromOrder(&want), "")
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	want.Script.Source = "" // asked for by its hash
	if got, err = ToOrder(FromOrder(&want), ""); !cmp.Equal(want, got) || err != nil {
		t.Errorf("by hash: %+v, %v", got, err)
	}
}

func TestReportSurvivesTheWire(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 2).UTC()
	step := job.StepResult{Name: "s", State: job.StateFailed, ExitCode: 3, Took: 4}
	full(t, step)
	want := job.Report{
		Task: job.TaskID{Fire: job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerManual}, Minion: "m", Attempt: 2}, Shard: 4, Known: true,
		State: job.StateFailed, Reason: "why", StartedAt: at, EndedAt: at.Add(1), Exit: &job.Exit{Code: 1, Signal: "S", UserCPU: 1, SystemCPU: 2, MaxRSS: 3},
		Stdout: job.Output{Head: "h", Tail: "t", Bytes: 9, Truncated: true}, Stderr: job.Output{Head: "e"}, Steps: []job.StepResult{step}, Spooled: true, Returned: true,
		Token: job.Token{Epoch: 7, Revision: 8}, Term: 9, Instance: "i",
		Verdict: job.VerdictSnooze, After: 10, Progress: &job.Progress{Percent: 11, Text: "p"}, Checkpoint: "{}",
	}
	full(t, want)
	got, err := ToReport(FromReport(&want), "")
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// A kind of trigger that there is not, or that only its last byte names, makes no
// task of another kind.
func TestUnknownTriggersAreRefused(t *testing.T) {
	t.Parallel()
	for n := range uint32(600) {
		id, err := ToTask(&TaskID{Job: make([]byte, len(job.UID{})), Trigger: n}, "m1")
		if known := n >= 1 && n <= uint32(job.TriggerRedo); known != (err == nil) || known && uint32(id.Fire.Trigger) != n {
			t.Errorf("trigger %d: %v, %v", n, id, err)
		}
		if _, parsed := job.ParseTrigger(job.Trigger(n).String()); n < 256 && (parsed == nil) != job.Trigger(n).Known() {
			t.Errorf("trigger %d is known: %t; its name can be read: %v", n, job.Trigger(n).Known(), parsed)
		}
	}
}
