package attack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// A taken host gives itself labels and facts that a target names, and joins again
// with them; it is a target only once an operator has granted the label.
func TestMinionChoosesItsLabels(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	dir := openDir(t)
	facts := filepath.Join(dir, "facts.d")
	if err := os.MkdirAll(facts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(facts, "lie.txt"), []byte("role=db\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The true one joins by a token that grants the label.
	start(t, program{
		name: "worker", args: []string{"--id", "db1", "--servers", n.peer, "--data-dir", filepath.Join(dir, "db1"), "--cgroup", "none"},
		env: []string{"CARILLON_JOIN_TOKEN=" + n.token(t, "--minions", "db1", "--label", "role=db")},
	})
	await.Until(t, "db1 is connected", func() bool { return n.connected(t, "db1") })
	taken := startMinion(t, n, "web1", "--label", "role=db", "--facts-dir", facts)
	matches := func(id job.MinionID, target string) bool { return n.matches(t, id, target) }
	await.Until(t, "the true one is matched", func() bool { return matches("db1", "label.role==db") })
	asked := func() bool { return strings.Contains(n.carillon(t, "minions", "requests").must(t), "role=db") }
	await.Until(t, "the request is shown", asked)
	for _, target := range []string{"label.role==db", "role==db", "has(role)"} {
		if matches("web1", target) {
			t.Errorf("target %s matches the host that chose its label", target)
		}
	}
	if !matches("web1", "fact.role==db") {
		t.Error("a fact is no fact any more")
	}

	// It joins again under its own id, by its key, with a token for others.
	taken.kill()
	other := n.token(t, "--label", "role=db", "--uses", "5")
	start(t, program{
		name: "worker", args: []string{"--id", "web1", "--servers", n.peer, "--data-dir", taken.dir, "--cgroup", "none", "--label", "role=db"},
		env: []string{"CARILLON_JOIN_TOKEN=" + other},
	})
	await.Until(t, "web1 is back", func() bool { return n.connected(t, "web1") && asked() })
	if matches("web1", "label.role==db") {
		t.Error("joining again gave it the label")
	}

	n.carillon(t, "minions", "label", "web1", "role=db", "--reason", "it is a database now").must(t)
	await.Until(t, "the label counts once it is granted", func() bool { return matches("web1", "label.role==db") })
	if got := n.carillon(t, "audit").must(t); !strings.Contains(got, "minion.label") {
		t.Errorf("no record of it:\n%s", got)
	}
	n.carillon(t, "minions", "label", "web1", "role-").must(t)
	await.Until(t, "it does not when it is taken away", func() bool { return !matches("web1", "label.role==db") })
	n.carillon(t, "minions", "revoke", "db1").must(t)
	await.Until(t, "a revoked minion has no labels", func() bool { return !matches("db1", "label.role==db") })
}

// matches reports whether a target means a minion, be it connected or not.
func (n *node) matches(t testing.TB, id job.MinionID, target string) bool {
	t.Helper()
	r := n.carillon(t, "minions", "match", target, "-o", "json")
	if r.code != 0 && !strings.Contains(r.stderr, job.ErrNoMinions.Error()) {
		r.must(t)
	}
	var view api.Match
	if err := json.Unmarshal([]byte(r.stdout), &view); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	return slices.Contains(view.Minions, id) || slices.Contains(view.Disconnected, id)
}
