package attack

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// places are all places but the minion's host where a value might turn up.
type places struct {
	t     testing.TB
	n     *node
	m     *minion
	dirs  []string
	words []string
}

// has fails the test for each of the words that a place has.
func (p *places) has(where, text string) {
	p.t.Helper()
	for _, w := range p.words {
		if strings.Contains(text, w) {
			p.t.Errorf("%s has %q", where, w)
		}
	}
}

// look fails the test for each place that has one of the words.
func (p *places) look() {
	p.t.Helper()
	p.lookAtEtcd()
	p.lookAround()
}

// lookAtEtcd looks at all that etcd holds.
func (p *places) lookAtEtcd() {
	p.t.Helper()
	resp, err := p.n.cluster.etcd.Get(p.t.Context(), p.n.cluster.prefix, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) == 0 {
		p.t.Fatalf("dump of etcd: %d keys, %v", len(resp.Kvs), err)
	}
	for _, kv := range resp.Kvs {
		p.has("etcd, "+string(kv.Key), string(kv.Value))
	}
}

// lookAround looks at all but etcd.
func (p *places) lookAround() {
	p.t.Helper()
	for _, dir := range p.dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // gone meanwhile
			}
			text, _ := os.ReadFile(path)
			p.has(path, string(text))
			return nil
		})
		if err != nil {
			p.t.Error(err)
		}
	}
	p.has("the node's log", p.n.output())
	p.has("the minion's log", p.m.output())
	for _, args := range [][]string{
		{"get", "job", "leaky", "-o", "json"}, {"get", "job", "leaky", "-o", "yaml"}, {"describe", "job", "leaky"}, {"runs", "leaky", "-o", "json"}, {"logs", "leaky"},
		{"audit", "-o", "json"}, {"audit", "-o", "wide"}, {"describe", "minion", p.m.id, "-o", "json"},
	} {
		p.has("carillon "+strings.Join(args, " "), p.n.carillon(p.t, args...).must(p.t))
	}
	for _, path := range []string{"/", "/jobs/default/leaky", "/runs"} {
		a, err := p.n.get(path)
		if err != nil {
			p.t.Fatal(err)
		}
		p.has("the page "+path, a.body)
	}
}

// The values of secrets are in none of etcd, the data directories of node and minion
// (journal and output among them), their logs, the history, the audit, the API and the
// page: not while the command runs, and not after it.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	const first, second, third = "plain-sesame-4711", "masked-sesame-4712", "told-sesame-4713"
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, masked, program := write("plain", first+"\n", 0o600), write("masked", second+"\n", 0o600), write("tell", "#!/bin/sh\necho told-sesame-$((4700 + 13))\n", 0o700)
	release := filepath.Join(dir, "release")
	list := write("list.yaml", "rules: [{file: "+plain+"}, {file: "+masked+"}, {exec: ["+program+"]}]\n", 0o600)
	m := startMinion(t, n, "m1", "--secrets", list, "--log-level", "debug")
	n.apply(t, `
apiVersion: carillon/v1
kind: Job
metadata: {name: leaky}
spec:
  env:
    PLAIN: {secret: {file: `+plain+`}}
    MASKED: {secret: {file: `+masked+`}, mask: true}
    TOLD: {secret: {exec: [`+program+`]}, mask: true}
  steps:
  - shell: echo "${#PLAIN} $MASKED $TOLD"
  - shell: while ! test -e `+release+`; do sleep 0.05; done; echo "again $MASKED"; exit 3
`).must(t)
	n.carillon(t, "run", "leaky", "--reason", "to see")
	p := &places{t: t, n: n, m: m, dirs: []string{n.dir, m.dir}, words: []string{first, second, third}}
	await.Until(t, "the first step has written", func() bool { return strings.Contains(n.carillon(t, "logs", "leaky").stdout, "17 *** ***") })
	p.look()
	write("release", "", 0o600)
	await.Until(t, "the run has ended", func() bool { return strings.Contains(n.carillon(t, "runs", "leaky").stdout, "failed") })
	if out := n.carillon(t, "logs", "leaky").must(t); !strings.Contains(out, "17 *** ***") || !strings.Contains(out, "again ***") {
		t.Errorf("the output is %q", out)
	}
	p.look()
	if env, err := os.ReadFile("/proc/self/environ"); err == nil && bytes.Contains(env, []byte(first)) {
		t.Error("the test itself has the value")
	}
}

