package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// byHeader tells callers apart by a header, as if their connections proved them.
func byHeader(r *http.Request) (caller.Caller, bool) {
	if name := r.Header.Get("X-Test-User"); name != "" {
		return caller.Caller{Name: name, Remote: "socket"}, true
	}
	return caller.Caller{}, false
}

// TestRequestsOfOneCallerAreBounded: who makes too many gets 429, and when it may come
// again; others, and health, are answered.
func TestRequestsOfOneCallerAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	// One in an hour: the test is not that slow.
	s := serve(t, Config{Limits: Limits{Requests: limit.Rate{PerSecond: 1.0 / 3600, Burst: 3}}}, Deps{Control: &fakeControl{}, Peer: byHeader, Gatherer: reg, Registerer: reg})
	for n := range 5 {
		resp, text := ask(t, s, "GET", "/v1/version", "", "X-Test-User", "ann")
		if refused := resp.StatusCode == http.StatusTooManyRequests; refused != (n >= 3) {
			t.Fatalf("request %d: %d %s", n, resp.StatusCode, text)
		}
		if n >= 3 && (resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "--max-requests-per-second")) {
			t.Errorf("request %d: %v %s", n, resp.Header, text)
		}
	}
	for name, header := range map[string]string{"another user": "bob", "an address": ""} {
		if resp, text := ask(t, s, "GET", "/v1/version", "", "X-Test-User", header); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	for range 10 {
		if resp, _ := ask(t, s, "GET", "/livez", "", "X-Test-User", "ann"); resp.StatusCode != http.StatusOK {
			t.Fatalf("health: %d", resp.StatusCode)
		}
	}
	// A name that looks like an address shares nothing with it.
	for range 3 {
		ask(t, s, "GET", "/v1/version", "", "X-Test-User", "127.0.0.1")
	}
	if resp, _ := ask(t, s, "GET", "/metrics", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the address is out for what a user did: %d", resp.StatusCode)
	}
	if _, text := ask(t, s, "GET", "/metrics", "", "X-Test-User", "eve"); !strings.Contains(text, `carillon_http_limited_total{limit="requests"} 2`) {
		t.Errorf("not counted: %s", text)
	}
}

// TestStreamsOfOneCallerAreBounded: so many are open at a time; who closes one may open
// another, and other callers and requests are answered.
func TestStreamsOfOneCallerAreBounded(t *testing.T) {
	t.Parallel()
	f := &fakeControl{block: true, ended: make(chan struct{})}
	s := serve(t, Config{Limits: Limits{Streams: 2}}, Deps{Control: f, Peer: byHeader})
	open := func(user, path string) (status int, end func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Test-User", user)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, func() { cancel(); _ = resp.Body.Close() }
	}
	var ends []func()
	for n, path := range []string{"/v1/events", "/v1/events", "/v1/events"} {
		status, end := open("ann", path)
		ends = append(ends, end)
		if refused := status == http.StatusTooManyRequests; refused != (n >= 2) {
			t.Errorf("stream %d: %d", n, status)
		}
	}
	for _, path := range []string{"/v1/runs/x/output?follow=true", "/v1/runs/x/results"} {
		status, end := open("ann", path)
		end()
		if status != http.StatusTooManyRequests {
			t.Errorf("%s: %d", path, status)
		}
	}
	if resp, _ := ask(t, s, "GET", "/v1/version", "", "X-Test-User", "ann"); resp.StatusCode != http.StatusOK {
		t.Errorf("a request: %d", resp.StatusCode)
	}
	status, end := open("bob", "/v1/events")
	end()
	if status != http.StatusOK {
		t.Errorf("another's stream: %d", status)
	}
	ends[0]()
	await.Until(t, "the place of a stream that has ended is free", func() bool {
		status, end := open("ann", "/v1/events")
		end()
		return status == http.StatusOK
	})
	for _, end := range ends {
		end()
	}
}
