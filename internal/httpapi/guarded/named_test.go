package guarded

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// jobOf is a job in the namespace "own".
func jobOf(name, spec string) string {
	return fmt.Sprintf("apiVersion: carillon/v1\nkind: Job\nmetadata: {name: %s, namespace: own}\nspec: {%s}\n", name, spec)
}

// A job that names a thing which its author may not read would tell of it: a script its
// text, a calendar its days, another job when it ends (I6).
func TestJobsNameWhatTheirAuthorMayRead(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Editor, "own")
	c.bind("ann", rights.Viewer, "shared")
	c.role("bob", rights.Rule{Verbs: []rights.Verb{rights.Edit}, Kinds: []rights.Kind{rights.Jobs, rights.Scripts, rights.Calendars}, Namespaces: []string{"own"}})
	c.serve(t)
	const script, calendar = "apiVersion: carillon/v1\nkind: Script\nmetadata: {name: x, namespace: own}\nspec: {source: df}\n---\n",
		"apiVersion: carillon/v1\nkind: Calendar\nmetadata: {name: x, namespace: own}\nspec: {weekdays: [MON-FRI]}\n---\n"
	naming := map[string]string{
		"script %s":   "steps: [{name: a, script: %s}]",
		"version %s":  "steps: [{name: a, script: %s@1}]",
		"calendar %s": `schedule: "@daily", command: [x], calendars: [%s]`,
		"after %s":    "command: [x], after: {jobs: [%s]}",
	}
	for name, spec := range naming {
		for _, ask := range []struct {
			user, of, before string
			want             int
		}{
			{"ann", "own/x", "", http.StatusConflict},
			{"ann", "x", "", http.StatusConflict},
			{"ann", "shared/x", "", http.StatusConflict},
			{"ann", "foreign/x", "", http.StatusForbidden},
			{"bob", "own/x", "", http.StatusForbidden}, // to edit is not to read
			{"root", "foreign/x", "", http.StatusConflict},
		} {
			status, text := c.ask(t, ask.user, http.MethodPost, "/v1/apply", jobOf("new", fmt.Sprintf(spec, ask.of)))
			if status != ask.want {
				t.Errorf("%s as %s: %d, want %d: %s", fmt.Sprintf(name, ask.of), ask.user, status, ask.want, text)
			}
		}
		_, there := c.ask(t, "ann", http.MethodPost, "/v1/apply", jobOf("new", fmt.Sprintf(spec, "foreign/x")))
		_, not := c.ask(t, "ann", http.MethodPost, "/v1/apply", jobOf("new", fmt.Sprintf(spec, "foreign/y")))
		if strings.ReplaceAll(not, "foreign/y", "foreign/x") != there {
			t.Errorf("%s: it is told whether there is one:\n%s\n%s", name, there, not)
		}
	}
	// What is in the same file is known to who wrote it, unless it is an older version.
	for doc, want := range map[string]int{
		script + jobOf("new", "steps: [{name: a, script: x}]"):                                http.StatusConflict,
		script + jobOf("new", "steps: [{name: a, script: x@1}]"):                              http.StatusForbidden,
		calendar + jobOf("new", `schedule: "@daily", command: [x], calendars: [x]`):           http.StatusConflict,
		jobOf("a", "command: [x]") + "---\n" + jobOf("b", "command: [x], after: {jobs: [a]}"): http.StatusConflict,
	} {
		if status, text := c.ask(t, "bob", http.MethodPost, "/v1/apply", doc); status != want {
			t.Errorf("%d, want %d: %s\n%s", status, want, text, doc)
		}
	}
	// What others have the job name stays.
	c.behind.spec = job.Spec{Steps: []job.Step{{Name: "a", Script: "foreign/x@1"}}, Calendars: []string{"foreign/x"}, After: &job.After{Jobs: []string{"foreign/x"}}}
	for spec, want := range map[string]int{
		"steps: [{name: b, script: foreign/x@1}], after: {jobs: [foreign/x]}": http.StatusConflict,
		"steps: [{name: b, script: foreign/x@2}]":                             http.StatusForbidden,
		"steps: [{name: b, script: foreign/x}]":                               http.StatusForbidden,
		"command: [x], after: {jobs: [foreign/y]}":                            http.StatusForbidden,
	} {
		if status, text := c.ask(t, "ann", http.MethodPost, "/v1/apply", jobOf("x", spec)); status != want {
			t.Errorf("%s: %d, want %d: %s", spec, status, want, text)
		}
	}
	// A command that is run once names things, too.
	c.role("cas", rights.Rule{Verbs: []rights.Verb{rights.Exec}, Kinds: []rights.Kind{rights.Minions, rights.Jobs}})
	c.serve(t)
	if status, text := c.ask(t, "cas", http.MethodPost, "/v1/exec", jobOf("new", "steps: [{name: a, script: foreign/x}]")); status != http.StatusForbidden || !strings.Contains(text, "names the script") {
		t.Errorf("exec: %d %s", status, text)
	}
}

