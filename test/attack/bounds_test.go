package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// An editor who may have one command run, by one account, on one of two minions, tries
// to have another one run by all that starts anything, and theirs elsewhere.
func TestEditorWithinBounds(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	for _, m := range []string{"web1", "db1"} {
		startMinion(t, n, m, "--queue", "default/greet:1")
	}
	marker := filepath.Join(openDir(t), "made")
	evil := "echo stolen > " + marker
	as := func(token string, args ...string) result {
		t.Helper()
		return run(t, program{name: "carillon", args: args, env: []string{"CARILLON_SERVER=" + n.url(), "CARILLON_API_TOKEN=" + strings.TrimSpace(token)}})
	}
	apply := func(token, manifest string) result {
		t.Helper()
		return run(t, program{
			name: "carillon", args: []string{"apply", "-f", "-"}, stdin: manifest,
			env: []string{"CARILLON_SERVER=" + n.url(), "CARILLON_API_TOKEN=" + strings.TrimSpace(token)},
		})
	}
	n.apply(t, `
apiVersion: carillon/v1
kind: Role
metadata: {name: greeter}
spec:
  rules:
  - verbs: [edit, run, exec]
    resources: [jobs, runs, minions, scripts, queues]
    targets: ["web*"]
    runAs: ["@minion"]
    commands:
    - {program: /bin/echo, args: [hello, {glob: "[a-z]*"}], params: [who]}
    - {program: /bin/echo, args: [item], env: {CARILLON_QUEUE: greet, CARILLON_ITEM: {any: true}, CARILLON_ITEM_TOKEN: {any: true}, CARILLON_PAYLOAD: {glob: "[a-z]*"}}}
    - {script: `+job.ScriptSum("echo text")+`}
  - {verbs: [read, logs], resources: [jobs, runs, scripts, queues, minions]}
---
apiVersion: carillon/v1
kind: RoleBinding
metadata: {name: greeter}
spec: {role: greeter, subjects: [{kind: token, name: ed}]}
---
apiVersion: carillon/v1
kind: RoleBinding
metadata: {name: boss}
spec: {role: admin, subjects: [{kind: token, name: boss}]}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: text}
spec: {source: "echo text"}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: evil}
spec: {source: "`+evil+`"}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: theirs}
spec: {schedule: "@daily", command: [/bin/sh, -c, "`+evil+`"]}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: everywhere}
spec: {schedule: "@daily", command: [/bin/echo, hello, all], target: {run: all}}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: named}
spec: {steps: [{script: own}], target: {run: all}, user: nobody}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: own}
spec: {source: "echo own"}
---
apiVersion: carillon/v1
kind: Queue
metadata: {name: theirs}
spec: {command: [/bin/sh, -c, "`+evil+`"]}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: open}
spec: {steps: [{command: [/bin/echo, hello, "{{who}}"]}], params: [{name: who, default: all}], target: {match: web1}}
`).must(t)
	boss := n.carillon(t, "token", "create", "boss", "--ttl", "1h").must(t)
	ed := n.carillon(t, "token", "create", "ed", "--ttl", "1h").must(t)
	as(boss, "auth", "on").must(t)
	await.Until(t, "the cluster is closed", func() bool { return n.carillon(t, "nodes").code != 0 })

	jobFile := func(name, spec string) string {
		return fmt.Sprintf("apiVersion: carillon/v1\nkind: Job\nmetadata: {name: %s}\nspec: {%s}\n", name, spec)
	}
	sh := `[/bin/sh, -c, "` + evil + `"]`
	for name, r := range map[string]result{
		"a command":                apply(ed, jobFile("j", "command: "+sh)),
		"an argument":              apply(ed, jobFile("j", `command: [/bin/echo, hello, "../x"]`)),
		"a text":                   apply(ed, jobFile("j", `script: "`+evil+`"`)),
		"a step":                   apply(ed, jobFile("j", `steps: [{command: [/bin/echo, hello, x]}, {command: `+sh+`, if: failure}]`)),
		"a line of a shell":        apply(ed, jobFile("j", `steps: [{shell: "`+evil+`"}]`)),
		"a script":                 apply(ed, jobFile("j", `steps: [{script: evil}]`)),
		"after another job":        apply(ed, jobFile("j", `after: {jobs: [everywhere]}, command: `+sh)),
		"by a webhook":             apply(ed, jobFile("j", `webhook: {tokenSha256: `+job.ScriptSum("x")+`}, command: `+sh)),
		"another account":          apply(ed, jobFile("j", `user: nobody, command: [/bin/echo, hello, x]`)),
		"a library":                apply(ed, jobFile("j", `env: {LD_PRELOAD: /tmp/x.so}, command: [/bin/echo, hello, x]`)),
		"a script of their own":    apply(ed, "apiVersion: carillon/v1\nkind: Script\nmetadata: {name: text}\nspec: {source: \""+evil+"\"}\n"),
		"a script, as another":     apply(ed, "apiVersion: carillon/v1\nkind: Script\nmetadata: {name: own}\nspec: {source: \"echo text\", user: root}\n"),
		"a queue":                  apply(ed, "apiVersion: carillon/v1\nkind: Queue\nmetadata: {name: greet}\nspec: {command: "+sh+"}\n"),
		"a queue, as another":      apply(ed, "apiVersion: carillon/v1\nkind: Queue\nmetadata: {name: greet}\nspec: {command: [/bin/echo, item], user: root}\n"),
		"a queue of others":        as(ed, "queue", "put", "theirs", "x"),
		"a job of others as it is": apply(ed, jobFile("theirs", `schedule: "@daily", command: `+sh)),
		"a run":                    as(ed, "run", "theirs"),
		"a run everywhere":         as(ed, "run", "everywhere"),
		"a parameter":              as(ed, "run", "open", "--param", "who=../x"),
		"a backfill":               as(ed, "run", "everywhere", "--from", "-48h", "--to", "now"),
		"a command of one's own":   as(ed, "exec", "-t", "web1", "--", "/bin/sh", "-c", evil),
		"a command elsewhere":      as(ed, "exec", "-t", "db1", "--", "/bin/echo", "hello", "x"),
		"a command everywhere":     as(ed, "exec", "-t", "*", "--", "/bin/echo", "hello", "x"),
		"to switch a job on":       as(ed, "disable", "theirs"),
		"can-i":                    as(ed, "auth", "can-i", "exec", "minions", "--target", "*", "--", "/bin/echo", "hello", "x"),
	} {
		if r.code == 0 {
			t.Errorf("%s: is let through: %s%s", name, r.stdout, r.stderr)
		}
	}
	// A run of somebody else's, again.
	_, id, _ := strings.Cut(as(boss, "run", "everywhere", "--wait", "-o", "json").must(t), `"runId": "`)
	id, _, _ = strings.Cut(id, `"`)
	if r := as(ed, "redo", id); r.code == 0 || !strings.Contains(r.stderr, "db1") {
		t.Errorf("a redo everywhere: %d %s%s", r.code, r.stdout, r.stderr)
	}

	// What is allowed works, and stays where it may be: whoever starts it.
	as(ed, "exec", "-t", "web*", "--", "/bin/echo", "hello", "x").must(t)
	as(ed, "auth", "can-i", "exec", "minions", "--target", "web*", "--", "/bin/echo", "hello", "x").must(t)
	apply(ed, jobFile("j", `steps: [{script: text}], target: {run: all}`)).must(t)
	if out := as(boss, "run", "j", "--wait", "-o", "json").must(t); strings.Contains(out, "db1") || !strings.Contains(out, "web1") {
		t.Errorf("a job of ed's ran elsewhere: %s", out)
	}
	if out := as(boss, "describe", "job", "j").must(t); !strings.Contains(out, "what token ed may start: on web*") {
		t.Errorf("what bounds it is not told: %s", out)
	}
	// The script gets another text: of somebody who may, for jobs that may have it run.
	apply(boss, "apiVersion: carillon/v1\nkind: Script\nmetadata: {name: text}\nspec: {source: \""+evil+"\"}\n").must(t)
	if r := as(boss, "run", "j", "--wait"); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "it is not what token ed may start") {
		t.Errorf("the script's new text: %d %s%s", r.code, r.stdout, r.stderr)
	}
	// A queue of the editor's own, and what others put into it.
	apply(ed, "apiVersion: carillon/v1\nkind: Queue\nmetadata: {name: greet}\nspec: {command: [/bin/echo, item]}\n").must(t)
	if r := as(ed, "queue", "put", "greet", "../x"); r.code == 0 {
		t.Errorf("a payload beyond: %s%s", r.stdout, r.stderr)
	}
	for _, id := range []string{"one", "two", "three"} {
		as(ed, "queue", "put", "greet", "hello", "--id", id).must(t)
	}
	as(boss, "queue", "put", "greet", "../x", "--id", "evil").must(t)
	await.Until(t, "the items are done, or refused", func() bool {
		out := as(boss, "describe", "queue", "greet", "-o", "json").must(t)
		return strings.Contains(out, `"dead": 1`) && strings.Contains(out, `"waiting": 0`) && strings.Contains(out, `"inHand": 0`)
	})
	var out string
	await.Until(t, "the items' runs are on record", func() bool { // which comes after that they are done
		out = as(boss, "runs", "queue.greet", "-o", "json").must(t)
		return strings.Count(out, `"state": "succeeded"`) >= 3
	})
	if strings.Contains(out, "db1") {
		t.Errorf("items of ed's queue: %s", out)
	}
	if out := as(boss, "queue", "dead", "greet").must(t); !strings.Contains(out, "it is not what token ed may start") {
		t.Errorf("an item beyond: %s", out)
	}
	// A script of the editor's: of whatever job, it runs where the editor may have it run.
	apply(ed, "apiVersion: carillon/v1\nkind: Script\nmetadata: {name: own}\nspec: {source: \"echo text\"}\n").must(t)
	if r := as(boss, "run", "named", "--wait"); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "it is to run as nobody") {
		t.Errorf("the editor's script as another account: %d %s%s", r.code, r.stdout, r.stderr)
	}
	// The role is made narrower, and the job is stored still: what it has lost is not started,
	// whoever starts it.
	apply(ed, jobFile("k", `command: [/bin/echo, hello, x], target: {match: web1}`)).must(t)
	as(boss, "run", "k", "--wait").must(t)
	apply(boss, "apiVersion: carillon/v1\nkind: Role\nmetadata: {name: greeter}\nspec: {rules: [{verbs: [edit, run], resources: [jobs], commands: [{program: /bin/true}]}]}\n").must(t)
	await.Until(t, "the job is not run any more", func() bool {
		r := as(boss, "run", "k", "--wait")
		return r.code != 0 && strings.Contains(r.stdout+r.stderr, "by what greeter allows now")
	})
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command of the editor's choice ran")
	}
}
