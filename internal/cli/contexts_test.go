package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContexts: a context says what flags and variables do not.
func TestContexts(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	home := t.TempDir()
	run := func(args string, env ...string) result {
		a, out := testApp(nil, strings.Fields(args), append(env, "XDG_CONFIG_HOME="+home)...)
		return out(a.main(t.Context()))
	}
	expect := func(got result, code int, stdout, stderr string) {
		t.Helper()
		if got.code != code || got.stdout != stdout || !strings.Contains(got.stderr, stderr) {
			t.Errorf("want exit code %d, %q and %q, got\n%s", code, stdout, stderr, got)
		}
	}
	expect(run("context list"), 0, "", "no contexts; keep one with")
	expect(run("context set test --server "+f.url+" -n team"), 0, "context test kept\n", "")
	expect(run("context set gone --server http://"+closedPort(t)), 0, "context gone kept\n", "")
	expect(run("get jobs -o name --context test"), 0, "team/report\n", "")
	expect(run("get jobs -o name", "CARILLON_CONTEXT=test"), 0, "team/report\n", "")
	expect(run("get jobs -o name -n default --context test"), 0, "default/backup\n", "")
	expect(run("get jobs -o name --context gone", "CARILLON_SERVER="+f.url), 0, "default/backup\n", "")
	expect(run("context use test"), 0, "context test used from now on\n", "")
	expect(run("get jobs -o name"), 0, "team/report\n", "")
	expect(run("get jobs -o name --context gone"), exitUnavailable, "", "no answer from")
	expect(run("context list --no-headers"), exitUsage, "", "unknown flag")
	expect(run("context list -o name"), 0, "gone\ntest\n", "")
	if got := run("context list -o json"); !strings.Contains(got.stdout, `"current": true`) || !strings.Contains(got.stdout, `"namespace": "team"`) {
		t.Errorf("got\n%s", got)
	}
	expect(run("context use tset"), exitUsage, "", `did you mean "test"?`)
	expect(run("get jobs --context tset"), exitUsage, "", `there is no context "tset"; did you mean "test"?`)
	expect(run("context set test"), exitUsage, "", "give at least one of")
	expect(run("context set test --ca here.pem"), 0, "context test kept\n", "")
	if text, err := os.ReadFile(filepath.Join(home, "carillon", "config.yaml")); err != nil || !strings.Contains(string(text), "namespace: team") || !strings.Contains(string(text), "/here.pem\n") {
		t.Errorf("want both, and a path that holds in any directory: %v\n%s", err, text)
	}
	// One that cannot be used can be put right.
	expect(run("get jobs"), exitUsage, "", "--ca (env CARILLON_CA)")
	expect(run("context delete test"), 0, "context test deleted\n", "it was the current context")
	expect(run("context list -o name"), 0, "gone\n", "")
	if err := os.WriteFile(filepath.Join(home, "carillon", "config.yaml"), []byte("contxts: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(run("get jobs"), exitUsage, "", "is no file of contexts")
}

// TestSeveralServers: the first that takes a connection is asked.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	gone := closedPort(t)
	if got := carillon(t.Context(), nil, "", "get", "jobs", "-o", "name", "--server", "http://"+gone+", "+f.url); got.code != 0 || got.stdout != "default/backup\n" {
		t.Errorf("the second: got\n%s", got)
	}
	if got := carillon(t.Context(), nil, "", "get", "jobs", "--server", "http://"+gone+",unix:///nowhere/carillon.sock"); got.code != exitUnavailable || strings.Count(got.stderr, "no answer from") != 2 {
		t.Errorf("none: got\n%s", got)
	}
	for list, want := range map[string]string{"a b,http://x": "with a comma between them", ",": "names no server", "ftp://x,http://y": "want URLs"} {
		if got := carillon(t.Context(), nil, "", "get", "jobs", "--server", list); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%q: want %q, got\n%s", list, want, got)
		}
	}
	// A verb that asks nobody does not care.
	if got := carillon(t.Context(), nil, "", "explain", "job.timeout", "--server", gone+","+gone); got.code != 0 {
		t.Errorf("explain: got\n%s", got)
	}
	// One that takes connections and is asked for nothing else has it said which it was.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	for given, want := range map[string]string{"http://" + address: address, address: address, "https://x": "x:443", "http://x": "x:80", "[::1]:99": "[::1]:99"} {
		if _, got, err := dialed(given); err != nil || got != want {
			t.Errorf("%s: want %s, got %s, %v", given, want, got, err)
		}
	}
	_ = l.Close()
}

func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	got := carillon(t.Context(), nil, "", "man", dir)
	if got.code != 0 || !strings.Contains(got.stderr, " pages are in "+dir) {
		t.Fatalf("got\n%s", got)
	}
	for page, wants := range map[string][]string{
		"carillon.1":          {`.TH "CARILLON" 1`, ".SH EXIT STATUS\n", ".BR carillon\\-apply (1)"},
		"carillon-apply.1":    {`carillon\-apply \- Create or update`, ".B \\-f, \\-\\-file FILE\n", ".SH GLOBAL OPTIONS\n.TP\n", ".B \\-\\-server URL"},
		"carillon-get-jobs.1": {".SH EXAMPLES\n.nf\n", ".BR carillon\\-get (1)"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: want %q in\n%s", page, want, text)
			}
		}
	}
	// Nothing that a text says is an order to troff.
	for given, want := range map[string]string{".so /etc/passwd": `\&.so /etc/passwd`, "'x": `\&'x`, `a\nb`: `a\enb`, "a\n.b": "a\n" + `\&.b`} {
		if got := roff(given); got != want {
			t.Errorf("%q: want %q, got %q", given, want, got)
		}
	}
}