// The values of sensitive parameters, given by hand, by a webhook, in a backfill and for
// a script of the library, are in nothing that people read, while the runs are open and
// after that; in etcd they are until the runs have ended.
func TestSensitiveParamsAreNowhere(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1", "--log-level", "debug")
	m := startMinion(t, n, "m1", "--log-level", "debug")
	release := filepath.Join(t.TempDir(), "release")
	// Due once in what is backfilled, and then in an hour: a run without the word is none of these.
	due := time.Now().UTC().Add(-3 * time.Minute).Minute()
	words := []string{"run-sesame-4711", "hook-sesame-4712", "fill-sesame-4713", "exec-sesame-4714", "bad-sesame-4715"}
	n.apply(t, `
apiVersion: carillon/v1
kind: Script
metadata: {name: told}
spec:
  params: [{name: word, sensitive: true, required: true, pattern: "[a-z]+-sesame-[0-9]+"}]
  source: |
    echo "${#CARILLON_PARAM_WORD} $CARILLON_PARAM_WORD"
    while ! test -e `+release+`; do sleep 0.05; done
    exit 3
---
apiVersion: carillon/v1
kind: Job
metadata: {name: leaky}
spec:
  webhook: {tokenSha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
  schedule: "`+strconv.Itoa(due)+` * * * *"
  overlap: allow
  params: [{name: word, sensitive: true}]
  script:
    source: |
      echo "${#CARILLON_PARAM_WORD} $CARILLON_PARAM_WORD"
      while ! test -e `+release+`; do sleep 0.05; done
      exit 3
`).must(t)
	n.carillon(t, "run", "leaky", "--param", "word="+words[0]).must(t)
	hook := n.by(t, http.DefaultClient, http.MethodPost, "/v1/hooks/default/leaky", strings.NewReader(`{"params": {"word": "`+words[1]+`"}}`), "Authorization", "Bearer test", "Content-Type", "application/json")
	if hook.code/100 != 2 {
		t.Fatalf("webhook: %+v", hook)
	}
	n.carillon(t, "run", "leaky", "--from", "-5m", "--to", "now", "--param", "word="+words[2]).must(t)
	n.carillon(t, "exec", "--target", "m1", "--detach", "--script-name", "told", "--param", "word="+words[3]).must(t)
	if r := n.carillon(t, "exec", "--target", "m1", "--detach", "--script-name", "told", "--param", "word="+words[4]+"!"); r.code == 0 {
		t.Error("a value that does not match its pattern is taken")
	} else if strings.Contains(r.stdout+r.stderr, words[4]) {
		t.Errorf("a refusal tells the value: %s", r.stderr)
	}
	p := &places{t: t, n: n, m: m, dirs: []string{n.dir}, words: words}
	await.Until(t, "four runs have written", func() bool {
		return strings.Count(strings.ReplaceAll(n.carillon(t, "runs", "-o", "json").stdout, " ", ""), `"word":"***"`) >= 4 && strings.Contains(n.carillon(t, "logs", "leaky").stdout, "***")
	})
	p.lookAround()
	p.has("all runs", n.carillon(t, "runs", "-o", "json").must(t))
	p.has("backfills", n.carillon(t, "get", "backfills", "-o", "json").must(t))
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "all runs have ended, and etcd has forgotten the values", func() bool {
		resp, err := n.cluster.etcd.Get(t.Context(), n.cluster.prefix, clientv3.WithPrefix())
		return err == nil && !slices.ContainsFunc(resp.Kvs, func(kv *mvccpb.KeyValue) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(kv.Value), w) })
		}) && strings.Count(n.carillon(t, "runs").stdout, "failed") >= 4
	})
	p.look()
	p.has("all runs", n.carillon(t, "runs", "-o", "json").must(t))
	if out := n.carillon(t, "logs", "leaky").must(t); !strings.Contains(out, "15 ***") && !strings.Contains(out, "16 ***") {
		t.Errorf("the output is %q", out)
	}
}

