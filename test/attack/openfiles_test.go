package attack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// holding returns a program that is started with a file open which is nobody
// else's business, as descriptor 9.
func holding(t testing.TB, p program) program {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.args = append([]string{"-c", `exec 9<"$SECRET" && exec "$0" "$@"`, filepath.Join(bin, p.name)}, p.args...)
	p.name, p.env = "/bin/bash", append(p.env, "SECRET="+secret)
	return p
}

// What whoever started a minion or `carillon lock` had open reaches none of the
// commands, scripts and programs for facts that they start.
func TestOpenFilesReachNoCommand(t *testing.T) {
	t.Parallel()
	const look = `readlink /proc/self/fd/9 || echo none`
	n := startNode(t, newCluster(t), "n1")
	dir := openDir(t)
	facts := filepath.Join(dir, "facts.d")
	if err := os.MkdirAll(facts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(facts, "open.sh"), []byte("#!/bin/sh\necho open=$("+look+" | tr -c 'a-z\\n' _)\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, holding(t, program{
		name: "worker",
		args: []string{"--id", "web1", "--servers", n.peer, "--data-dir", filepath.Join(dir, "web1"), "--cgroup", "none", "--facts-dir", facts},
		env:  []string{"CARILLON_JOIN_TOKEN=" + n.token(t, "--minions", "web1")},
	}))
	await.Until(t, "the minion is connected", func() bool { return n.connected(t, "web1") })
	if got := n.carillon(t, "exec", "--target", "web1", "--shell", "--", look).must(t); !strings.HasSuffix(got, "none") {
		t.Errorf("a command of a minion has open %q", got)
	}
	var said string
	await.Until(t, "the fact is told", func() bool {
		said = n.carillon(t, "describe", "minion", "web1").must(t)
		return strings.Contains(said, "open:")
	})
	if !strings.Contains(strings.Join(strings.Fields(said), " "), "open: none") {
		t.Errorf("a program for facts has it open:\n%s", said)
	}
	locked := run(t, holding(t, program{name: "carillon", args: []string{"lock", "door", "--", "/bin/sh", "-c", look}, env: []string{"CARILLON_SERVER=" + n.url()}}))
	if got := locked.must(t); got != "none" {
		t.Errorf("a command under a lock has open %q", got)
	}
}
