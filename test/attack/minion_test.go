package attack

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// minion is a worker process that is connected.
type minion struct {
	*process
	id  string
	dir string // data directory
}

// token makes a join token for one minion, or as the arguments say.
func (n *node) token(t testing.TB, args ...string) string {
	t.Helper()
	return n.carillon(t, append([]string{"minions", "token"}, args...)...).must(t)
}

// startMinion starts a minion that joins by a token, and returns when it is
// connected. It keeps to no control group.
func startMinion(t testing.TB, n *node, id string, args ...string) *minion {
	t.Helper()
	m := &minion{id: id, dir: filepath.Join(openDir(t), id)}
	m.process = start(t, program{
		name: "worker",
		args: append([]string{"--id", id, "--servers", n.peer, "--data-dir", m.dir, "--cgroup", "none"}, args...),
		env:  []string{"CARILLON_JOIN_TOKEN=" + n.token(t, "--minions", id)},
	})
	await.Until(t, "minion "+id+" is connected", func() bool { return n.connected(t, id) })
	return m
}

// connected reports whether the node counts the minion as connected.
func (n *node) connected(t testing.TB, id string) bool {
	t.Helper()
	for line := range strings.Lines(n.carillon(t, "minions").must(t)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == id && words[1] == "connected" {
			return true
		}
	}
	return false
}
