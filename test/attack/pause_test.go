package attack

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// jobsOfPause are a job in a group, and one alone.
const jobsOfPause = `
apiVersion: carillon/v1
kind: Group
metadata: {namespace: team, name: ledger}
spec: {mode: failover}
---
apiVersion: carillon/v1
kind: Job
metadata: {namespace: team, name: backup}
spec:
  schedules: ["@yearly"]
  command: ["true"]
`

// TestEachPauseIsFoundByResume: whoever may pause something by API or command
// line pauses it under one key, which resume finds; a scope with names that it has
// no use for is refused.
func TestEachPauseIsFoundByResume(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	n.apply(t, jobsOfPause).must(t)
	paused := func() string {
		t.Helper()
		return n.carillon(t, "get", "pauses", "-o", "name").must(t)
	}
	post := func(path, body string, want int) string {
		t.Helper()
		res, err := n.post(path, body)
		if err != nil || res.code != want {
			t.Errorf("POST %s %s: %d, want %d: %s %v", path, body, res.code, want, res.body, err)
		}
		return res.body
	}

	for _, c := range []struct {
		args []string
		body string
		name string
	}{
		{[]string{"job", "team/backup"}, `{"scope":"job","namespace":"team","name":"backup"}`, "job/team/backup"},
		{[]string{"group", "team/ledger"}, `{"scope":"group","namespace":"team","name":"ledger"}`, "group/team/ledger"},
		{[]string{"namespace", "team"}, `{"scope":"namespace","namespace":"team"}`, "namespace/team"},
		{[]string{"all"}, `{"scope":"all"}`, "all/all"},
	} {
		n.carillon(t, append([]string{"pause"}, c.args...)...).must(t)
		if got := paused(); got != c.name {
			t.Errorf("paused by command: %q, want %q", got, c.name)
		}
		post("/v1/resume", c.body, http.StatusNoContent)
		post("/v1/pause", c.body, http.StatusNoContent)
		if got := paused(); got != c.name {
			t.Errorf("paused by API: %q, want %q", got, c.name)
		}
		n.carillon(t, append([]string{"resume"}, c.args...)...).must(t)
		if got := paused(); got != "" {
			t.Errorf("still paused: %q", got)
		}
	}

	for body, want := range map[string]string{
		`{"scope":"all","name":"backup"}`:                            "scope all has none; leave it out, or give scope job or group",
		`{"scope":"all","namespace":"team"}`:                         "scope all has none; leave it out, or give scope namespace",
		`{"scope":"namespace","namespace":"team","name":"backup"}`:   "scope namespace has none; leave it out, or give scope job or group",
		`{"scope":"namespace","namespace":"team/x"}`:                 "namespace",
		`{"scope":"job","namespace":"team"}`:                         "name",
		`{"scope":"everything"}`:                                     "scope",
		`{"scope":"job","namespace":"team/backup","name":"../../x"}`: "namespace",
	} {
		for _, path := range []string{"/v1/pause", "/v1/resume"} {
			if got := post(path, body, http.StatusUnprocessableEntity); !strings.Contains(got, want) {
				t.Errorf("%s %s: %s\nwant %s", path, body, got, want)
			}
		}
	}
	if got := paused(); got != "" {
		t.Errorf("paused by what was refused: %q", got)
	}

	// What a former version wrote.
	for key, value := range map[string]etcdkv.Pause{
		"all//backup":           {Scope: etcdkv.ScopeAll, Name: "backup"},
		"namespace/team/backup": {Scope: etcdkv.ScopeNamespace, Namespace: "team", Name: "backup"},
	} {
		value.Schema = etcdkv.Schema
		text, err := etcdkv.Encode(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.cluster.etcd.Put(context.Background(), n.cluster.keys.Pauses()+key, text); err != nil {
			t.Fatal(err)
		}
	}
	n.carillon(t, "resume", "all").must(t)
	n.carillon(t, "resume", "namespace", "team").must(t)
	if got := paused(); got != "" {
		t.Errorf("still paused: %q", got)
	}
}
