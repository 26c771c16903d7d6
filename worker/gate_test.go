package worker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
)

// A minion starts what its list has, in every way in which a task may be written,
// and refuses anything else with the nearest rule.
func TestMinionKeepsToItsList(t *testing.T) {
	t.Parallel()
	const text = "echo \"text $1\"\n"
	n, dir := newNode(t), dataDir(t)
	var called atomic.Int32
	n.handlers = map[string]Handler{"x": func(context.Context, *Call) error { called.Add(1); return nil }}
	sum := job.ScriptSum(text)
	var err error
	if n.allow, err = allow.Parse("allow.yaml", []byte(`
rules:
  - {name: echo, program: /bin/echo, args: [hi], env: {A: b}}
  - {name: text, script: `+sum+`, args: any, params: [p]}
  - {name: go, handler: x, args: [one]}
`)); err != nil {
		t.Fatal(err)
	}
	start(t, n, dir)
	marker := filepath.Join(t.TempDir(), "made")
	// A program of the task's own search path that is called as the admitted one.
	evil := t.TempDir()
	if err := os.WriteFile(evil+"/echo", []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := func(source string, by ...string) *job.Order {
		o := newOrder()
		o.Command, o.Script = nil, &job.Script{Source: source, Interpreter: by}
		return o
	}
	steps := func(list ...job.OrderStep) *job.Order {
		o := newOrder()
		o.Command, o.Steps = nil, list
		return o
	}
	with := func(o *job.Order, change func(*job.Order)) *job.Order { change(o); return o }
	good := job.OrderStep{Name: "good", Command: []string{"echo", "hi"}}
	for name, c := range map[string]struct {
		order  *job.Order
		state  job.State
		reason string
		stdout string
	}{
		"a command":            {newOrder("/bin/echo", "hi"), job.StateSucceeded, "", "hi\n"},
		"by the search path":   {with(newOrder("echo", "hi"), func(o *job.Order) { o.Env = map[string]string{"A": "b"} }), job.StateSucceeded, "", "hi\n"},
		"another command":      {newOrder("/bin/sh", "-c", "touch "+marker), job.StateRejected, `rule "echo" (line 3) is nearest`, ""},
		"from another place":   {newOrder(evil+"/echo", "hi"), job.StateRejected, "the program is " + evil + "/echo, and the rule has /", ""},
		"its own search path":  {with(newOrder("echo", "hi"), func(o *job.Order) { o.Env = map[string]string{"PATH": evil} }), job.StateRejected, "it sets the variable PATH", ""},
		"from its directory":   {with(newOrder("./echo", "hi"), func(o *job.Order) { o.WorkingDir = evil }), job.StateRejected, "names no workingDir", ""},
		"a directory":          {with(newOrder("/bin/echo", "hi"), func(o *job.Order) { o.WorkingDir = "/" }), job.StateRejected, "it is to start in /, and the rule names no workingDir", ""},
		"a script":             {script(text), job.StateSucceeded, "", "text \n"},
		"another script":       {script("touch " + marker), job.StateRejected, `rule "text"`, ""},
		"another interpreter":  {script(text, "/bin/sh", "-x"), job.StateRejected, `the interpreter has the arguments ["-x"]`, ""},
		"a lie about the text": {with(script("touch "+marker), func(o *job.Order) { o.ScriptSHA256 = sum }), job.StateRejected, "does not have the hash", ""},
		"steps": {steps(good, job.OrderStep{Name: "script", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: sum, Source: text}, Args: []string{"z"}, Env: map[string]string{"CARILLON_PARAM_P": "1"}}),
			job.StateSucceeded, "", "hi\ntext z\n"},
		"a bad step":     {steps(good, job.OrderStep{Name: "bad", Command: []string{"touch", marker}}), job.StateRejected, "step bad: this minion's list", ""},
		"a step's env":   {steps(job.OrderStep{Name: "bad", Command: []string{"echo", "hi"}, Env: map[string]string{"LD_PRELOAD": "x"}}), job.StateRejected, "LD_PRELOAD", ""},
		"a step's lie":   {steps(job.OrderStep{Name: "bad", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: sum, Source: "touch " + marker}}), job.StateRejected, "does not have the hash", ""},
		"a handler":      {newOrder("go:x", "one"), job.StateSucceeded, "", ""},
		"another's args": {newOrder("go:x", "two"), job.StateRejected, `argument 1 is "two"`, ""},
		"another's user": {with(newOrder("go:x", "one"), func(o *job.Order) { o.User = "nobody" }), job.StateRejected, "is to run as nobody", ""},
	} {
		n.order(c.order)
		r := n.final(c.order)
		if r.State != c.state || !strings.Contains(r.Reason, c.reason) || r.Stdout.Head != c.stdout {
			t.Errorf("%s: %s (%s), %q", name, r.State, r.Reason, r.Stdout.Head)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("something ran that is not on the list")
	}
	if called.Load() != 1 {
		t.Errorf("the handler was called %d times", called.Load())
	}
}