// A notifier tells its receiver of runs, and when a calendar is closed: who says to whom
// has to be allowed to read both, be the notifier one that others have made (I6).
func TestNotifiersTellWhatTheirAuthorMayRead(t *testing.T) {
	t.Parallel()
	c := closed()
	notifiers := rights.Rule{Verbs: []rights.Verb{rights.Edit}, Kinds: []rights.Kind{rights.Notifiers}, Namespaces: []string{"own"}}
	runs := rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Runs}, Namespaces: []string{"own"}}
	ours := runs
	ours.Labels = map[string]string{"team": "web"}
	c.bind("ann", rights.Editor, "own")
	c.role("bob", notifiers)
	c.role("cas", notifiers, ours)
	c.role("dan", rights.Rule{Verbs: []rights.Verb{rights.Edit}, Kinds: []rights.Kind{rights.Notifiers}}, runs)
	all := rights.Rule{Verbs: []rights.Verb{rights.Edit, rights.Read}, Kinds: []rights.Kind{rights.Notifiers, rights.Runs}}
	c.role("eve", all)
	c.role("fay", rights.Rule{Verbs: []rights.Verb{rights.Edit, rights.Run}, Kinds: []rights.Kind{rights.Jobs}, Namespaces: []string{"own"}})
	c.role("gus", rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Notifiers}})
	c.serve(t)
	const pinging = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: new, namespace: own}\nspec: {command: [\"true\"], ping: {url: \"https://hc.example.org/x\"}}\n"
	if status, text := c.ask(t, "fay", http.MethodPost, "/v1/apply", pinging); status != http.StatusForbidden || !strings.Contains(text, "job own/new pings a check about its runs") {
		t.Errorf("a job that tells of runs that its author may not read: %d %s", status, text)
	}
	const doc = "apiVersion: carillon/v1\nkind: Notifier\nmetadata: {name: new, namespace: own}\nspec: {webhook: {url: \"https://hooks.example.org\"}%s}\n"
	for _, ask := range []struct {
		user, spec string
		want       int
		told       string
	}{
		{"ann", "", http.StatusConflict, ""},
		{"ann", ", quiet: [night]", http.StatusConflict, ""},
		{"ann", ", quiet: [foreign/night]", http.StatusForbidden, "notifier own/new names the calendar foreign/night"},
		{"bob", "", http.StatusForbidden, "notifier own/new tells its receiver of runs: you may not read runs in the namespace own"},
		{"cas", "", http.StatusForbidden, "tells its receiver of runs"},
		{"cas", ", labels: {team: db}", http.StatusForbidden, "tells its receiver of runs"},
		{"cas", ", labels: {team: web, tier: one}", http.StatusConflict, ""},
		{"dan", ", everywhere: true", http.StatusForbidden, "tells its receiver of runs"},
		{"eve", ", everywhere: true, on: [failed]", http.StatusConflict, ""},
		{"eve", ", everywhere: true", http.StatusForbidden, "tells its receiver of nodes"},
		{"fay", "", http.StatusForbidden, "you may not edit notifiers in the namespace own"},
		{"gus", "", http.StatusForbidden, "you may not edit anything; ask for a role that allows edit on the kinds in the file, such as jobs, queues or notifiers"},
		{"root", ", everywhere: true, quiet: [foreign/night]", http.StatusConflict, ""},
	} {
		status, text := c.ask(t, ask.user, http.MethodPost, "/v1/apply", fmt.Sprintf(doc, ask.spec))
		if status != ask.want || !strings.Contains(text, ask.told) {
			t.Errorf("%q as %s: %d, want %d and %q: %s", ask.spec, ask.user, status, ask.want, ask.told, text)
		}
	}
}

// A job puts items into the queue to which it is dispatched: its author needs the right to, be
// the queue in the same file. What the job has named before stays.
func TestJobsAreDispatchedByWhoMayPut(t *testing.T) {
	t.Parallel()
	c := closed()
	jobs := rights.Rule{Verbs: []rights.Verb{rights.Edit, rights.Run}, Kinds: []rights.Kind{rights.Jobs}, Namespaces: []string{"own"}}
	c.role("ann", jobs, rights.Rule{Verbs: []rights.Verb{rights.Run}, Kinds: []rights.Kind{rights.Queues}, Namespaces: []string{"own"}})
	c.role("bob", jobs, rights.Rule{Verbs: []rights.Verb{rights.Read, rights.Edit}, Kinds: []rights.Kind{rights.Queues}, Namespaces: []string{"own"}})
	c.role("cas", jobs, rights.Rule{Verbs: []rights.Verb{rights.Run}, Kinds: []rights.Kind{rights.Queues}, Namespaces: []string{"own"}, Starts: job.StartRule{RunAs: []string{"nobody"}}})
	c.serve(t)
	const queue = "apiVersion: carillon/v1\nkind: Queue\nmetadata: {name: q, namespace: own}\nspec: {command: [x]}\n---\n"
	for _, ask := range []struct {
		user, doc string
		want      int
	}{
		{"ann", jobOf("new", "dispatch: {queue: q}"), http.StatusConflict},
		{"bob", jobOf("new", "dispatch: {queue: q}"), http.StatusForbidden},
		{"bob", queue + jobOf("new", "dispatch: {queue: q}"), http.StatusForbidden},
		{"cas", jobOf("new", "dispatch: {queue: q}"), http.StatusConflict}, // each item keeps to the bounds
		{"root", jobOf("new", "dispatch: {queue: q}"), http.StatusConflict},
	} {
		status, text := c.ask(t, ask.user, http.MethodPost, "/v1/apply", ask.doc)
		if status != ask.want || status == http.StatusForbidden && !strings.Contains(text, "you may not run queues") {
			t.Errorf("%s: %d, want %d: %s\n%s", ask.user, status, ask.want, text, ask.doc)
		}
	}
	c.behind.spec = job.Spec{Dispatch: &job.QueueDispatch{Queue: "q"}}
	for change, want := range map[string]int{"": http.StatusConflict, ", priority: 3": http.StatusForbidden} { // others may have written what stays
		if status, text := c.ask(t, "bob", http.MethodPost, "/v1/apply", jobOf("x", "dispatch: {queue: q"+change+"}")); status != want {
			t.Errorf("%q: %d, want %d: %s", change, status, want, text)
		}
	}
}

// A command is made a job, in a namespace in which who runs it may do that.
func TestCommandsAreJobsOfANamespace(t *testing.T) {
	t.Parallel()
	c := closed()
	exec := func(k rights.Kind, namespaces ...string) rights.Rule {
		return rights.Rule{Verbs: []rights.Verb{rights.Exec}, Kinds: []rights.Kind{k}, Namespaces: namespaces}
	}
	labeled := exec(rights.Jobs, "own")
	labeled.Labels = map[string]string{"team": "web"}
	c.role("ann", exec(rights.Minions), exec(rights.Jobs, "own"))
	c.role("bob", exec(rights.Minions))
	c.role("cas", exec(rights.Jobs))
	c.role("dan", exec(rights.Minions), labeled)
	c.bind("eve", rights.Operator)
	c.serve(t)
	const doc = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x, namespace: %s, labels: {team: %s}}\nspec: {command: [x]}\n"
	for _, ask := range []struct {
		user, ns, team string
		missing        string
	}{
		{"ann", "own", "web", ""},
		{"ann", "foreign", "web", "you may not exec jobs in the namespace foreign"},
		{"bob", "own", "web", "you may not exec jobs in the namespace own"},
		{"cas", "own", "web", "you may not exec minions"},
		{"dan", "own", "web", ""},
		{"dan", "own", "db", "you may not exec jobs in the namespace own"},
		{"eve", "foreign", "db", ""},
	} {
		want, said := http.StatusForbidden, ask.missing
		if ask.missing == "" {
			want, said = http.StatusConflict, errReached.Error()
		}
		if status, text := c.ask(t, ask.user, http.MethodPost, "/v1/exec", fmt.Sprintf(doc, ask.ns, ask.team)); status != want || !strings.Contains(text, said) {
			t.Errorf("%+v: %d, want %d: %s", ask, status, want, text)
		}
	}
	// Nor is it run again by who might not have run it there.
	c.behind.passing = true
	c.role("fay", exec(rights.Minions), exec(rights.Jobs, "own"), rights.Rule{Verbs: []rights.Verb{rights.Run}, Kinds: []rights.Kind{rights.Jobs}})
	c.serve(t)
	for ns, want := range map[string]int{"own": http.StatusConflict, "foreign": http.StatusForbidden} {
		if status, text := c.ask(t, "fay", http.MethodPost, "/v1/namespaces/"+ns+"/jobs/x/run", "{}"); status != want {
			t.Errorf("again in %s: %d, want %d: %s", ns, status, want, text)
		}
	}
}

