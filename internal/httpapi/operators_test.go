package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	if resp, text := ask(t, s, "GET", "/v1/groups?namespace=ops", ""); resp.StatusCode != http.StatusOK || strings.TrimSpace(text) != `{"groups":[]}` {
		t.Errorf("list: %d %s", resp.StatusCode, text)
	}
	_, text := ask(t, s, "GET", "/v1/namespaces/ops/groups/g", "")
	if got := decoded[api.Group](t, text); got.Key() != (job.Key{Namespace: "ops", Name: "g"}) || got.Shard != job.FirstGroupShard {
		t.Errorf("one: %s", text)
	}
	if resp, text := ask(t, s, "DELETE", "/v1/namespaces/ops/groups/g", ""); resp.StatusCode != http.StatusNoContent || text != "" {
		t.Errorf("delete: %d %s", resp.StatusCode, text)
	}
	if want := []string{"groups ops", "delete ops/g"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	f.err = fmt.Errorf("delete group ops/g: it has 2 jobs: %w", job.ErrConflict)
	if resp, text := ask(t, s, "DELETE", "/v1/namespaces/ops/groups/g", ""); resp.StatusCode != http.StatusConflict || !strings.Contains(text, "it has 2 jobs") {
		t.Errorf("delete with jobs: %d %s", resp.StatusCode, text)
	}
}

func TestOperators(t *testing.T) {
	t.Parallel()
	const body = `{"by":"ada","reason":"disk"}`
	for _, c := range []struct{ path, body, want string }{
		{"/v1/nodes/n1/drain", body, "drain n1 ada disk"},
		{"/v1/nodes/n1/drain", "", "drain n1  "},
		{"/v1/nodes/n1/undrain", body, "undrain n1 ada disk"},
		{"/v1/shards/7/hold", body, "hold 7 ada disk"},
		{"/v1/shards/nightly/release", body, "release nightly ada disk"},
		{"/v1/shards/ops%2Fnightly/failback", body, "failback ops/nightly ada disk"},
		{"/v1/shards/ops%2Fnightly/move", `{"node":"n2","by":"ada","reason":"disk"}`, "move ops/nightly to n2 ada disk"},
	} {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			f := &fakeControl{}
			s := serve(t, Config{}, Deps{Control: f})
			if resp, text := ask(t, s, "POST", c.path, c.body); resp.StatusCode != http.StatusNoContent || text != "" {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
			if !slices.Equal(f.asked, []string{c.want}) {
				t.Errorf("asked %q, want %q", f.asked, c.want)
			}
		})
	}
}

// TestVerbsTellFromWhenTheyHold: in a header, to those who look.
func TestVerbsTellFromWhenTheyHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/pause", `{"scope":"all"}`},
		{"POST", "/v1/resume", `{"scope":"all"}`},
		{"DELETE", "/v1/namespaces/ops/jobs/a", ""},
	} {
		for _, want := range []string{"2026-11-29T12:00:00.25Z", ""} {
			f := &fakeControl{}
			if want != "" {
				f.holds = time.Date(2026, 11, 29, 12, 0, 0, 250e6, time.UTC)
			}
			s := serve(t, Config{}, Deps{Control: f})
			resp, text := ask(t, s, c.method, c.path, c.body)
			if got := resp.Header.Get("Carillon-Holds-From"); resp.StatusCode != http.StatusNoContent || text != "" || got != want {
				t.Errorf("%s: %d %s, holds from %q, want %q", c.path, resp.StatusCode, text, got, want)
			}
		}
	}
}

func TestOperatorsBadInput(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/v1/shards/7/move", `{"by":"ada"}`, http.StatusUnprocessableEntity, "node"},
		{"/v1/shards/7/move", ``, http.StatusBadRequest, "body"},
		{"/v1/shards/7/move", `{"node":"n1","nod":"n2"}`, http.StatusUnprocessableEntity, "nod"},
		{"/v1/nodes/n1/drain", `{"why":"disk"}`, http.StatusUnprocessableEntity, "why"},
		{"/v1/nodes/n1/drain", `{"reason":"` + strings.Repeat("x", 2000) + `"}`, http.StatusUnprocessableEntity, "reason"},
		{"/v1/nodes/n1/stop", ``, http.StatusNotFound, "there is no /v1/nodes/n1/stop"},
	} {
		resp, text := ask(t, s, "POST", c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %.40s: %d %s; want %d with %q", c.path, c.body, resp.StatusCode, text, c.status, c.want)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("control was asked: %q", f.asked)
	}
}

// A member that no request has is refused, wherever a request has a body: it is
// misspelled, and what was meant would count as not given.
func TestMisspeltMembersAreRefused(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	_, text := ask(t, s, "GET", "/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]struct{ AdditionalProperties any } `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	bodies := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			ref := strings.TrimPrefix(op.RequestBody.Content["application/json"].Schema.Ref, "#/components/schemas/")
			if ref == "" {
				continue
			}
			bodies++
			if more := doc.Components.Schemas[ref].AdditionalProperties; more != false {
				t.Errorf("%s %s takes members that it does not know (%s: %v)", method, path, ref, more)
			}
		}
	}
	if bodies < 10 {
		t.Errorf("only %d requests have a body", bodies)
	}
	for path, body := range map[string]string{
		"/v1/runs/r-1/redo":        `{"part":["failed"]}`,
		"/v1/minion-tokens":        `{"ttlSecond":5}`,
		"/v1/minions/web1/approve": `{"fingerprnt":"x"}`,
		"/v1/minion-update":        `{"manifest":{},"groups":[{"name":"a","match":"*","canarys":1}]}`,
	} {
		if resp, text := ask(t, s, "POST", path, body); resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, "unexpected property") {
			t.Errorf("%s %s: %d %s", path, body, resp.StatusCode, text)
		}
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	f := &fakeControl{}
	s := serve(t, Config{}, Deps{Control: f})
	for query, want := range map[string]string{
		"": `audit 50 since 0001-01-01T00:00:00Z by "" action "" object "" after ""`,
		"?limit=7&since=2026-05-04T10:00:00Z&by=ada&action=job&object=x&after=y": `audit 7 since 2026-05-04T10:00:00Z by "ada" action "job" object "x" after "y"`,
	} {
		f.asked = nil
		resp, text := ask(t, s, "GET", "/v1/audit"+query, "")
		if resp.StatusCode != http.StatusOK || strings.TrimSpace(text) != `{"records":[]}` || !slices.Equal(f.asked, []string{want}) {
			t.Errorf("%q: %d %s, asked %q", query, resp.StatusCode, text, f.asked)
		}
	}
}
