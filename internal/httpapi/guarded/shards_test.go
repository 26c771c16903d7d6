package guarded

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
)

// Whose group a shard is, is told who may read the group (I2).
func TestShardsTellNoForeignGroups(t *testing.T) {
	t.Parallel()
	c := closed()
	c.behind.shards = []api.Shard{{ID: 1}, {ID: 70_000, Group: "own/x"}, {ID: 70_001, Group: "foreign/x"}}
	c.role("ann", rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Shards}})
	c.bind("ann", rights.Viewer, "own")
	c.bind("bob", rights.Viewer)
	c.serve(t)
	for user, foreign := range map[string]bool{"ann": false, "bob": true, "root": true} {
		status, text := c.ask(t, user, http.MethodGet, "/v1/shards", "")
		if status != http.StatusOK || !strings.Contains(text, "own/x") || strings.Contains(text, "foreign") != foreign || strings.Contains(text, "(hidden)") == foreign {
			t.Errorf("%s: %d %s", user, status, text)
		}
	}
}