// What was run once, by who may run any command, is run again by who may do that: again
// by its run, and by the job that was made for it.
func TestCommandsAreRunAgainByWhoMayRunThem(t *testing.T) {
	t.Parallel()
	c := closed()
	c.behind.passing = true
	c.bind("ann", rights.Editor)
	c.bind("bob", rights.Operator)
	c.serve(t)
	for _, path := range []string{"/v1/namespaces/own/jobs/x/run", "/v1/runs/" + string(runOf("own")) + "/redo"} {
		for user, want := range map[string]int{"ann": http.StatusForbidden, "bob": http.StatusConflict} {
			if status, text := c.ask(t, user, http.MethodPost, path, "{}"); status != want {
				t.Errorf("%s as %s: %d, want %d: %s", path, user, status, want, text)
			}
		}
	}
}

// A webhook does not tell which jobs there are to who has not its token (I2).
func TestHooksTellOfNoJob(t *testing.T) {
	t.Parallel()
	c := closed()
	c.behind.hook = "t0ken"
	c.serve(t)
	_, there := c.ask(t, "", http.MethodPost, "/v1/hooks/foreign/x", "{}")
	status, not := c.ask(t, "", http.MethodPost, "/v1/hooks/foreign/y", "{}")
	if strings.ReplaceAll(not, "foreign/y", "foreign/x") != there || status != http.StatusForbidden {
		t.Errorf("it is told whether there is one: %d\n%s\n%s", status, there, not)
	}
	if status, text := c.ask(t, "root", http.MethodPost, "/v1/hooks/foreign/y", "{}"); status != http.StatusNotFound {
		t.Errorf("who may read all: %d %s", status, text)
	}
}

