package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestErrorBodies: every error has one form, whoever made it.
func TestErrorBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		err    error
		method string
		path   string
		body   string
		header []string
		status int
	}{
		{name: "invalid", method: "POST", path: "/v1/apply?file=jobs.yaml", status: 422, err: &job.InvalidError{Problems: []job.Problem{
			{Path: "spec.schedules[0]", Message: "want five fields", File: "jobs.yaml", Line: 7},
			{Path: "spec.overlap", Message: `"skp" is not allowed; did you mean "skip"?`, File: "jobs.yaml", Line: 9},
		}}},
		{name: "invalid-wrapped", method: "POST", path: "/v1/apply", status: 422, err: fmt.Errorf("applied the first 50 of 200 objects: %w",
			&job.InvalidError{Problems: []job.Problem{{Message: "is too large"}}})},
		{name: "not-found", method: "GET", path: "/v1/namespaces/a/jobs/b", status: 404, err: fmt.Errorf("job a/b: %w", job.ErrNotFound)},
		{name: "conflict", method: "POST", path: "/v1/apply", status: 409, err: fmt.Errorf("apply: %w", job.ErrConflict)},
		{name: "unavailable", method: "GET", path: "/v1/jobs", status: 503, err: fmt.Errorf("list jobs: %w", job.ErrUnavailable)},
		{name: "no-minions", method: "POST", path: "/v1/namespaces/a/jobs/b/run", status: 422, err: fmt.Errorf("start job a/b: %w", job.ErrNoMinions)},
		{name: "internal", method: "GET", path: "/v1/nodes", status: 500, err: errors.New("a bug")},
		{name: "raw-route", method: "GET", path: "/v1/runs/x/output", status: 404, err: fmt.Errorf("run x: %w", job.ErrNotFound)},
		{name: "bad-follow", method: "GET", path: "/v1/runs/x/output?follow=perhaps", status: 422},
		{name: "bad-parameter", method: "GET", path: "/v1/runs?limit=many", status: 422},
		{name: "bad-label", method: "GET", path: "/v1/jobs?label=a&label=b%3Dc&label=%3Dd", status: 422},
		{name: "bad-json", method: "POST", path: "/v1/namespaces/a/jobs/b/run", body: "{", status: 400},
		{name: "unknown-field", method: "POST", path: "/v1/namespaces/a/jobs/b/run", body: `{"who":"me"}`, status: 422},
		{name: "too-large", method: "POST", path: "/v1/apply", body: strings.Repeat("x", 2000), status: 413},
		{name: "no-route", method: "GET", path: "/v1/jobz", status: 404},
		{name: "no-method", method: "PUT", path: "/v1/jobs", status: 405},
		{name: "cross-origin", method: "POST", path: "/v1/apply", header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Config{MaxApplyBytes: 1000}, Deps{Control: &fakeControl{err: tc.err}})
			body := tc.body
			if body == "" && tc.method == http.MethodPost {
				body = "{}"
			}
			resp, text := ask(t, s, tc.method, tc.path, body, tc.header...)
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
			if got := resp.Header.Get("Content-Type"); got != problemType {
				t.Errorf("content type %q, want %q", got, problemType)
			}
			golden(t, "error-"+tc.name+".json", indent(t, text))
		})
	}
}

func TestNoMinionsIsWordedExactly(t *testing.T) {
	t.Parallel()
	p := problemOf(fmt.Errorf("deep: %w", fmt.Errorf("below: %w", job.ErrNoMinions)))
	if p.Detail != "No minions matched the target" || p.Status != http.StatusUnprocessableEntity {
		t.Errorf("got %d %q", p.Status, p.Detail)
	}
}

func indent(t *testing.T, text string) string {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(text), "", "  "); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return strings.TrimSpace(pretty.String()) + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}
