package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func TestApply(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	manifest := "apiVersion: carillon/v1\n---\nkind: Job\n"
	resp, text := ask(t, s, "POST", "/v1/apply?dryRun=true&file=a.yaml", manifest, "Content-Type", "application/yaml")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	if string(f.applied) != manifest || f.file != "a.yaml" || !f.dryRun {
		t.Errorf("control got %q, file %q, dry run %v", f.applied, f.file, f.dryRun)
	}
	want := `{"results":[{"kind":"Job","namespace":"default","name":"a","action":"created"}]}`
	if got := strings.TrimSpace(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Whatever a client calls it, the body is a manifest.
	for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded", ""} {
		if resp, text := ask(t, s, "POST", "/v1/apply", manifest, "Content-Type", kind); resp.StatusCode != http.StatusOK {
			t.Errorf("content type %q: status %d: %s", kind, resp.StatusCode, text)
		}
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	resp, text := ask(t, s, "GET", "/v1/jobs?namespace=ops&label=team%3Dcore&label=tier%3D1,2", "")
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(text) != `{"jobs":[],"total":0}` {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
	want := api.JobQuery{Namespace: "ops", Labels: map[string]string{"team": "core", "tier": "1,2"}}
	if d := cmp.Diff(want, f.jobQuery, compareQueries); d != "" {
		t.Errorf("query (-want +got):\n%s", d)
	}
	resp, text = ask(t, s, "GET", "/v1/jobs?q=last:bad+-back*&sort=-last&limit=7&cursor=c&facets=true", "")
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(text) != `{"jobs":[],"nextCursor":"next","total":0}` {
		t.Errorf("a page: %d %s", resp.StatusCode, text)
	}
	want = api.JobQuery{Labels: map[string]string{}, Words: "last:bad -back*", Sort: "-last", Limit: 7, Cursor: "c", Facets: true}
	if d := cmp.Diff(want, f.jobQuery, compareQueries); d != "" {
		t.Errorf("query of a page (-want +got):\n%s", d)
	}
}

// compareQueries compares what the API has of queries.
var compareQueries = cmpopts.IgnoreFields(api.JobQuery{}, "Only", "Outcomes")

func TestOneJob(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	resp, text := ask(t, s, "GET", "/v1/namespaces/ops/jobs/a.b-c", "")
	if got := decoded[api.Job](t, text); got.Key() != (job.Key{Namespace: "ops", Name: "a.b-c"}) {
		t.Errorf("job %s", got.Key())
	}
	if got := resp.Header.Get("ETag"); !strings.HasPrefix(got, `"3-`) {
		t.Errorf("etag %s", got)
	}
	if resp, text := ask(t, s, "DELETE", "/v1/namespaces/ops/jobs/a", ""); resp.StatusCode != http.StatusNoContent || text != "" {
		t.Errorf("delete: %d %q", resp.StatusCode, text)
	}
	for _, body := range []string{`{"by":"me"}`, `{}`, ``} {
		resp, text = ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", body)
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("run with body %q: %d %s", body, resp.StatusCode, text)
		}
		got := decoded[map[string]string](t, text)
		if got["runId"] != string(someFire.RunID()) || got["fireId"] != someFire.String() {
			t.Errorf("run: %s", text)
		}
		if want := map[bool]string{true: "me"}[strings.Contains(body, "me")]; f.by != want {
			t.Errorf("by %q, want %q", f.by, want)
		}
		if f.started != (job.Key{Namespace: "ops", Name: "a"}) {
			t.Errorf("started %s", f.started)
		}
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	_, text := ask(t, s, "GET", "/v1/runs?namespace=ops&job=a&state=failed&limit=7&cursor=xyz", "")
	want := api.RunQuery{Namespace: "ops", Job: "a", State: job.StateFailed, Limit: 7, Cursor: "xyz"}
	if d := cmp.Diff(want, f.runQuery); d != "" {
		t.Errorf("query (-want +got):\n%s", d)
	}
	if got := strings.TrimSpace(text); got != `{"runs":[]}` {
		t.Errorf("body %s", got)
	}
	_, text = ask(t, s, "GET", "/v1/runs/abcd-0123456789abcdef", "")
	if got := decoded[job.Run](t, text); got.RunID != "abcd-0123456789abcdef" {
		t.Errorf("run %+v", got)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var reasons []string
	s := serve(t, Config{}, Deps{Control: &fakeControl{}, Ready: func() []string { return reasons }})
	if resp, text := ask(t, s, "GET", "/livez", ""); resp.StatusCode != http.StatusOK || strings.TrimSpace(text) != `{"status":"ok","reasons":[]}` {
		t.Errorf("livez: %d %s", resp.StatusCode, text)
	}
	if resp, text := ask(t, s, "GET", "/readyz", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %d %s", resp.StatusCode, text)
	}
	reasons = []string{"no view yet"}
	if resp, text := ask(t, s, "GET", "/readyz", ""); resp.StatusCode != http.StatusServiceUnavailable || strings.TrimSpace(text) != `{"status":"not ready","reasons":["no view yet"]}` {
		t.Errorf("readyz: %d %s", resp.StatusCode, text)
	}
}

func TestMetricsCountByRoute(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, Deps{Control: &panickingControl{}})
	ask(t, s, "GET", "/v1/namespaces/a/jobs/b", "")
	ask(t, s, "GET", "/v1/namespaces/a/jobs/c", "")
	ask(t, s, "GET", "/nowhere", "")
	resp, text := ask(t, s, "GET", "/v1/jobs", "")
	if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Content-Type") != problemType || strings.Contains(text, "a bug") {
		t.Errorf("panic: %d %s", resp.StatusCode, text)
	}
	_, text = ask(t, s, "GET", "/metrics", "")
	for _, want := range []string{
		`carillon_http_requests_total{code="200",route="GET /v1/namespaces/{ns}/jobs/{name}"} 2`,
		`carillon_http_requests_total{code="404",route="none"} 1`,
		`carillon_http_requests_total{code="500",route="GET /v1/jobs"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s\n%s", want, text)
		}
	}
}

// TestOpenAPI: the document holds every route of the contract, and every
// reference in it resolves.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, Deps{Control: &fakeControl{}})
	resp, text := ask(t, s, "GET", "/openapi.json", "")
	if got := resp.Header.Get("Content-Type"); got != "application/openapi+json" {
		t.Errorf("content type %q", got)
	}
	doc := decoded[struct {
		OpenAPI    string                    `json:"openapi"`
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}](t, text)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	var got []string
	for path, ops := range doc.Paths {
		for method := range ops {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	want := []string{
		"DELETE /v1/auth/session",
		"DELETE /v1/host-groups/{name}",
		"DELETE /v1/minion-tokens/{id}",
		"DELETE /v1/minions/{id}",
		"DELETE /v1/namespaces/{ns}/calendars/{name}",
		"DELETE /v1/namespaces/{ns}/defaults/{name}",
		"DELETE /v1/namespaces/{ns}/groups/{name}",
		"DELETE /v1/namespaces/{ns}/jobs/{name}",
		"DELETE /v1/namespaces/{ns}/notifiers/{name}",
		"DELETE /v1/namespaces/{ns}/queues/{name}",
		"DELETE /v1/namespaces/{ns}/scripts/{name}",
		"DELETE /v1/namespaces/{ns}/secrets/{name}",
		"DELETE /v1/role-bindings/{name}",
		"DELETE /v1/roles/{name}",
		"DELETE /v1/tokens/{ref}",
		"GET /v1/audit", "GET /v1/audit/sealed", "GET /v1/audit/verify",
		"GET /v1/auth/can-i",
		"GET /v1/auth/login",
		"GET /v1/auth/self",
		"GET /v1/auth/state",
		"GET /v1/authority",
		"GET /v1/backfills",
		"GET /v1/calendars",
		"GET /v1/defaults",
		"GET /v1/dispatch",
		"GET /v1/doctor",
		"GET /v1/etcd/members",
		"GET /v1/events",
		"GET /v1/groups",
		"GET /v1/host-groups",
		"GET /v1/jobs",
		"GET /v1/locks",
		"GET /v1/minion-certificates",
		"GET /v1/minion-requests",
		"GET /v1/minion-tokens",
		"GET /v1/minion-update",
		"GET /v1/minions",
		"GET /v1/minions/match",
		"GET /v1/minions/{id}",
		"GET /v1/namespaces/{ns}/groups/{name}",
		"GET /v1/namespaces/{ns}/jobs/{name}",
		"GET /v1/namespaces/{ns}/jobs/{name}/fires/{at}",
		"GET /v1/namespaces/{ns}/jobs/{name}/next",
		"GET /v1/namespaces/{ns}/jobs/{name}/versions",
		"GET /v1/namespaces/{ns}/locks/{name}",
		"GET /v1/namespaces/{ns}/notifiers/{name}",
		"GET /v1/namespaces/{ns}/plans/{upstream}/{id}",
		"GET /v1/namespaces/{ns}/plans/{upstream}/{id}/tasks",
		"GET /v1/namespaces/{ns}/queues/{name}",
		"GET /v1/namespaces/{ns}/queues/{name}/items",
		"GET /v1/namespaces/{ns}/queues/{name}/items/{id}",
		"GET /v1/namespaces/{ns}/scripts/{name}",
		"GET /v1/namespaces/{ns}/secrets/{name}",
		"GET /v1/nodes",
		"GET /v1/notifiers",
		"GET /v1/pauses",
		"GET /v1/plan-schema",
		"GET /v1/plans",
		"GET /v1/queues",
		"GET /v1/role-bindings",
		"GET /v1/roles",
		"GET /v1/runs",
		"GET /v1/runs/{runId}",
		"GET /v1/runs/{runId}/output",
		"GET /v1/runs/{runId}/results",
		"GET /v1/scripts",
		"GET /v1/secrets",
		"GET /v1/shards",
		"GET /v1/sites",
		"GET /v1/standby",
		"GET /v1/tokens",
		"GET /v1/version",
		"POST /v1/apply",
		"POST /v1/auth/bootstrap",
		"POST /v1/auth/device-login",
		"POST /v1/auth/device-login/finish",
		"POST /v1/auth/login",
		"POST /v1/auth/login/finish",
		"POST /v1/backfills/{id}/end",
		"POST /v1/backup",
		"POST /v1/etcd/members/{name}/add",
		"POST /v1/etcd/members/{name}/defrag",
		"POST /v1/etcd/members/{name}/move-leader",
		"POST /v1/etcd/members/{name}/remove",
		"POST /v1/exec",
		"POST /v1/hand-over",
		"POST /v1/hooks/{ns}/{name}",
		"POST /v1/lock-sessions",
		"POST /v1/lock-sessions/close",
		"POST /v1/lock-sessions/renew",
		"POST /v1/minion-tokens",
		"POST /v1/minion-update",
		"POST /v1/minion-update/pause",
		"POST /v1/minion-update/resume",
		"POST /v1/minion-update/stop",
		"POST /v1/minions/{id}/approve",
		"POST /v1/minions/{id}/labels",
		"POST /v1/minions/{id}/reject",
		"POST /v1/minions/{id}/revoke",
		"POST /v1/mirror",
		"POST /v1/namespaces/{ns}/jobs/{name}/backfill",
		"POST /v1/namespaces/{ns}/jobs/{name}/disable",
		"POST /v1/namespaces/{ns}/jobs/{name}/enable",
		"POST /v1/namespaces/{ns}/jobs/{name}/run",
		"POST /v1/namespaces/{ns}/jobs/{name}/versions/{generation}/restore",
		"POST /v1/namespaces/{ns}/jobs/{name}/webhook-secret",
		"POST /v1/namespaces/{ns}/locks/{name}/acquire",
		"POST /v1/namespaces/{ns}/locks/{name}/break",
		"POST /v1/namespaces/{ns}/locks/{name}/release",
		"POST /v1/namespaces/{ns}/notifiers/{name}/alerts/{id}/send",
		"POST /v1/namespaces/{ns}/notifiers/{name}/test",
		"POST /v1/namespaces/{ns}/plan-reports",
		"POST /v1/namespaces/{ns}/plans",
		"POST /v1/namespaces/{ns}/plans/{upstream}/{id}/cancel",
		"POST /v1/namespaces/{ns}/queues/{name}/hold",
		"POST /v1/namespaces/{ns}/queues/{name}/items",
		"POST /v1/namespaces/{ns}/queues/{name}/items/{id}/cancel",
		"POST /v1/namespaces/{ns}/queues/{name}/items/{id}/redrive",
		"POST /v1/namespaces/{ns}/queues/{name}/purge",
		"POST /v1/namespaces/{ns}/queues/{name}/redrive",
		"POST /v1/namespaces/{ns}/upstreams/{upstream}/secret",
		"POST /v1/node-tokens",
		"POST /v1/nodes/{name}/drain",
		"POST /v1/nodes/{name}/forget",
		"POST /v1/nodes/{name}/undrain",
		"POST /v1/overtaken",
		"POST /v1/pause",
		"POST /v1/promote",
		"POST /v1/recover",
		"POST /v1/resume",
		"POST /v1/runs/{runId}/cancel",
		"POST /v1/runs/{runId}/promote",
		"POST /v1/runs/{runId}/redo",
		"POST /v1/shards/{ref}/failback",
		"POST /v1/shards/{ref}/hold",
		"POST /v1/shards/{ref}/move",
		"POST /v1/shards/{ref}/release",
		"POST /v1/sites/{name}/drain",
		"POST /v1/sites/{name}/undrain",
		"POST /v1/standby",
		"POST /v1/standby/stop",
		"POST /v1/tokens",
		"POST /v1/tokens/{ref}/rotate",
		"PUT /v1/auth/state",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
	for _, part := range strings.Split(text, `"$ref":"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("schema %s is referred to but not there", name)
		}
	}
	golden(t, "openapi.json", indent(t, text))
}

// TestBesidePages: an application can serve a page on the same mux.
func TestBesidePages(t *testing.T) {
	t.Parallel()
	a, err := New(Config{}, Deps{Control: &fakeControl{}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	mux.HandleFunc("POST /jobs/{name}", func(http.ResponseWriter, *http.Request) {})
	if err := a.Register(mux); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Middleware(mux))
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	if _, text := ask(t, s, "GET", "/", ""); text != "page" {
		t.Errorf("page: %s", text)
	}
	if resp, _ := ask(t, s, "GET", "/v1/version", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("api: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, s, "POST", "/jobs/a", "", "Origin", "http://elsewhere.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another origin: %d", resp.StatusCode)
	}
}

func TestNewTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("no control and no error")
	}
}
