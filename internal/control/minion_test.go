package control

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

func TestMinionTellsWhoseWordIsWhat(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{{ID: "live", Node: "n1", Labels: map[string]string{"role": "web"}}}
	})
	facts := map[string]string{"os": "linux"}
	e.put(t, e.keys.Minion("web1"), etcdkv.StoredMinion{ID: "web1", Labels: map[string]string{"role": "db", "dc": "a"}, Facts: facts})
	e.put(t, e.keys.Grant("web1"), etcdkv.Grant{ID: "web1", Labels: map[string]string{"dc": "a"}, By: "ada", Since: e.now()})
	enrolled := etcdkv.Enrollment{ID: "web1", Key: "SHA256:abc", EnrolledAt: e.now(), RevokedAt: e.now().Add(time.Hour)}
	told := apiview.Enrollment(&enrolled)
	e.put(t, e.keys.AuthMinion("web1"), enrolled)
	e.put(t, e.keys.AuthMinion("joined"), etcdkv.Enrollment{ID: "joined"})

	got, err := e.Minion(t.Context(), "web1")
	want := api.MinionDetail{
		Minion: api.Minion{
			Minion:    job.Minion{ID: "web1", Labels: map[string]string{"dc": "a"}, Requested: map[string]string{"role": "db"}, Facts: facts},
			FactsFrom: api.FactsFromMinion, State: api.MinionDisconnected,
		},
		Granted: &api.LabelGrant{By: "ada", Since: e.now()}, Certificate: &told,
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if all, err := e.Minions(t.Context()); err != nil || len(all) != 2 || all[0].FactsFrom != "" || all[1].FactsFrom != api.FactsFromMinion {
		t.Errorf("the list does not tell who told the facts: %+v, %v", all, err)
	}
	if got, err := e.Minion(t.Context(), "live"); err != nil || got.State != api.MinionConnected || got.Certificate != nil {
		t.Errorf("one that is connected: %+v, %v", got, err)
	}
	if got, err := e.Minion(t.Context(), "joined"); err != nil || got.Certificate == nil {
		t.Errorf("one that has joined only: %+v, %v", got, err)
	}
	if _, err := e.Minion(t.Context(), "nobody"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("one that there is not: %v", err)
	}
	var invalid *job.InvalidError
	if _, err := e.Minion(t.Context(), "../locks"); !errors.As(err, &invalid) {
		t.Errorf("a path: %v", err)
	}
}

// What a minion asks for is text of a host that may have been taken.
func TestGrantCommandIsPlain(t *testing.T) {
	t.Parallel()
	for want, asks := range map[string]map[string]string{
		"": {"role": "$(reboot)", "dc": "a b", "rack": "\u202etxt", "x": "a,b", "-f": "a;b"},
		"carillon minions label web1 dc=eu-1 role=db": {"role": "db", "dc": "eu-1", "rack": "`id`", "team": "'"},
	} {
		v := api.Minion{Minion: job.Minion{ID: "web1", Requested: asks}}
		if got := v.GrantCommand(); got != want {
			t.Errorf("%v: %q, want %q", asks, got, want)
		}
	}
}
