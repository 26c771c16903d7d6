package control

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

// signedRelease returns a manifest that was signed by somebody.
func signedRelease(t *testing.T, number release.Number, expires time.Time) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := release.Sign(release.Manifest{
		Release: number, Version: "v2", Expires: expires,
		Artifacts: map[release.Platform]release.Artifact{"linux/amd64": {URL: "https://x/worker", Size: 1, SHA256: strings.Repeat("0", 64)}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStartUpdateTellsAllProblems(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.StartUpdate(context.Background(), api.UpdateRequest{
		Signed: signedRelease(t, 7, e.now().Add(-time.Hour)), Tolerate: -1,
		Groups: []api.UpdateGroup{{Name: "a", Match: "("}, {Name: "a", Match: "@none", MaxInFlight: "0%"}},
	})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("StartUpdate = %v", err)
	}
	for _, want := range []string{"has expired", "groups[0].match", "groups[1].match", "groups[1].maxInFlight", "used twice", "tolerate is -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("StartUpdate = %v, want %q in it", err, want)
		}
	}
	_, err = e.StartUpdate(context.Background(), api.UpdateRequest{Signed: []byte(`{"manifest":"e30="}`)})
	for _, want := range []string{"is not signed", "version is empty", "groups: is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("StartUpdate = %v, want %q in it", err, want)
		}
	}
	if _, err := e.UpdateStatus(context.Background()); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("UpdateStatus = %v", err)
	}
	if err := e.PauseUpdate(context.Background(), api.Order{}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("PauseUpdate = %v", err)
	}
}

// The life of a plan, with what is kept when it is replaced.
func TestUpdatePlan(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := context.Background()
	for _, id := range []job.MinionID{"a", "b"} {
		e.put(t, e.keys.Minion(id), etcdkv.StoredMinion{Schema: etcdkv.Schema, ID: id, Facts: release.Facts{On: true}.Map()})
	}
	req := api.UpdateRequest{
		Signed: signedRelease(t, 7, e.now().Add(time.Hour)), Groups: []api.UpdateGroup{{Name: "all", Match: "*", MaxInFlight: "5%"}},
		Order: api.Order{By: "ada", Reason: "a fix"},
	}
	status := func() api.Update {
		t.Helper()
		v, err := e.UpdateStatus(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	order := func(want error, f func(context.Context, api.Order) error) {
		t.Helper()
		e.pass(time.Second)
		if err := f(ctx, api.Order{By: "ada"}); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	start := func() api.Update {
		t.Helper()
		e.pass(time.Second)
		v, err := e.StartUpdate(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := start()
	if v.Release != 7 || v.Version != "v2" || v.Status != "running" || v.By != "ada" || v.Groups[0].Phases[api.UpdateAbsent] != 2 {
		t.Errorf("status: %+v", v)
	}
	state := etcdkv.UpdateState{Schema: etcdkv.Schema, Release: 7, Since: map[job.MinionID]time.Time{"a": e.now()}, Failed: map[job.MinionID]string{"b": "crashed"}}
	e.put(t, e.keys.UpdateState(), state)
	v = status()
	if v.Status != "halted" || len(v.InFlight) != 1 || v.InFlight[0].Minion != "a" {
		t.Errorf("status: %+v", v)
	}
	if diff := cmp.Diff([]api.UpdatingMinion{{Minion: "b", Reason: "crashed"}}, v.Failed); diff != "" {
		t.Error(diff)
	}
	ill := func() bool {
		t.Helper()
		checks, err := e.Doctor(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(checks, func(c api.Check) bool { return c.Name == "update" && strings.Contains(c.Detail, "first is b") })
	}
	if !ill() {
		t.Error("the doctor does not tell of an update that is halted")
	}
	// More failures are tolerated: nothing is forgotten.
	req.Tolerate = 1
	if v = start(); v.Status != "running" || len(v.Failed) != 1 || len(v.InFlight) != 1 {
		t.Errorf("status: %+v", v)
	}
	if ill() {
		t.Error("the doctor tells of an update that goes on")
	}
	order(nil, e.PauseUpdate)
	if v = status(); v.Status != "paused" {
		t.Errorf("status: %+v", v)
	}
	order(job.ErrConflict, e.PauseUpdate)
	order(nil, e.ResumeUpdate)
	order(job.ErrConflict, e.ResumeUpdate)
	order(nil, e.StopUpdate)
	if v = status(); v.Status != "off" {
		t.Errorf("status: %+v", v)
	}
	order(job.ErrConflict, e.ResumeUpdate)
	// What was stopped begins anew.
	if v = start(); v.Status != "running" || len(v.Failed) != 0 || len(v.InFlight) != 0 {
		t.Errorf("status: %+v", v)
	}
	records := e.records(t, 10)
	var actions []string
	for _, r := range records {
		actions = append(actions, r.Action+" "+r.Object)
	}
	if n := len(actions); n != 6 || actions[n-1] != "update.start 7 (v2)" {
		t.Errorf("audit: %v", actions)
	}
}