// The value of a secret that the cluster keeps is in nothing but the environment of its
// command: not in etcd either, nor on the disk of the minion that opens it. A job of
// another namespace, a copy under another name, and a minion that is no recipient get none.
func TestSealedSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1", "--log-level", "debug")
	m, other := startMinion(t, n, "m1", "--log-level", "debug"), startMinion(t, n, "m2")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const first, second = "sealed-sesame-4711", "rotated-sesame-471"
	n.carillon(t, "secret", "create", "pw", "--target", "m1", "--from-file", write("first", first+"\n")).must(t)
	release := filepath.Join(dir, "release")
	jobOf := func(namespace, name, minion string) string {
		return `
apiVersion: carillon/v1
kind: Job
metadata: {name: ` + name + `, namespace: ` + namespace + `}
spec:
  env: {PW: {secret: {name: pw}, mask: true}}
  target: {names: [` + minion + `]}
  steps:
  - shell: echo "${#PW} $PW"
  - shell: while ! test -e ` + release + `; do sleep 0.05; done; echo "again $PW"; exit 3
`
	}
	n.apply(t, jobOf("default", "leaky", "m1")).must(t)
	p := &places{t: t, n: n, m: m, dirs: []string{n.dir, m.dir, other.dir}, words: []string{first, second}}
	n.carillon(t, "run", "leaky")
	await.Until(t, "the first step has written", func() bool { return strings.Contains(n.carillon(t, "logs", "leaky").stdout, "18 ***") })
	n.carillon(t, "secret", "rotate", "pw", "--from-file", write("second", second)).must(t)
	p.look()
	write("release", "")
	await.Until(t, "the run has ended", func() bool { return strings.Contains(n.carillon(t, "runs", "leaky").stdout, "failed") })
	n.carillon(t, "run", "leaky", "--wait")
	if out := n.carillon(t, "logs", "leaky").must(t); !strings.Contains(out, "18 ***") || !strings.Contains(out, "again ***") {
		t.Errorf("the output is %q", out)
	}
	for _, args := range [][]string{{"secret", "show", "pw"}, {"get", "secrets", "-o", "json"}, {"get", "secret", "pw", "-o", "yaml"}} {
		p.has("carillon "+strings.Join(args, " "), n.carillon(t, args...).must(t))
	}
	p.look()
	// Who can read the sealed text has nobody open it.
	text := n.carillon(t, "get", "secret", "pw", "-o", "yaml").must(t)
	n.apply(t, strings.Replace(text, "namespace: default", "namespace: theirs", 1)).must(t)
	n.apply(t, jobOf("theirs", "copied", "m1")).must(t)
	n.apply(t, jobOf("default", "elsewhere", "m2")).must(t)
	for name, want := range map[string]string{"theirs/copied": "was sealed as another secret", "elsewhere": "is not sealed to this minion"} {
		if r := n.carillon(t, "run", name, "--wait"); r.code == 0 || !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%s: %d %s%s", name, r.code, r.stdout, r.stderr)
		}
	}
	p.look()
}

// Who edits jobs reads nothing of a host by a minion without a list, and nothing but
// what the list names by one with a list: not by another path, a link, or a variable.
func TestEditorsReadNoFilesByAMinion(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	dir := t.TempDir()
	for name, text := range map[string]string{"open": "allowed-value", "list.yaml": "rules: [{file: " + dir + "/open, jobs: [default/*]}]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startMinion(t, n, "none")
	startMinion(t, n, "some", "--secrets", filepath.Join(dir, "list.yaml"))
	for i, ref := range []string{
		"{file: /etc/shadow}", "{file: /etc/passwd}", "{file: " + dir + "/list.yaml}", "{env: PATH}", "{exec: [/bin/cat, /etc/shadow]}", "{file: " + dir + "/open}",
	} {
		for _, id := range []string{"none", "some"} {
			n.apply(t, `
apiVersion: carillon/v1
kind: Job
metadata: {name: spy}
spec: {command: [printenv, LOOT], env: {LOOT: {secret: `+ref+`}}, target: {names: [`+id+`]}}
`).must(t)
			r := n.carillon(t, "run", "spy", "--wait")
			if allowed := id == "some" && i == 5; (r.code == 0) != allowed {
				t.Errorf("%s on %s: exit code %d\n%s%s", ref, id, r.code, r.stdout, r.stderr)
			}
		}
	}
	if out := n.carillon(t, "logs", "spy").must(t); !strings.Contains(out, "allowed-value") {
		t.Errorf("what is allowed: %q", out)
	}
}
