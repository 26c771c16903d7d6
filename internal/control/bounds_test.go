package control

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// restart is what the users of these tests may start, on web1 and web2 as deploy.
var restart = job.StartRule{
	Targets: []string{"web*"}, RunAs: []string{"deploy"},
	Commands: []job.CommandRule{`{"args":["restart",{"glob":"app-*"}],"params":["app"],"program":"/usr/bin/systemctl"}`},
}

func limited(verb string, kinds ...string) job.RoleRule {
	return job.RoleRule{Verbs: []string{verb}, Resources: kinds, Targets: restart.Targets, RunAs: restart.RunAs, Commands: restart.Commands}
}

// narrow is a closed cluster of web1, web2 and db1, in which ann edits, runs and executes
// within bounds, and eve edits and runs whatever she likes.
func narrow(t *testing.T) (*env, context.Context, context.Context, *watchedDoor) {
	t.Helper()
	e, door := closedOf(t, func(d *Deps) {
		d.Minions = fakeMinions{{ID: "db1", Node: "n1"}, {ID: "web1", Node: "n1"}, {ID: "web2", Node: "n1"}}
	},
		role("restarter", limited("edit", "jobs"), limited("run", "jobs", "runs"), limited("exec", "minions", "jobs")), bound("ann", "restarter", "ann"),
		role("all", rule("edit", "jobs"), rule("edit", "scripts"), rule("run", "jobs"), rule("run", "runs")), bound("eve", "all", "eve"),
		bound("oli", "operator", "oli"),
	)
	return e, as(t.Context(), "ann"), as(t.Context(), "eve"), door
}

// restarts is a job that ann may store.
func restarts(name string, edits ...func(*job.Spec)) manifest.Object {
	return object(name, func(o *manifest.Object) {
		o.Spec.Command, o.Spec.User = []string{"/usr/bin/systemctl", "restart", "app-1"}, "deploy"
		o.Spec.Target = job.Target{Run: job.SpreadAll}
		for _, edit := range edits {
			edit(&o.Spec)
		}
	})
}

// by is a rule as it is kept, of a role.
func by(role string, r job.StartRule) job.StartRule {
	r.Role = role
	return r
}

func refusedFor(t *testing.T, name string, err error, why string) {
	t.Helper()
	if !errors.Is(err, job.ErrForbidden) || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v, want it refused: %s", name, err, why)
	}
}

