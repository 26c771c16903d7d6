package handlertest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/handler/shared"
)

// Conforms holds a program against the protocol (docs/handlers.md). start starts it for a
// socket; the kit ends it by closing the connection, and by what start registers with
// t.Cleanup. The program has to have one handler, "conform", whose input is an object with
// "do":
//
//	{"do": "echo", "text": T}    output T and a line end, and ok
//	{"do": "fail", "text": T}    failed, with T in the reason
//	{"do": "permanent"}          permanent
//	{"do": "snooze"}             snooze, for 60 seconds
//	{"do": "progress"}           progress of 50 percent with the text "half", and ok
//	{"do": "checkpoint"}         the number in its checkpoint (0 without one) and one more is
//	                             its new checkpoint, and ok
//	{"do": "share"}              counts the counter "n" of its run up by 1, waits at the barrier
//	                             "all", outputs what the counter has come to and a line end,
//	                             and ok. Where one of the answers is not ok: failed, with the
//	                             reason of that answer
//	{"do": "wait"}               waits until it is cancelled, and says so: "interrupted"
//	                             when the cause is "stopping", failed otherwise
//
// Anything else is permanent.
func Conforms(t *testing.T, start func(t *testing.T, socket string)) {
	t.Helper()
	m := Listen(t)
	start(t, m.Socket)
	c := m.Connected()
	if len(c.Hello.Handlers) != 1 || c.Hello.Handlers[0].Name != "conform" {
		t.Fatalf("hello tells of %+v; it is to have one handler, conform", c.Hello.Handlers)
	}
	type does = map[string]any
	for _, tc := range []struct {
		name string
		task Task
		want string
		and  func(Outcome) bool
	}{
		{"echo", Task{Input: does{"do": "echo", "text": "über alles\tand \"quotes\""}}, protocol.OK, func(o Outcome) bool { return o.Output == "über alles\tand \"quotes\"\n" }},
		{"a task after another", Task{Input: does{"do": "echo", "text": ""}}, protocol.OK, func(o Outcome) bool { return o.Output == "\n" }},
		{"a long text", Task{Input: does{"do": "echo", "text": strings.Repeat("x", 60_000)}}, protocol.OK, func(o Outcome) bool { return len(o.Output) == 60_001 }},
		{"fail", Task{Input: does{"do": "fail", "text": "out of paper"}}, protocol.Failed, func(o Outcome) bool { return strings.Contains(o.Reason, "out of paper") }},
		{"permanent", Task{Input: does{"do": "permanent"}}, protocol.Permanent, nil},
		{"snooze", Task{Input: does{"do": "snooze"}}, protocol.Snooze, func(o Outcome) bool { return o.After == time.Minute }},
		{"progress", Task{Input: does{"do": "progress"}}, protocol.OK, func(o Outcome) bool {
			return len(o.Progress) == 1 && o.Progress[0].Percent == 50 && o.Progress[0].Text == "half"
		}},
		{"a first checkpoint", Task{Input: does{"do": "checkpoint"}}, protocol.OK, func(o Outcome) bool { return same(o.Checkpoint, "1") }},
		{"a checkpoint that another has left", Task{Input: does{"do": "checkpoint"}, Checkpoint: 41}, protocol.OK, func(o Outcome) bool { return same(o.Checkpoint, "42") }},
		{"cancelled", Task{Input: does{"do": "wait"}, CancelAfter: 50 * time.Millisecond}, protocol.Failed, nil},
		{"interrupted", Task{Input: does{"do": "wait"}, CancelAfter: 50 * time.Millisecond, Cause: protocol.Stopping}, protocol.Interrupted, nil},
		{"what a run shares", Task{Input: does{"do": "share"}, NoItem: true, stray: true, Shared: counted()}, protocol.OK, func(o Outcome) bool {
			return o.Output == "42\n" && slices.Equal(o.Barriers, []string{"all"})
		}},
		{"a barrier that is broken", Task{Input: does{"do": "share"}, NoItem: true, Shared: counted(), Broken: map[string]string{"all": "the task on web3 has ended"}}, protocol.Failed, func(o Outcome) bool {
			return o.Output == "" && strings.Contains(o.Reason, "the task on web3 has ended")
		}},
		{"a counter that is none", Task{Input: does{"do": "share"}, NoItem: true, Shared: &shared.Values{Version: 1, Entries: map[string]shared.Entry{"n": {Value: "x", Version: 1}}}}, protocol.Failed, func(o Outcome) bool {
			return len(o.Barriers) == 0 && strings.Contains(o.Reason, "no whole number")
		}},
		{"input that it does not take", Task{Input: does{"do": "nonsense"}}, protocol.Permanent, nil},
		{"alive after all that", Task{Input: does{"do": "echo", "text": "yes"}}, protocol.OK, func(o Outcome) bool { return o.Output == "yes\n" }},
	} {
		out, err := c.Do("conform", tc.task)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if out.Result != tc.want || tc.and != nil && !tc.and(out) {
			t.Errorf("%s: result %q, want %q: %+v", tc.name, out.Result, tc.want, out)
		}
	}
	// A member that it does not know, and a cancellation of a task that it has not, are nothing.
	if err := c.Send(&protocol.Line{Type: protocol.Cancel, Task: "none", Cause: protocol.Cancelled}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.nc.Write([]byte(`{"type":"weather","sun":true}` + "\n")); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Do("conform", Task{Input: does{"do": "echo", "text": "still"}}); err != nil || out.Output != "still\n" {
		t.Errorf("after lines that mean nothing to it: %+v, %v", out, err)
	}
}

// counted is what a run shares whose counter stands at 41.
func counted() *shared.Values {
	return &shared.Values{Version: 7, Entries: map[string]shared.Entry{"n": {Value: "41", Version: 7}}}
}

// same reports whether two texts are the same JSON.
func same(got json.RawMessage, want string) bool {
	return strings.TrimSpace(string(got)) == want
}
