package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// grantOf returns the labels that etcd says a minion has been granted.
func (e *env) grantOf(t *testing.T, id job.MinionID) (g etcdkv.Grant, ok bool) {
	t.Helper()
	got, err := e.cli.Get(t.Context(), e.keys.Grant(id))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return g, false
	}
	if g, err = etcdkv.Decode[etcdkv.Grant](e.keys.Grant(id), got.Kvs[0].Value); err != nil {
		t.Fatal(err)
	}
	return g, true
}

func TestLabelMinion(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	e.put(t, e.keys.Minion("web1"), etcdkv.StoredMinion{Schema: 1, ID: "web1", Labels: map[string]string{"role": "db", "rack": "r1"}})
	view := func() api.Minion {
		t.Helper()
		all, err := e.Minions(ctx)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[0]
	}
	if m := view(); len(m.Labels) > 0 || !cmp.Equal(m.Requested, map[string]string{"role": "db", "rack": "r1"}) {
		t.Errorf("what a minion says of itself counts: %+v", m.Minion)
	}

	steps := []struct {
		req    api.LabelRequest
		labels map[string]string
		// asked is what is left to ask for, reason that of the record.
		asked  map[string]string
		reason string
	}{
		{
			api.LabelRequest{Set: map[string]string{"role": "web", "dc": "a"}, Order: api.Order{By: "ada", Reason: "new"}},
			map[string]string{"role": "web", "dc": "a"}, map[string]string{"role": "db", "rack": "r1"}, "labels dc=a,role=web: new",
		},
		{
			api.LabelRequest{Set: map[string]string{"rack": "r1"}, Remove: []string{"dc"}, Order: api.Order{By: "ada"}},
			map[string]string{"role": "web", "rack": "r1"}, map[string]string{"role": "db"}, "labels rack=r1,dc-",
		},
		{
			api.LabelRequest{Remove: []string{"role", "rack"}, Order: api.Order{By: "ada"}},
			map[string]string{}, map[string]string{"role": "db", "rack": "r1"}, "labels role-,rack-",
		},
	}
	for i, s := range steps {
		got, err := e.LabelMinion(ctx, "web1", s.req)
		if err != nil || !cmp.Equal(got, s.labels) {
			t.Fatalf("step %d: %v, %v; want %v", i, got, err, s.labels)
		}
		m := view()
		if len(m.Labels) != len(s.labels) || len(s.labels) > 0 && !cmp.Equal(m.Labels, s.labels) || !cmp.Equal(m.Requested, s.asked) {
			t.Errorf("step %d: has %v and asks for %v; want %v and %v", i, m.Labels, m.Requested, s.labels, s.asked)
		}
		g, ok := e.grantOf(t, "web1")
		if ok != (len(s.labels) > 0) || ok && (g.ID != "web1" || g.By != "ada" || !g.Since.Equal(e.now())) {
			t.Errorf("step %d: stored is %+v, %t", i, g, ok)
		}
		records := e.records(t, 10)
		if len(records) != i+1 {
			t.Fatalf("step %d: %d records", i, len(records))
		}
		var found bool
		for _, r := range records {
			found = found || r.Action == "minion.label" && r.Object == "web1" && r.By == "ada" && r.Reason == s.reason
		}
		if !found {
			t.Errorf("step %d: no record with the reason %q among %+v", i, s.reason, records)
		}
		e.pass(1)
	}
}

// Who has joined may be labelled before it has said anything of itself.
func TestLabelMinion_KnownByItsCertificateOrItsSession(t *testing.T) {
	t.Parallel()
	e := setup(t, func(_ *Config, d *Deps) { d.Minions = fakeMinions{{ID: "here"}} })
	e.put(t, e.keys.AuthMinion("joined"), etcdkv.Enrollment{Schema: 1, ID: "joined"})
	for _, id := range []job.MinionID{"joined", "here"} {
		if got, err := e.LabelMinion(t.Context(), id, api.LabelRequest{Set: map[string]string{"a": "b"}}); err != nil || got["a"] != "b" {
			t.Errorf("minion %s: %v, %v", id, got, err)
		}
	}
}

func TestLabelMinion_Refusals(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	full := map[string]string{}
	for i := range job.MaxLabels {
		full[fmt.Sprintf("k%d", i)] = "v"
	}
	e.put(t, e.keys.Minion("web1"), etcdkv.StoredMinion{Schema: 1, ID: "web1"})
	e.put(t, e.keys.Minion("full"), etcdkv.StoredMinion{Schema: 1, ID: "full"})
	e.put(t, e.keys.Grant("full"), etcdkv.Grant{Schema: 1, ID: "full", Labels: full})
	for name, tc := range map[string]struct {
		id   job.MinionID
		req  api.LabelRequest
		want string
	}{
		"nothing":            {"web1", api.LabelRequest{}, "set: is empty"},
		"a bad name":         {"web1", api.LabelRequest{Set: map[string]string{"a b": "v"}}, "set.a b"},
		"a bad value":        {"web1", api.LabelRequest{Set: map[string]string{"a": "b\x1b[2J"}}, "set.a"},
		"no such label":      {"web1", api.LabelRequest{Remove: []string{"role"}}, "label role of minion web1: not found"},
		"one more than fits": {"full", api.LabelRequest{Set: map[string]string{"more": "v"}}, "at most"},
		"no such minion":     {"nobody", api.LabelRequest{Set: map[string]string{"a": "b"}}, "minion nobody: not found"},
		"no minion's name":   {"a/b", api.LabelRequest{Set: map[string]string{"a": "b"}}, "minion"},
	} {
		if _, err := e.LabelMinion(ctx, tc.id, tc.req); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	got, err := e.cli.Get(ctx, e.keys.Grants(), clientv3.WithPrefix())
	if err != nil || len(got.Kvs) != 1 {
		t.Errorf("%d minions have labels (%v), want that of before", len(got.Kvs), err)
	}
	if records := e.records(t, 10); len(records) > 0 {
		t.Errorf("what was refused has records: %+v, %v", records, err)
	}
	// One more does fit where another goes.
	if got, err := e.LabelMinion(ctx, "full", api.LabelRequest{Set: map[string]string{"more": "v"}, Remove: []string{"k0"}}); err != nil || len(got) != job.MaxLabels {
		t.Errorf("%d labels, %v", len(got), err)
	}
}