// Whatever has a job start something is within what its author may have started, and the
// minions that this may be on are kept with the job.
func TestJobsAreStoredWithinTheBounds(t *testing.T) {
	t.Parallel()
	e, ann, eve, _ := narrow(t)
	if err := e.give(eve, t, manifest.Object{Kind: job.KindScript, Metadata: job.Metadata{Namespace: "ops", Name: "s"}, Script: job.ScriptSpec{Source: "id"}},
		object("theirs")); err != nil {
		t.Fatal(err)
	}
	for why, edit := range map[string]func(*job.Spec){
		`the program is "/bin/sh"`: func(s *job.Spec) { s.Command = []string{"/bin/sh", "-c", "id"} },
		`argument 2 is "sshd"`:     func(s *job.Spec) { s.Command[2] = "sshd" },
		"it is to run as root":     func(s *job.Spec) { s.User = "root" },
		"it is to run as @minion":  func(s *job.Spec) { s.User = "" },
		"the variable LD_PRELOAD":  func(s *job.Spec) { s.Env = map[string]job.EnvValue{"LD_PRELOAD": job.Text("/tmp/x.so")} },
		"start in /tmp":            func(s *job.Spec) { s.WorkingDir = "/tmp" },
		"the script ":              func(s *job.Spec) { s.Command, s.Script = nil, &job.Script{Source: "id"} },
		`is "/bin/bash"`: func(s *job.Spec) {
			s.Command, s.Steps = nil, []job.Step{{Command: []string{"/usr/bin/systemctl", "restart", "app-1"}}, {Command: []string{"/bin/bash", "-c", "id"}, If: job.IfFailure}}
		},
		`the program is "/bin/sh", and`:     func(s *job.Spec) { s.Command, s.Steps = nil, []job.Step{{Shell: "id"}} },
		"the script " + job.ScriptSum("id"): func(s *job.Spec) { s.Command, s.Steps = nil, []job.Step{{Script: "s"}} },
		"the program is \"/usr/bin/id\"": func(s *job.Spec) {
			s.Schedules, s.Command, s.After = nil, []string{"/usr/bin/id"}, &job.After{Jobs: []string{"theirs"}}
		},
		`the program is "/usr/bin/w"`: func(s *job.Spec) {
			s.Schedules, s.Command, s.Webhook = nil, []string{"/usr/bin/w"}, &job.Webhook{TokenSHA256: strings.Repeat("ab", 32)}
		},
		"the Go handler x": func(s *job.Spec) { s.Command, s.User = []string{"go:x"}, "" },
	} {
		refusedFor(t, why, e.give(ann, t, restarts("j", edit)), why)
	}
	// All that is wrong with a file is told at once, and nothing of it is stored.
	err := e.give(ann, t, restarts("good"), restarts("one", func(s *job.Spec) { s.User = "root" }), restarts("two", func(s *job.Spec) { s.Command[2] = "sshd" }))
	refusedFor(t, "two of three", err, "it is to run as root")
	refusedFor(t, "two of three", err, `argument 2 is "sshd"`)
	if _, _, err := e.Stored(t.Context(), job.Key{Namespace: "ops", Name: "good"}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("a part of a file that was refused is stored: %v", err)
	}

	data, err := manifest.Encode(restarts("j"))
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.Apply(ann, "f", data, false)
	if err != nil || !slices.ContainsFunc(done[0].Warnings, func(w string) bool { return strings.Contains(w, "1 of the 3 minions that it matches are left out") }) {
		t.Fatalf("%+v, %v", done, err)
	}
	want := job.Bounds{{By: "ann", Rules: []job.StartRule{by("restarter", restart)}, Verb: "edit", Resource: "jobs"}}
	is := func(what string, want job.Bounds) {
		t.Helper()
		if diff := cmp.Diff(want, e.storedJob(t, "j").Bounds); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	is("stored by ann", want)
	// An earlier version of somebody else's is what ann says, too.
	if err := e.give(eve, t, restarts("j", func(s *job.Spec) { s.User = "root" })); err != nil {
		t.Fatal(err)
	}
	is("stored by eve", nil)
	if err := e.give(ann, t, restarts("j")); err != nil {
		t.Fatal(err)
	}
	is("stored by ann again", want)
	// Who switches a job on and off has not looked at what it starts.
	for _, on := range []bool{false, true} {
		if _, err := e.SetEnabled(eve, job.Key{Namespace: "ops", Name: "j"}, on, api.Order{}); err != nil {
			t.Fatal(err)
		}
		is("switched by eve", want)
	}
	if _, err := e.SetEnabled(ann, job.Key{Namespace: "ops", Name: "theirs"}, false, api.Order{}); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("ann switches off what she may not store: %v", err)
	}
	if err := e.give(eve, t, restarts("j")); err != nil {
		t.Fatal(err)
	}
	is("applied by eve as it is", nil)
}

