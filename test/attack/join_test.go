package attack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// Another account that looks at all processes, and at their environments, does
// not find the join token; neither do the commands that the minion starts.
func TestJoinTokenIsSeenByNobody(t *testing.T) {
	t.Parallel()
	as := stranger(t)
	n := startNode(t, nil, "n1")
	for name, give := range map[string]func(token string) program{
		"file": func(token string) program {
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return program{args: []string{"--join-token-file", path}}
		},
		"stdin":    func(token string) program { return program{args: []string{"--join-token-file", "-"}, stdin: token} },
		"variable": func(token string) program { return program{env: []string{"CARILLON_JOIN_TOKEN=" + token}} },
	} {
		token := n.token(t)
		p := give(token)
		p.name = "worker"
		p.args = append([]string{"--id", name, "--servers", n.peer, "--data-dir", filepath.Join(openDir(t), name), "--cgroup", "none"}, p.args...)
		start(t, p)
		await.Until(t, "the minion is connected", func() bool { return n.connected(t, name) })
		look := "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
		if got := run(t, program{name: "/bin/sh", as: as, args: []string{"-c", look}}); strings.Contains(got.stdout, token) {
			t.Errorf("%s: another account sees the token", name)
		} else if !strings.Contains(got.stdout, "--data-dir") {
			t.Errorf("%s: the other account sees no command line at all, so that this proves nothing", name)
		}
		if got := n.carillon(t, "exec", "--target", name, "--", "env").must(t); strings.Contains(got, token) {
			t.Errorf("%s: a command finds the token: %s", name, got)
		}
	}
}

// What is on the command line is told of.
func TestJoinTokenOnTheCommandLineIsWarnedOf(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	p := start(t, program{name: "worker", args: []string{
		"--id", "web1", "--servers", n.peer, "--data-dir", filepath.Join(openDir(t), "web1"), "--cgroup", "none", "--join-token", n.token(t),
	}})
	await.Until(t, "the minion is connected", func() bool { return n.connected(t, "web1") })
	if !strings.Contains(p.output(), "every account of this host can read it") {
		t.Error("the minion does not warn of the token on its command line")
	}
}

// A minion that has joined needs the file no more.
func TestJoinTokenFileMayGo(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	dir, path := filepath.Join(openDir(t), "web1"), filepath.Join(t.TempDir(), "token")
	p := program{name: "worker", args: []string{"--id", "web1", "--servers", n.peer, "--data-dir", dir, "--cgroup", "none", "--join-token-file", path}}
	if r := run(t, p); r.code == 0 || !strings.Contains(r.stderr, path) {
		t.Errorf("without the file the minion ends with code %d: %s", r.code, r.stderr)
	}
	if err := os.WriteFile(path, []byte(n.token(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	first := start(t, p)
	await.Until(t, "the minion is connected", func() bool { return n.connected(t, "web1") })
	first.kill()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := start(t, p)
	await.Until(t, "the minion is connected again, without the file", func() bool {
		return second.runs() && strings.Contains(second.output(), "session opened")
	})
}

// Whoever asks first for a name is not approved for that: it takes the
// fingerprint of the right key.
func TestApprovalNeedsTheFingerprint(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	ask := func(who string) string {
		p := start(t, program{name: "worker", args: []string{
			"--id", "db1", "--servers", n.peer, "--data-dir", filepath.Join(openDir(t), who), "--cgroup", "none", "--trust-on-first-use",
		}})
		print := ""
		await.Until(t, who+" has logged its fingerprint", func() bool {
			_, after, found := strings.Cut(p.output(), `"fingerprint": "`)
			print, _, _ = strings.Cut(after, `"`)
			return found
		})
		await.Until(t, who+" asks", func() bool { return strings.Contains(n.carillon(t, "minions", "requests").must(t), print) })
		return print
	}
	thief := ask("thief")
	for _, try := range []func() (bool, string){
		func() (bool, string) { r := n.carillon(t, "minions", "approve", "db1"); return r.code == 0, r.stderr },
		func() (bool, string) {
			res, err := n.post("/v1/minions/db1/approve", "{}")
			if err != nil {
				t.Fatal(err)
			}
			return res.code < 400, strconv.Itoa(res.code) + " " + res.body
		},
	} {
		if done, said := try(); done || !strings.Contains(said, thief) {
			t.Errorf("approved without a fingerprint: %v, or the key that asks is not told of: %s", done, said)
		}
	}
	right := ask("right")
	if r := n.carillon(t, "minions", "approve", "db1"); r.code == 0 || !strings.Contains(r.stderr, thief) || !strings.Contains(r.stderr, right) {
		t.Errorf("of two keys that ask, approve does not list both: %d %s", r.code, r.stderr)
	}
	n.carillon(t, "minions", "approve", "db1", "--fingerprint", right).must(t)
	await.Until(t, "the right one is in", func() bool { return n.connected(t, "db1") })
	var certified []struct {
		ID, Key string
	}
	got := n.carillon(t, "minions", "certificates", "-o", "json").must(t)
	if err := json.Unmarshal([]byte(got), &certified); err != nil || len(certified) != 1 || certified[0].ID != "db1" || certified[0].Key != right {
		t.Errorf("who has a certificate: %s (%v)", got, err)
	}
}
