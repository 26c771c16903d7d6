package job

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunJSONHasEveryField(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal([]Run{{}})
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("runId fireId namespace job state reason attempt scheduledAt startedAt endedAt node tasks") {
		if _, ok := got[0][name]; !ok {
			t.Errorf("field %q is missing in %s", name, b)
		}
	}
	for _, name := range []string{"startedAt", "endedAt"} {
		if got[0][name] != nil {
			t.Errorf("%s of a zero run: got %v, want null", name, got[0][name])
		}
	}
	if diff := cmp.Diff([]any{}, got[0]["tasks"]); diff != "" {
		t.Errorf("tasks of a zero run (-want +got):\n%s", diff)
	}
}

func TestRunJSONRoundTrip(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("UTC+2", 2*3600)
	at := time.Date(2026, 11, 20, 12, 0, 0, 123456789, zone)
	in := Run{
		RunID: "abcd-0123456789abcdef", FireID: FireID{Job: UID{1}, At: at.UnixNano(), Trigger: TriggerManual},
		Namespace: "default", Job: "hello", Trigger: "manual", State: StateFailed, Reason: "exit code 3", Attempt: 2,
		Node: "n1", Shard: 7, Token: Token{Epoch: 1, Revision: 9}, Count: 1,
		ScheduledAt: at, CommittedAt: at, DispatchedAt: at, StartedAt: at, EndedAt: at.Add(time.Second), Until: at,
		Tasks: []Task{{Minion: "m1", Attempt: 2, State: StateFailed, StartedAt: at, EndedAt: at, Exit: &Exit{Code: 3}, Stdout: Output{Head: "hi\n", Bytes: 3}}},
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "2026-11-20T10:00:00.123456789Z"); n != 8 {
		t.Errorf("got %d instants in UTC with nanoseconds, want 8: %s", n, b)
	}
	var got Run
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if len(in.Tasks) == 1 && in.Tasks[0].StartedAt.Location() != zone {
		t.Error("encoding changed the run")
	}
}

// A field of a task that is forgotten where tasks are written would be lost with
// its run's record.
func TestTaskJSONIsTheTask(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 12, 0, 0, 1, time.UTC)
	full := Task{
		Share: "n1", Minion: "m1", Attempt: 2, State: StateFailed, Reason: "why", StartedAt: at, EndedAt: at, GoneSince: at,
		Exit: &Exit{Code: 3}, Stdout: Output{Head: "a"}, Stderr: Output{Tail: "b"}, Steps: []StepResult{{Name: "one"}}, Item: &TaskItem{Queue: "q", ID: "x"},
	}
	for i, v := 0, reflect.ValueOf(full); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("this test leaves %s of a task empty", v.Type().Field(i).Name)
		}
	}
	for _, task := range []Task{full, {}} {
		want, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		run, err := json.Marshal(Run{Tasks: []Task{task}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(run), `"tasks":[`+string(want)+"]}") {
			t.Errorf("task %s, in a run: %s", want, run)
		}
	}
}