// A run by hand, again, or of a window of the schedule is within what who asks may have
// started; where it is not, nothing of it begins.
func TestRunsWithinTheBounds(t *testing.T) {
	t.Parallel()
	e, ann, eve, _ := narrow(t)
	web := func(s *job.Spec) { s.Target.Match, s.Schedules = "web*", nil }
	param := func(s *job.Spec) {
		web(s)
		s.Command, s.Params = nil, []job.Param{{Name: "app", Default: "app-1"}}
		s.Steps = []job.Step{{Command: []string{"/usr/bin/systemctl", "restart", "{{app}}"}}}
	}
	if err := e.give(eve, t, restarts("web", web), restarts("all"), restarts("shell", web, func(s *job.Spec) { s.Command = []string{"/bin/sh"} }), restarts("param", param)); err != nil {
		t.Fatal(err)
	}
	key := func(name string) job.Key { return job.Key{Namespace: "ops", Name: name} }
	start := func(name string, params map[string]string) error {
		_, err := e.Start(ann, key(name), api.StartRequest{Params: params})
		return err
	}
	refusedFor(t, "all minions", start("all", nil), "1 minion outside (web*): db1")
	refusedFor(t, "another command", start("shell", nil), `the program is "/bin/sh"`)
	refusedFor(t, "a parameter", start("param", map[string]string{"app": "sshd"}), `argument 2 is "sshd"`)
	_, err := e.Backfill(ann, key("all"), api.BackfillRequest{From: e.now().Add(-3 * time.Hour), To: e.now()})
	refusedFor(t, "a backfill", err, "db1")
	again := func(name string, state job.State, minions ...job.MinionID) job.RunID {
		run := someRun(e.storedJob(t, name).UID, name, e.now(), state)
		for _, m := range minions {
			run.Tasks = append(run.Tasks, job.Task{Minion: m, Attempt: 1, State: state})
		}
		e.runs.end(run)
		return run.RunID
	}
	_, err = e.Redo(ann, again("all", job.StateFailed, "web1", "db1"), nil, api.Order{})
	refusedFor(t, "a redo", err, "1 minion outside (web*): db1")
	_, err = e.Redo(ann, again("shell", job.StateFailed, "web1"), nil, api.Order{})
	refusedFor(t, "a redo of another command", err, `the program is "/bin/sh"`)
	if n := len(e.triggers(t)); n != 0 {
		t.Fatalf("%d starts are stored that were refused", n)
	}
	if err := start("web", nil); err != nil {
		t.Fatal(err)
	}
	if err := start("param", map[string]string{"app": "app-7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Redo(ann, again("all", job.StateFailed, "web1"), nil, api.Order{}); err != nil {
		t.Fatal(err)
	}
	for _, tr := range e.triggers(t) { // nodes keep to it, whatever the minions are by then
		if len(tr.Bounds) != 1 || !slices.Equal(tr.Bounds[0].Rules[0].Targets, restart.Targets) {
			t.Errorf("a start of ann's is bounded by %+v", tr.Bounds)
		}
	}
	// What ann has stored is started by others within what she may, too.
	if err := e.give(ann, t, restarts("param", param)); err != nil {
		t.Fatal(err)
	}
	if got := e.storedJob(t, "param").Bounds; len(got) != 1 {
		t.Errorf("bounded by %+v", got)
	}
}

// A command of one's own is within what who asks may have started, on all of the minions
// that its target matches; and so is each run of it again.
func TestExecWithinTheBounds(t *testing.T) {
	t.Parallel()
	e, ann, eve, _ := narrow(t)
	exec := func(ctx context.Context, edits ...func(*job.Spec)) (api.Exec, error) {
		o := restarts("exec", edits...)
		o.Spec.Schedules = nil
		data, err := manifest.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		return e.Exec(ctx, "f", data, api.StartRequest{})
	}
	web := func(s *job.Spec) { s.Target.Match = "web*" }
	_, err := exec(ann)
	refusedFor(t, "all minions", err, "1 minion outside (web*): db1")
	_, err = exec(ann, web, func(s *job.Spec) { s.User, s.Command = "root", []string{"/bin/sh"} })
	refusedFor(t, "another account", err, "it is to run as root")
	if n := strings.Count(err.Error(), "it is to run as root"); n != 1 { // both rights of exec are bounded
		t.Errorf("the reason is told %d times: %v", n, err)
	}
	refusedFor(t, "another command", err, `the program is "/bin/sh"`)
	_, err = exec(eve, web)
	refusedFor(t, "no right at all", err, "you may not exec minions")
	v, err := exec(ann, web)
	if err != nil {
		t.Fatal(err)
	}
	stored, _, err := e.Stored(t.Context(), v.Job)
	if err != nil || len(stored.Bounds) == 0 || stored.Bounds[0].By != "ann" {
		t.Errorf("%+v, %v", stored.Bounds, err)
	}
	// oli may execute whatever he likes; ann may not have that done again.
	v, err = exec(as(t.Context(), "oli"), func(s *job.Spec) { s.Target.Match, s.Command = "web*", []string{"/bin/sh"} })
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Start(ann, v.Job, api.StartRequest{})
	refusedFor(t, "a command of another's again", err, `the program is "/bin/sh"`)
}

// Nobody grants more than they hold, nor what bounds less; and what bounds nothing is told.
func TestBoundedRolesAreGranted(t *testing.T) {
	t.Parallel()
	e, ann, _, _ := narrow(t)
	if err := e.give(asRoot(t.Context()), t, role("granter", rule("grant", "roles")), bound("ann-grants", "granter", "ann")); err != nil {
		t.Fatal(err)
	}
	wider := func(change func(*job.RoleRule)) manifest.Object {
		r := limited("edit", "jobs")
		change(&r)
		return role("new", r)
	}
	granted := func(o manifest.Object) error { return e.give(ann, t, o, bound("new", "new", "bob")) }
	for name, o := range map[string]manifest.Object{
		"without bounds":     role("new", rule("edit", "jobs")),
		"other targets":      wider(func(r *job.RoleRule) { r.Targets = append(slices.Clone(r.Targets), "db*") }),
		"all targets":        wider(func(r *job.RoleRule) { r.Targets = nil }),
		"another account":    wider(func(r *job.RoleRule) { r.RunAs = []string{"root"} }),
		"any account":        wider(func(r *job.RoleRule) { r.RunAs = nil }),
		"another command":    wider(func(r *job.RoleRule) { r.Commands = []job.CommandRule{`{"program":"/bin/sh"}`} }),
		"any command":        wider(func(r *job.RoleRule) { r.Commands = nil }),
		"another verb of it": wider(func(r *job.RoleRule) { r.Verbs = []string{"exec"}; r.Resources = []string{"runs"} }),
	} {
		refusedFor(t, name, granted(o), "than you may do yourself")
	}
	if err := granted(wider(func(*job.RoleRule) {})); err != nil {
		t.Errorf("what ann holds: %v", err)
	}
	for why, change := range map[string]func(*job.RoleRule){
		`"*" is not bounded`:         func(r *job.RoleRule) { r.Verbs = []string{"*"} },
		`"read" is not bounded`:      func(r *job.RoleRule) { r.Verbs = []string{"edit", "read"} },
		`"groups" is not bounded`:    func(r *job.RoleRule) { r.Resources = []string{"scripts", "groups"} },
		"spec.rules[0].targets[0]":   func(r *job.RoleRule) { r.Targets = []string{"web["} },
		"spec.rules[0].runAs[0]":     func(r *job.RoleRule) { r.RunAs = []string{"a b"} },
		"spec.rules[0].commands[0].": func(r *job.RoleRule) { r.Commands = []job.CommandRule{`{"program":"uptime"}`} },
	} {
		var invalid *job.InvalidError
		if err := e.give(asRoot(t.Context()), t, wider(change)); !errors.As(err, &invalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	// A node of a former release would read over what bounds a rule.
	e.node(t, etcdkv.Member{Node: "old", KnowsAccess: true})
	if err := e.give(asRoot(t.Context()), t, wider(func(r *job.RoleRule) { r.RunAs = []string{"x"} })); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "old") {
		t.Errorf("beside a node of a former release: %v", err)
	}
}

// While a cluster only notes, what is beyond bounds is done, and nothing is kept with a job.
func TestBoundsAreNoted(t *testing.T) {
	t.Parallel()
	e, ann, _, door := narrow(t)
	door.state = access.Noting
	if err := e.give(ann, t, restarts("j", func(s *job.Spec) { s.User = "root" })); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(ann, job.Key{Namespace: "ops", Name: "j"}, api.StartRequest{}); err != nil {
		t.Fatal(err)
	}
	// Nor is it with what is within them.
	if err := e.give(ann, t, restarts("within", func(s *job.Spec) { s.Target.Match, s.Schedules = "web*", nil })); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(ann, job.Key{Namespace: "ops", Name: "within"}, api.StartRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"j", "within"} {
		if got := e.storedJob(t, name).Bounds; len(got) != 0 {
			t.Errorf("%s is bounded by %+v", name, got)
		}
	}
	for _, tr := range e.triggers(t) {
		if len(tr.Bounds) != 0 {
			t.Errorf("a start of %s is bounded by %+v", tr.Key, tr.Bounds)
		}
	}
}

// edits is a rule for edit on another kind.
func edits(kind string, change func(*job.RoleRule)) job.RoleRule {
	r := limited("edit", kind)
	change(&r)
	return r
}

// A script is stored within what its author may have started, which stays with its version.
func TestScriptsWithinTheBounds(t *testing.T) {
	t.Parallel()
	const text = "systemctl restart \"$1\""
	e, door := closedOf(t, func(*Deps) {},
		role("texts", edits("scripts", func(r *job.RoleRule) {
			r.Commands = []job.CommandRule{job.CommandRule(`{"args":[{"glob":"app-*"}],"script":"` + job.ScriptSum(text) + `"}`)}
		})), bound("ann", "texts", "ann"),
		role("any", edits("scripts", func(r *job.RoleRule) { r.Commands = nil })), bound("bob", "any", "bob"),
		role("all", rule("edit", "scripts")), bound("eve", "all", "eve"),
	)
	ann, bob, eve := as(t.Context(), "ann"), as(t.Context(), "bob"), as(t.Context(), "eve")
	of := func(source string, edit func(*job.ScriptSpec)) manifest.Object {
		o := script("s", source)
		edit(&o.Script)
		return o
	}
	args := func(list ...string) func(*job.ScriptSpec) { return func(s *job.ScriptSpec) { s.Args = list } }
	for why, o := range map[string]manifest.Object{
		"the script is " + job.ScriptSum("id"): of("id", args("app-1")),
		`argument 1 is "sshd"`:                 of(text, args("sshd")),
		`the interpreter is "/bin/bash"`:       of(text, func(s *job.ScriptSpec) { s.Args, s.Interpreter = []string{"app-1"}, []string{"/bin/bash"} }),
		"the variable LD_PRELOAD":              of(text, func(s *job.ScriptSpec) { s.Args, s.Env = []string{"app-1"}, map[string]string{"LD_PRELOAD": "/x"} }),
		"it is to run as root":                 of(text, func(s *job.ScriptSpec) { s.Args, s.User = []string{"app-1"}, "root" }),
	} {
		refusedFor(t, why, e.give(ann, t, o), why)
	}
	if n := e.has(t, e.keys.Scripts()); n != 0 {
		t.Fatalf("%d versions are stored that were refused", n)
	}
	is := func(what string, version int, want job.Bounds) {
		t.Helper()
		v, err := e.Script(t.Context(), job.ScriptRef{Key: job.Key{Namespace: "ops", Name: "s"}})
		if err != nil || v.Version != version {
			t.Fatalf("%s: version %d, %v", what, v.Version, err)
		}
		if diff := cmp.Diff(want, v.Bounds); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	if err := e.give(ann, t, of(text, args("app-1"))); err != nil {
		t.Fatal(err)
	}
	is("by ann", 1, job.Bounds{{By: "ann", Verb: "edit", Resource: "scripts", Rules: []job.StartRule{{
		Targets: restart.Targets, RunAs: restart.RunAs, Commands: []job.CommandRule{job.CommandRule(`{"args":[{"glob":"app-*"}],"script":"` + job.ScriptSum(text) + `"}`)}, Role: "texts",
	}}}})
	// A text of bob's choice, which stays where it may be, and as whom.
	if err := e.give(bob, t, of("id", args())); err != nil {
		t.Fatal(err)
	}
	is("by bob", 2, job.Bounds{{By: "bob", Rules: []job.StartRule{{Targets: restart.Targets, RunAs: restart.RunAs, Role: "any"}}, Verb: "edit", Resource: "scripts"}})
	// What eve applies she answers for, also as it is; a version is never changed.
	for range 2 {
		if err := e.give(eve, t, of("id", args())); err != nil {
			t.Fatal(err)
		}
		is("by eve, as it is", 3, nil)
	}
	// While a cluster only notes, nothing is kept with a script.
	door.state = access.Noting
	if err := e.give(ann, t, of("noted", args())); err != nil {
		t.Fatal(err)
	}
	is("noted", 4, nil)
}

// A queue is stored, and items are put into it and put back, within what who does so may
// have started.
func TestQueuesWithinTheBounds(t *testing.T) {
	t.Parallel()
	item := `{"args":["restart"],"env":{"CARILLON_ITEM":{"any":"true"},"CARILLON_ITEM_TOKEN":{"any":"true"},"CARILLON_PAYLOAD":{"glob":"app-*"},"CARILLON_QUEUE":"q"},"program":"/usr/bin/systemctl"}`
	of := func(verb string) job.RoleRule {
		r := limited(verb, "queues")
		r.Commands = []job.CommandRule{job.CommandRule(item)}
		return r
	}
	e, _ := closedOf(t, func(d *Deps) {
		d.Minions = fakeMinions{{ID: "db1", Node: "n1"}, {ID: "web1", Node: "n1"}}
	},
		role("editor-of-q", of("edit")), bound("ann", "editor-of-q", "ann"),
		role("runner-of-q", of("run")), bound("rob", "runner-of-q", "rob"),
		role("all", rule("edit", "queues"), rule("run", "queues")), bound("eve", "all", "eve"),
	)
	ann, rob, eve := as(t.Context(), "ann"), as(t.Context(), "rob"), as(t.Context(), "eve")
	key := job.Key{Namespace: "ops", Name: "q"}
	q := func(edit func(*job.QueueSpec)) manifest.Object {
		o := manifest.Object{Kind: job.KindQueue, Metadata: job.Metadata{Namespace: "ops", Name: "q"}}
		o.Queue = job.QueueSpec{Command: []string{"/usr/bin/systemctl", "restart"}, User: "deploy"}
		edit(&o.Queue)
		return o
	}
	for why, edit := range map[string]func(*job.QueueSpec){
		`the program is "/bin/sh"`: func(s *job.QueueSpec) { s.Command = []string{"/bin/sh", "-c", "id"} },
		"it is to run as root":     func(s *job.QueueSpec) { s.User = "root" },
		"the script ":              func(s *job.QueueSpec) { s.Command, s.Script = nil, &job.Script{Source: "id"} },
		"the variable LD_PRELOAD":  func(s *job.QueueSpec) { s.Env = map[string]job.EnvValue{"LD_PRELOAD": job.Text("/x")} },
	} {
		refusedFor(t, why, e.give(ann, t, q(edit)), why)
	}
	plain := func(*job.QueueSpec) {}
	data, err := manifest.Encode(q(plain))
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.Apply(ann, "f", data, false)
	if err != nil || !slices.ContainsFunc(done[0].Warnings, func(w string) bool { return strings.Contains(w, "1 of the 2 minions that it matches are left out") }) {
		t.Fatalf("%+v, %v", done, err)
	}
	bounds := func(want job.Bounds) {
		t.Helper()
		v, err := e.Queue(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, v.Bounds); diff != "" {
			t.Error(diff)
		}
	}
	rules := job.StartRule{Targets: restart.Targets, RunAs: restart.RunAs, Commands: []job.CommandRule{job.CommandRule(item)}}
	bounds(job.Bounds{{By: "ann", Rules: []job.StartRule{by("editor-of-q", rules)}, Verb: "edit", Resource: "queues"}})
	put := func(ctx context.Context, id, payload string) error {
		_, err := e.PutItems(ctx, key, []api.NewItem{{ID: id, Payload: payload}}, api.Order{})
		return err
	}
	// The queue is for db1 as well, once eve has applied it, and what rob puts is not.
	if err := put(rob, "a", "app-1"); err != nil {
		t.Fatal(err)
	}
	if err := e.give(eve, t, q(plain)); err != nil {
		t.Fatal(err)
	}
	bounds(nil)
	refusedFor(t, "all minions", put(rob, "b", "app-1"), "1 minion outside (web*): db1")
	if err := e.give(eve, t, q(func(s *job.QueueSpec) { s.Target.Match = "web1" })); err != nil {
		t.Fatal(err)
	}
	refusedFor(t, "a payload", put(rob, "b", "sshd"), "the variable CARILLON_PAYLOAD is another, and the rule has")
	if err := put(eve, "c", "sshd"); err != nil {
		t.Fatal(err)
	}
	stored := func(id string) etcdkv.QueueItem {
		t.Helper()
		resp, err := e.cli.Get(t.Context(), e.keys.QueueOf("ops", "q").Item(0, id))
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("item %s: %v, %v", id, resp, err)
		}
		v, err := etcdkv.Decode[etcdkv.QueueItem](id, resp.Kvs[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if diff := cmp.Diff(job.Bounds{{By: "rob", Rules: []job.StartRule{by("runner-of-q", rules)}, Verb: "run", Resource: "queues"}}, stored("a").Bounds); diff != "" {
		t.Errorf("put by rob: %s", diff)
	}
	if got := stored("c").Bounds; len(got) != 0 {
		t.Errorf("put by eve: %+v", got)
	}
	// Dead letters of others: what is put back is within the bounds of who does it.
	for _, id := range []string{"a", "c"} {
		v := stored(id)
		text, err := etcdkv.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		dead, err := etcdkv.Encode(etcdkv.QueueDead{Schema: etcdkv.Schema, Item: []byte(text), Reason: "failed"})
		if err != nil {
			t.Fatal(err)
		}
		keys := e.keys.QueueOf("ops", "q")
		if _, err := e.cli.Txn(t.Context()).Then(clientv3.OpDelete(keys.Item(0, id)), clientv3.OpPut(keys.DeadItem(0, id), dead)).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for what, id := range map[string]string{"one": "c", "all": ""} {
		_, err = e.Redrive(rob, key, id, api.Order{})
		refusedFor(t, what, err, "the variable CARILLON_PAYLOAD is another, and the rule has")
		if err != nil && strings.Contains(err.Error(), "sshd") {
			t.Errorf("%s: it tells a payload of another's: %v", what, err)
		}
	}
	for range 2 {
		if _, err := e.Redrive(rob, key, "a", api.Order{}); err != nil && !errors.Is(err, job.ErrConflict) {
			t.Fatal(err)
		}
	}
	if got := stored("a").Bounds; len(got) != 1 {
		t.Errorf("put by rob and put back by rob: %+v", got)
	}
	// can-i answers by the same rules, of whatever queue and payload.
	for command, want := range map[string]bool{"restart": true, "stop": false} {
		v, err := e.CanStart(rob, api.CanIRequest{Verb: "run", Resource: "queues", Namespace: "ops", Command: []string{"/usr/bin/systemctl", command}, RunAs: "deploy", Target: "web1"})
		if err != nil || v.Allowed != want {
			t.Errorf("can-i %s: %+v, %v", command, v, err)
		}
	}
}
