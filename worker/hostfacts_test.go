package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/worker/facts"
)

// The first thing that a node hears has the added facts; what changes is told on
// the same session, and what does not is not.
func TestFactsAreTold(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	extra := filepath.Join(dir, "facts.d")
	if err := os.MkdirAll(extra, 0o750); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(extra, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "rack=r1")
	m, _ := start(t, n, dir)
	n.connected()
	n.mu.Lock()
	hello := n.hellos[0].GetInventory().GetFacts()
	n.mu.Unlock()
	if hello["rack"] != "r1" || hello["cgroup"] != "none" || hello["os"] != "linux" || hello[facts.ErrorFact] != "" {
		t.Errorf("hello has the facts %v", hello)
	}
	m.RefreshFacts() // nothing is new
	write("a.txt", "rack=r2")
	write("b.txt", "os=plan9")
	m.RefreshFacts()
	n.await("change", func() bool {
		if len(n.told) == 0 {
			return false
		}
		f := n.told[len(n.told)-1].GetFacts()
		return f["rack"] == "r2" && f["os"] == "linux" && strings.Contains(f[facts.ErrorFact], "b.txt: the fact os is the minion's own")
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, inv := range n.told {
		if f := inv.GetFacts(); f["rack"] == "r1" && f[facts.ErrorFact] == "" {
			t.Error("what has not changed was told")
		}
	}
	if n.sessions != 1 {
		t.Errorf("%d sessions", n.sessions)
	}
}
