package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/secrets"
)

// secretFile writes a file that nobody else can change, and returns its path.
func secretFile(t *testing.T, value string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func secretList(t *testing.T, format string, args ...any) *secrets.List {
	t.Helper()
	l, err := secrets.Parse("secrets.yaml", fmt.Appendf(nil, format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func withSecret(o *job.Order, mask bool, ref job.SecretRef) *job.Order {
	o.Secrets = map[string]job.OrderSecret{"PW": {Secret: &ref, Mask: mask}}
	return o
}

// nowhereIn fails the test for each file below dir that has the value.
func nowhereIn(t *testing.T, dir, value string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(value)) {
			t.Errorf("%s has the value", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A command, its script, its steps and a Go handler have the value; no report of the
// minion's has it.
func TestSecretsReachTheCommandOnly(t *testing.T) {
	t.Parallel()
	const value = "correct horse battery staple"
	n, dir, file := newNode(t), dataDir(t), secretFile(t, value+"\n")
	program := filepath.Join(t.TempDir(), "tell")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '%s' \"$1\"; echo oops >&2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.handlers = map[string]Handler{"pw": func(_ context.Context, c *Call) error {
		if c.Env["PW"] != value {
			return errors.New("has another value")
		}
		return errors.New("cannot log in with " + value)
	}}
	l := secretList(t, "rules:\n- {file: %s}\n- {exec: [%s, %s]}\n", file, program, value)
	n.change = func(d *Deps) { d.Secrets = l }
	start(t, n, dir)
	ref := job.SecretRef{File: file}
	const has = `test "${#PW}" = 28 && echo yes`
	command := func() *job.Order { return newOrder("/bin/sh", "-c", has) }
	script := newOrder()
	script.Command, script.Script = nil, &job.Script{Source: has}
	for name, o := range map[string]*job.Order{
		"command": withSecret(command(), false, ref),
		"script":  withSecret(script, false, ref),
		"steps":   withSecret(stepped(line("one", has)), false, ref),
		"program": withSecret(command(), false, job.SecretRef{Exec: []string{program, value}}),
	} {
		n.order(o)
		if r := n.final(o); r.State != job.StateSucceeded || r.Stdout.Head != "yes\n" || strings.Contains(fmt.Sprintf("%+v", r), value) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	o := withSecret(newOrder("go:pw"), true, ref)
	n.order(o)
	if r := n.final(o); r.Reason != "cannot log in with ***" {
		t.Errorf("handler: %q", r.Reason)
	}
}

// What the minion has on its disk, while the command runs and after it.
func TestSecretsAreOnNoDisk(t *testing.T) {
	t.Parallel()
	const value = "correct horse battery staple"
	n, dir, file := newNode(t), dataDir(t), secretFile(t, value)
	l := secretList(t, "rules: [{file: %s}]", file)
	n.change = func(d *Deps) { d.Secrets = l }
	m, _ := start(t, n, dir)
	o := withSecret(stepped(line("one", `test "${#PW}" = 28 && echo one`), line("two", "sleep 1000")), false, job.SecretRef{File: file})
	n.order(o)
	n.running(o)
	poll(t, "first step", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "output", keyOf(o.Task).String()))
		return bytes.Contains(text, []byte("one"))
	})
	nowhereIn(t, dir, value)
	n.cancel(o, "enough")
	n.final(o)
	poll(t, "acknowledgement", func() bool { return m.Status().Unacked == 0 })
	nowhereIn(t, dir, value)
}

// A task whose secret cannot be had is rejected before anything starts, and the
// reason says why.
func TestSecretsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	n, dir, file := newNode(t), dataDir(t), secretFile(t, "abc")
	marker := filepath.Join(t.TempDir(), "started")
	l := secretList(t, "rules: [{file: %s}, {file: /no/such/*}, {env: NO_SUCH_VARIABLE}]", file)
	n.change = func(d *Deps) { d.Secrets = l }
	start(t, n, dir)
	for name, c := range map[string]struct {
		ref    job.SecretRef
		mask   bool
		reason string
	}{
		"not allowed":      {job.SecretRef{File: "/etc/shadow"}, false, "secret PW: no rule of this minion's list of secrets, secrets.yaml, allows job default/test the file /etc/shadow"},
		"no file":          {job.SecretRef{File: "/no/such/file"}, false, "secret PW: file /no/such/file: /no does not exist on this host"},
		"no variable":      {job.SecretRef{Env: "NO_SUCH_VARIABLE"}, false, "secret PW: variable NO_SUCH_VARIABLE: the minion's service does not have it in its environment"},
		"a short mask":     {job.SecretRef{File: file}, true, "secret PW: file " + file + ": has fewer than 4 bytes, and cannot be masked: leave mask out"},
		"nothing is asked": {job.SecretRef{}, false, "has 0 of file, env, exec and name"},
	} {
		o := withSecret(newOrder("/bin/sh", "-c", "touch "+marker), c.mask, c.ref)
		n.order(o)
		if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s: %s (%s), want %q", name, r.State, r.Reason, c.reason)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command was started")
	}
}

