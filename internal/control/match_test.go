package control

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestMatchMinions checks that a preview tells who would run something now, who
// matches but is away, and of whom it cannot be told.
func TestMatchMinions(t *testing.T) {
	t.Parallel()
	linux := map[string]string{"os": "linux", "ip": "10.1.0.7"}
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "web1", Node: "n1", Facts: linux}, {ID: "web2", Node: "n1", Facts: linux, Trouble: "disk full"}, {ID: "web4", Node: "n1"}, {ID: "db1", Node: "n1", Facts: linux},
			{ID: "web5", Facts: linux, Trouble: "its certificate was revoked", TroubleSince: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	})
	e.put(t, e.keys.Minion("web3"), etcdkv.StoredMinion{ID: "web3", Facts: linux})
	got, err := e.MatchMinions(t.Context(), `os==linux and web* and 10.1.0.0/16,web4`)
	if err != nil {
		t.Fatal(err)
	}
	want := api.Match{
		Target: `os == "linux" and web* and 10.1.0.0/16,web4`, Minions: []job.MinionID{"web1", "web2"}, Hosts: "web[1-2]",
		Disconnected: []job.MinionID{"web3", "web5"}, Known: 6,
		Uncontrollable: []job.Uncontrollable{
			{Minion: "web2", Reason: "disk full"}, {Minion: "web3", Reason: "not connected"}, {Minion: "web5", Reason: "its certificate was revoked", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		}, Unknown: []api.UnknownKey{{Key: "os", Hosts: 1, First: "web4"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("match (-want +got):\n%s", d)
	}
	for _, bad := range []string{"web[3-1] and", "@nobody"} {
		var invalid *job.InvalidError
		if _, err := e.MatchMinions(t.Context(), bad); !errors.As(err, &invalid) || invalid.Problems[0].Path != "target" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
