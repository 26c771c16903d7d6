package command

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func read(t *testing.T, rules ...job.StartRule) *Bounds {
	t.Helper()
	b, err := ReadBounds(job.Bounds{{By: "ann", Rules: rules}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each thing that an order starts is bound, whatever it is started by (1, 2, 3).
func TestBoundsBindAllOfAnOrder(t *testing.T) {
	t.Parallel()
	const text = "echo hello"
	b := read(t, job.StartRule{RunAs: []string{"deploy"}, Commands: []job.CommandRule{
		`{"args":["restart",{"glob":"app-*"}],"env":{"KEY":{"any":"true"},"TZ":"UTC"},"params":["release"],"program":"/usr/bin/systemctl"}`,
		job.CommandRule(`{"args":[{"glob":"[a-z]*"}],"interpreter":["/bin/sh","-eu"],"script":"` + job.ScriptSum(text) + `"}`),
		`{"handler":"mail","args":"any"}`,
	}})
	ok := job.Order{User: "deploy", Command: []string{"/usr/bin/systemctl", "restart", "app-1"}}
	with := func(change func(*job.Order)) job.Order { o := ok; change(&o); return o }
	script := job.OrderStep{Script: &job.OrderScript{SHA256: job.ScriptSum(text)}, Command: []string{"/bin/sh", "-eu"}, Args: []string{"x"}}
	steps := func(list ...job.OrderStep) job.Order {
		return with(func(o *job.Order) { o.Command, o.Steps = nil, list })
	}
	for name, c := range map[string]struct {
		o   job.Order
		why string
	}{
		"as it stands":         {ok, ""},
		"with what is named":   {with(func(o *job.Order) { o.Env = map[string]string{"TZ": "UTC", "CARILLON_PARAM_RELEASE": "1"} }), ""},
		"another program":      {with(func(o *job.Order) { o.Command = []string{"/bin/sh", "-c", "id"} }), `the program is "/bin/sh"`},
		"by the search path":   {with(func(o *job.Order) { o.Command = []string{"systemctl", "restart", "app-1"} }), "write that path"},
		"roundabout":           {with(func(o *job.Order) { o.Command = []string{"/usr/bin/../bin/systemctl", "restart", "app-1"} }), "the program is"},
		"another argument":     {with(func(o *job.Order) { o.Command = []string{"/usr/bin/systemctl", "restart", "sshd"} }), `argument 2 is "sshd"`},
		"one more argument":    {with(func(o *job.Order) { o.Command = append(o.Command, "app-2") }), "and the rule has 2"},
		"a value, undecided":   {with(func(o *job.Order) { o.Command = []string{"/usr/bin/systemctl", "restart", job.Undecided} }), "argument 2 is"},
		"the minion's account": {with(func(o *job.Order) { o.User = "" }), "it is to run as @minion"},
		"another account":      {with(func(o *job.Order) { o.User = "root" }), "it is to run as root"},
		"a variable":           {with(func(o *job.Order) { o.Env = map[string]string{"LD_PRELOAD": "/x"} }), "it sets the variable LD_PRELOAD"},
		"another parameter":    {with(func(o *job.Order) { o.Env = map[string]string{"CARILLON_PARAM_X": "/x"} }), "it has the parameter x"},
		"a directory":          {with(func(o *job.Order) { o.WorkingDir = "/tmp" }), "it is to start in /tmp"},
		"a script of its own":  {with(func(o *job.Order) { o.Command, o.Script = nil, &job.Script{Source: "id"} }), "the script"},
		"its text, by its hash": {with(func(o *job.Order) {
			o.Command, o.Script, o.ScriptSHA256 = nil, &job.Script{Source: "id"}, job.ScriptSum(text)
		}), "the script"},
		"a step":                  {steps(job.OrderStep{Command: ok.Command}), ""},
		"a script of the library": {steps(script), ""},
		"one step of two":         {steps(job.OrderStep{Command: ok.Command}, job.OrderStep{Command: []string{"/bin/sh", "-c", "id"}}), `the program is "/bin/sh"`},
		"a step's variable":       {steps(job.OrderStep{Command: ok.Command, Env: map[string]string{"BASH_ENV": "x"}}), "it sets the variable BASH_ENV"},
		"another script":          {steps(job.OrderStep{Script: &job.OrderScript{SHA256: job.ScriptSum("id")}, Command: script.Command, Args: script.Args}), "the script is"},
		"another interpreter":     {steps(job.OrderStep{Script: script.Script, Command: []string{"/bin/sh", "-c"}, Args: script.Args}), "the interpreter has"},
		"a handler":               {with(func(o *job.Order) { o.Command = []string{"go:mail", "x"} }), ""},
		"another handler":         {with(func(o *job.Order) { o.Command = []string{"go:other"} }), "the Go handler other is to run"},
		"nothing":                 {with(func(o *job.Order) { o.Command = nil }), "the program is"},
	} {
		_, err := b.Within(&c.o)
		if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
	}
	// What is not known yet is looked at when it is; the rest is looked at now.
	for arg, admitted := range map[string]bool{job.Undecided: true, "x" + job.Undecided: true, "sshd": false} {
		o := with(func(o *job.Order) { o.Command = []string{"/usr/bin/systemctl", "restart", arg} })
		if _, err := b.Admitting(&o, true); (err == nil) != admitted {
			t.Errorf("a draft with %q: %v", arg, err)
		}
	}
}

// An order may go where the rules that admit it say, and nowhere that another rule says;
// of several bounds all have to admit it (3).
func TestBoundsBindMinions(t *testing.T) {
	t.Parallel()
	x, y := job.CommandRule(`{"program":"/bin/x"}`), job.CommandRule(`{"program":"/bin/y"}`)
	web, db := job.StartRule{Targets: []string{"web*", "@edge"}, Commands: []job.CommandRule{x}}, job.StartRule{Targets: []string{"db*"}, Commands: []job.CommandRule{y}}
	run := func(program string) *job.Order { return &job.Order{Command: []string{program}} }
	for name, c := range map[string]struct {
		b       *Bounds
		program string
		want    string
	}{
		"none":             {nil, "/bin/z", ""},
		"one rule":         {read(t, web, db), "/bin/x", "(web*) or (@edge)"},
		"the other":        {read(t, web, db), "/bin/y", "(db*)"},
		"no rule":          {read(t, web, db), "/bin/z", "refused"},
		"two rules":        {read(t, web, job.StartRule{Targets: []string{"db*"}}), "/bin/x", "(web*) or (@edge) or (db*)"},
		"one without":      {read(t, web, job.StartRule{RunAs: []string{job.OwnAccount}}), "/bin/x", ""},
		"of no rule":       {read(t), "/bin/x", "refused"},
		"two bounds":       {both(read(t, web), read(t, db, job.StartRule{Targets: []string{"m1"}})), "/bin/x", "((web*) or (@edge)) and ((m1))"},
		"one bound of two": {both(read(t, web), read(t, db)), "/bin/x", "refused"},
	} {
		got, err := c.b.Within(run(c.program))
		if err != nil {
			got = "refused"
		}
		if got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	if got := Narrowed(job.Target{Match: "a or b"}, "(c)").Match; got != "(a or b) and ((c))" {
		t.Errorf("narrowed to %s", got)
	}
}

// What cannot be read admits nothing (4).
func TestBoundsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []job.CommandRule{"", "{", "null", "[]", `{"program":"x"}`, `{"program":"/bin/x","new":"field"}`, `{"program":"/bin/x","user":"root"}`, `{"program":"/bin/x","program":"/bin/y"}`} {
		if b, err := ReadBounds(job.Bounds{{Rules: []job.StartRule{{Commands: []job.CommandRule{text}}}}}); err == nil || b != nil {
			t.Errorf("%s is read as %+v", text, b)
		}
	}
}

func both(a, b *Bounds) *Bounds { return &Bounds{append(a.all, b.all...)} }

// A role says by its bindings who holds it: its rules take no subjects (5).
func TestRolesTakeNoSubjects(t *testing.T) {
	t.Parallel()
	_, err := ReadBounds(job.Bounds{{Rules: []job.StartRule{{Commands: []job.CommandRule{`{"program":"/bin/x","subjects":["ada"]}`}}}}})
	if err == nil || !strings.Contains(err.Error(), "is for a minion's own list") {
		t.Errorf("subjects in a role: %v", err)
	}
}
