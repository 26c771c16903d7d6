package attack

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// openFiles are how many files a node has open: its own ones, and connections that
// its doors let in.
type openFiles struct{ own, connections int }

func (n *node) files(t testing.TB) (f openFiles) {
	t.Helper()
	// Connections that come in between are counted as its own.
	res, err := n.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(res.body) {
		if strings.HasPrefix(line, "carillon_door_connections{") {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]), 64)
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			f.connections += int(v)
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f.own = len(open) - f.connections
	return f
}

// TestReserveIsWhatANodeNeeds holds the files that a node keeps from connections
// against those that it needs in steady work, with an etcd of its own, very many
// shards, jobs that fire, scripts, readers and lists: it needs half of them at
// most. The figures:
//
//	go test ./test/attack -run TestReserveIsWhatANodeNeeds -v
func TestReserveIsWhatANodeNeeds(t *testing.T) {
	t.Parallel()
	const jobs, fires = 10, 5
	n := startNode(t, nil, "n1", "--shards", "512", "--history-per-job", "100")
	var bound struct {
		Msg                           string
		Open, Reserve, API, Strangers int
	}
	for line := range strings.Lines(n.output()) {
		if json.Unmarshal([]byte(line), &bound) == nil && strings.HasPrefix(bound.Msg, "connections are bounded") {
			break
		}
	}
	if bound.Open == 0 || bound.Reserve == 0 {
		t.Fatalf("the node does not tell its bounds: %+v", bound)
	}
	for i := range 3 {
		startMinion(t, n, fmt.Sprintf("web%d", i))
	}
	var text strings.Builder
	for i := range jobs {
		fmt.Fprintf(&text, "---\napiVersion: carillon/v1\nkind: Job\nmetadata: {name: j%d}\nspec:\n  schedules: [\"* * * * * *\"]\n  overlap: allow\n  target: {match: 'web*', run: all}\n"+
			"  script: {source: \"echo hello # %s\"}\n", i, strings.Repeat("x", 5000))
	}
	n.apply(t, text.String()).must(t)
	most := n.files(t)
	for i := range jobs {
		await.Until(t, "jobs fire", func() bool {
			for _, path := range []string{"/v1/minions", "/v1/shards", "/v1/doctor", "/", "/minions"} {
				if _, err := n.get(path); err != nil {
					t.Fatal(err)
				}
			}
			runs := n.runsOf(t, fmt.Sprintf("j%d", i))
			if len(runs) > 0 {
				n.carillon(t, "logs", string(runs[0].RunID)) // it may not have come so far
			}
			if f := n.files(t); f.own > most.own {
				most = f
			}
			return len(runs) >= fires
		})
	}
	t.Logf("open when the bounds were made: %d; reserve: %d; own files in steady work: %d at most, beside %d connections", bound.Open, bound.Reserve, most.own, most.connections)
	if most.own < bound.Open/2 || 2*most.own > bound.Reserve {
		t.Errorf("the node has %d files of its own open, and keeps %d from connections; want twice as many", most.own, bound.Reserve)
	}
}