// A minion without a list finds out nothing.
func TestNoSecretsWithoutAList(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := withSecret(newOrder("/bin/true"), false, job.SecretRef{Env: "HOME"})
	n.order(o)
	if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, "worker --secrets FILE") {
		t.Errorf("%+v", r)
	}
}

// Masked values are in no output: not in that of the report, not in the file, however
// the command cuts them up.
func TestMaskedOutput(t *testing.T) {
	t.Parallel()
	const value = "s3cr3t-value"
	n, dir, file := newNode(t), dataDir(t), secretFile(t, value)
	l := secretList(t, "rules: [{file: %s}]", file)
	n.change = func(d *Deps) { d.Secrets = l }
	start(t, n, dir)
	o := withSecret(shell(`printf 's3cr'; sleep 0.05; printf '3t-value\n' ; echo "pw=$PW" >&2; printf s3cr`), true, job.SecretRef{File: file})
	n.order(o)
	r := n.final(o)
	if r.State != job.StateSucceeded || r.Stdout.Head != "***\ns3cr" || r.Stderr.Head != "pw=***\n" {
		t.Errorf("%+v", r)
	}
	nowhereIn(t, dir, value)
	if text, err := os.ReadFile(filepath.Join(dir, "output", keyOf(o.Task).String())); err != nil || !bytes.Contains(text, []byte("pw=***")) {
		t.Errorf("output file: %q, %v", text, err)
	}
}

// A minion with a list of what may run admits a secret in a variable that may have
// any value, and no reason tells the value.
func TestSecretsBehindTheList(t *testing.T) {
	t.Parallel()
	const value = "correct-horse"
	n, dir, file := newNode(t), dataDir(t), secretFile(t, value)
	list, err := allow.Parse("allow.yaml", []byte("rules:\n- {name: any, program: /bin/true, env: {PW: {any: true}}}\n- {name: one, program: /bin/false, env: {PW: "+value+"}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	n.allow = list
	l := secretList(t, "rules: [{file: %s}]", file)
	n.change = func(d *Deps) { d.Secrets = l }
	start(t, n, dir)
	for program, want := range map[string]struct {
		state  job.State
		reason string
	}{
		"/bin/true":  {job.StateSucceeded, ""},
		"/bin/false": {job.StateRejected, "the variable PW is a secret"},
		"/bin/echo":  {job.StateRejected, "nearest"},
	} {
		o := withSecret(newOrder(program), false, job.SecretRef{File: file})
		n.order(o)
		if r := n.final(o); r.State != want.state || !strings.Contains(r.Reason, want.reason) || strings.Contains(r.Reason, value) {
			t.Errorf("%s: %s (%s)", program, r.State, r.Reason)
		}
	}
}

// A minion that dies while it finds out a secret does so again, and the command is
// started once: also where the shim has ended meanwhile.
func TestSecretsAfterARestart(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(t *testing.T, dir string){
		"at once": func(*testing.T, string) {}, "without the shim": func(t *testing.T, dir string) { waitShim(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			gate, made := filepath.Join(t.TempDir(), "gate"), filepath.Join(t.TempDir(), "made")
			program := filepath.Join(t.TempDir(), "tell")
			if err := os.WriteFile(program, []byte("#!/bin/sh\necho x >> "+made+"\nwhile ! test -e "+gate+"; do sleep 0.02; done\necho value\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			l := secretList(t, "rules: [{exec: [%s]}]", program)
			n.change = func(d *Deps) { d.Secrets = l }
			_, stop := start(t, n, dir)
			o := withSecret(newOrder("/bin/sh", "-c", `echo "$PW"`), false, job.SecretRef{Exec: []string{program}})
			n.order(o)
			poll(t, "program", func() bool { return len(lines(t, made)) == 1 })
			stop()
			between(t, dir)
			n.forget()
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			start(t, n, dir)
			if r := n.final(o); r.State != job.StateSucceeded || r.Stdout.Head != "value\n" || len(lines(t, made)) != 2 {
				t.Errorf("%+v; the program ran %d times", r, len(lines(t, made)))
			}
		})
	}
}

// A sensitive parameter is masked in the output, by a minion without a list of secrets,
// and by one that has read the order from its journal.
func TestSensitiveParametersAreMasked(t *testing.T) {
	t.Parallel()
	const value = "correct horse battery staple"
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := newOrder("/bin/sh", "-c", `echo "${#CARILLON_PARAM_PW} $CARILLON_PARAM_PW"`)
	o.Secrets = map[string]job.OrderSecret{job.ParamEnv("pw"): {Value: value, Mask: true}}
	n.order(o)
	if r := n.final(o); r.State != job.StateSucceeded || r.Stdout.Head != "28 ***\n" || strings.Contains(fmt.Sprintf("%+v", r), value) {
		t.Errorf("%+v", r)
	}
	text, err := (&record{Kind: kindAccepted, Order: o}).encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeRecord(text)
	if err != nil || r.Order.Secrets[job.ParamEnv("pw")] != o.Secrets[job.ParamEnv("pw")] {
		t.Errorf("from the journal: %+v, %v", r.Order, err)
	}
}