// The pause of a group that one may not read is not told (I2).
func TestPausesOfGroupsGoByLabels(t *testing.T) {
	t.Parallel()
	c := closed()
	c.behind.labels = map[string]string{"team": "web"}
	c.behind.pauses = []api.Pause{{Scope: api.ScopeGroup, Namespace: "own", Name: "ledger"}}
	for user, team := range map[string]string{"ann": "web", "bob": "db"} {
		c.role(user, rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Groups}, Labels: map[string]string{"team": team}})
	}
	c.serve(t)
	for user, want := range map[string]bool{"ann": true, "bob": false} {
		if _, text := c.ask(t, user, http.MethodGet, "/v1/pauses", ""); strings.Contains(text, "ledger") != want {
			t.Errorf("%s: %s", user, text)
		}
	}
}

// What keeps a thing from being deleted is told as far as one may read it (I2).
func TestJobsThatKeepAThingAreTold(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Editor, "own")
	c.bind("bob", rights.Editor)
	c.serve(t)
	for _, path := range []string{"/v1/namespaces/own/scripts/x", "/v1/namespaces/own/calendars/x"} {
		for _, ask := range []struct {
			user string
			by   []string
			want string
		}{
			{"ann", []string{"foreign", "own"}, "x is named by 1 job (own/x) and by others, which you may not read; change that first"},
			{"ann", []string{"foreign"}, "x is named by others that you may not read"},
			{"ann", []string{"own"}, "x is named by 1 job (own/x); change that first"},
			{"bob", []string{"foreign", "own"}, "x is named by 2 jobs (foreign/x, own/x); change that first"},
		} {
			used := &definitions.UsedError{Thing: "x"}
			for _, ns := range ask.by {
				used.By = append(used.By, job.Key{Namespace: ns, Name: "x"})
			}
			c.behind.used = used
			status, text := c.ask(t, ask.user, http.MethodDelete, path, "")
			if status != http.StatusConflict || !strings.Contains(text, ask.want) || ask.user == "ann" && strings.Contains(text, "foreign") {
				t.Errorf("%s as %s: %d %s, want %s", path, ask.user, status, text, ask.want)
			}
		}
	}
}

// Keys of etcd are in no namespace: who edits jobs of some has none watch them. What a job
// watches already stays.
func TestKeysOfEtcdAreInNoNamespace(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Editor, "own")
	c.bind("eve", rights.Editor)
	c.serve(t)
	c.behind.spec = job.Spec{Watch: &job.Watch{Key: "/app/"}}
	for _, ask := range []struct {
		user, name, watch string
		want              int
	}{
		{"ann", "new", "{key: /, prefix: true}", http.StatusForbidden},
		{"ann", "x", "{key: /app/, prefix: true}", http.StatusForbidden},
		{"ann", "x", "{key: /app/}", http.StatusConflict},
		{"eve", "new", "{key: /, prefix: true}", http.StatusConflict},
	} {
		if status, text := c.ask(t, ask.user, http.MethodPost, "/v1/apply", jobOf(ask.name, "command: [w], watch: "+ask.watch)); status != ask.want {
			t.Errorf("%+v: %d %s", ask, status, text)
		}
	}
}
