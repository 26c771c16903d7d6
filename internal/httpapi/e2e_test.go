package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// cluster is what a real control needs of one that runs: a single ended run.
type cluster struct{ run job.Run }

func (*cluster) LiveRuns(context.Context, string, string) ([]job.Run, error) { return nil, nil }
func (*cluster) Append(context.Context, []job.Run) error                     { return nil }
func (*cluster) Minions() []job.Minion                                       { return nil }

func (c *cluster) Get(_ context.Context, id job.RunID) (job.Run, error) {
	if id != c.run.RunID {
		return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
	}
	return c.run, nil
}

func (c *cluster) List(_ context.Context, q history.Query) (history.Page, error) {
	if q.Cursor != "" || !q.Selects(c.run.Key(), c.run.FireID.Job, c.run.State) {
		return history.Page{}, q.Check()
	}
	return history.Page{Runs: []job.Run{c.run}}, q.Check()
}

func (*cluster) Output(_ context.Context, _ job.TaskID, _ bool, fn func(int, []byte, int64) error) error {
	return fn(1, []byte("hello\n"), 0)
}

// TestEndToEnd: from a manifest to a started run, over HTTP and a real etcd.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	fire := job.FireID{Job: job.UID{7}, At: 1_700_000_000_000_000_000, Trigger: job.TriggerSchedule}
	c := &cluster{run: job.Run{
		RunID: fire.RunID(), FireID: fire, Namespace: "ops", Job: "old", State: job.StateSucceeded, ScheduledAt: fire.Time(),
		Tasks: []job.Task{{Minion: "web1", Attempt: 1, State: job.StateSucceeded}},
	}}
	ctl, err := control.New(
		control.Config{Node: "n1", Version: "1.2.3", Keys: etcdkv.NewKeys(""), Meta: etcdkv.Meta{ClusterID: "c1", Shards: 4}},
		control.Deps{Client: etcdtest.Start(t).Client(t), History: c, Live: c, Outputs: c, Minions: c},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctl.ReadState(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- ctl.Watch(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-watched; err != nil {
			t.Error(err)
		}
	})
	s := serve(t, Config{}, Deps{Control: ctl})
	is := func(status int, method, path, body string) string {
		t.Helper()
		resp, text := ask(t, s, method, path, body)
		if resp.StatusCode != status {
			t.Fatalf("%s %s: %d, want %d\n%s", method, path, resp.StatusCode, status, text)
		}
		return text
	}
	manifest := func(name, every string) string {
		return fmt.Sprintf("apiVersion: carillon/v1\nkind: Job\nmetadata: {namespace: ops, name: %s, labels: {team: core}}\nspec:\n  schedules: [%q]\n  command: [echo, hello]\n", name, every)
	}
	events, _ := open(t, s.URL+"/v1/events")

	two := manifest("a", "*/5 * * * *") + "---\n" + manifest("b", "@every 1h")
	for _, want := range []api.Action{api.ActionCreated, api.ActionUnchanged} {
		got := decoded[applyBody](t, is(200, "POST", "/v1/apply?file=x.yaml", two))
		if len(got.Results) != 2 || got.Results[0].Action != want || got.Results[1].Name != "b" {
			t.Errorf("apply: %+v, want %s", got, want)
		}
	}
	bad := decoded[Problem](t, is(422, "POST", "/v1/apply?file=x.yaml", manifest("c", "*/5 * * * *")+"---\n"+manifest("d", "never at all")))
	if len(bad.Errors) == 0 || bad.Errors[0].File != "x.yaml" || bad.Errors[0].Line == 0 {
		t.Errorf("a bad schedule: %+v", bad)
	}
	jobs := decoded[api.JobPage](t, is(200, "GET", "/v1/jobs?namespace=ops&label=team%3Dcore", ""))
	if len(jobs.Jobs) != 2 || jobs.Jobs[0].NextAt.Before(time.Now().Add(-time.Minute)) || len(jobs.Jobs[0].Words) != 1 || jobs.Jobs[0].Words[0] == "" {
		t.Errorf("jobs: %+v", jobs)
	}

	started := decoded[api.Started](t, is(202, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`))
	run := decoded[job.Run](t, is(200, "GET", "/v1/runs/"+string(started.RunID), ""))
	if run.State != job.StatePending || run.FireID != started.FireID || run.Job != "a" {
		t.Errorf("the started run: %+v", run)
	}
	is(404, "POST", "/v1/namespaces/ops/jobs/c/run", "")
	is(404, "GET", "/v1/runs/nonsense", "")
	is(422, "GET", "/v1/runs?state=dead", "")

	runs := decoded[api.RunPage](t, is(200, "GET", "/v1/runs?limit=1", ""))
	if len(runs.Runs) != 1 || runs.NextCursor != "" {
		t.Errorf("runs: %+v", runs)
	}
	if got, want := is(200, "GET", "/v1/runs/"+string(c.run.RunID)+"/output", ""), `{"minion":"web1","stream":1,"data":"aGVsbG8K"}`+"\n"; got != want {
		t.Errorf("output: %s", got)
	}
	for path, want := range map[string]string{
		"/v1/nodes": `{"nodes":[]}`, "/v1/minions": `{"minions":[]}`, "/v1/minions/match?target=web*": `"known":0`, "/v1/shards": `"id":3`, "/v1/doctor": `"checks":[`, "/v1/version": `"clusterId":"c1"`,
	} {
		if got := is(200, "GET", path, ""); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	is(http.StatusNoContent, "DELETE", "/v1/namespaces/ops/jobs/a", "")
	is(404, "DELETE", "/v1/namespaces/ops/jobs/a", "")

	buf := make([]byte, 4096)
	var text string
	for !strings.Contains(text, `{"topic":"jobs"}`) {
		n, err := events.Body.Read(buf)
		if err != nil {
			t.Fatalf("events: %v after %s", err, text)
		}
		text += string(buf[:n])
	}
}
