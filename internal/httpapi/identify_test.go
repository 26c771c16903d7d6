package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// knowing is a control that knows one token.
type knowing struct {
	fakeControl

	from string
	down bool
}

func (k *knowing) ByToken(_ context.Context, text, from string) (caller.Caller, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.from = from
	switch {
	case k.down:
		return caller.Caller{}, job.ErrUnavailable
	case text == "busy":
		return caller.Caller{}, &caller.BusyError{RetryAfter: 1500 * time.Millisecond}
	case text != "good":
		return caller.Caller{}, &caller.RefusedError{Reason: "no such token"}
	}
	return caller.Caller{Name: "token ci", Remote: from}, nil
}

func (k *knowing) Start(ctx context.Context, key job.Key, req api.StartRequest) (job.FireID, error) {
	req.By = caller.Of(ctx, req.By)
	return k.fakeControl.Start(ctx, key, req)
}

func (k *knowing) Hook(ctx context.Context, _ job.Key, call webhook.Call) (job.FireID, error) {
	return someFire, k.note("hook " + call.Token + " " + caller.Of(ctx, "nobody"))
}

// TestWhoAsks: a token that is good tells who asks, whatever the request says of itself.
func TestWhoAsks(t *testing.T) {
	t.Parallel()
	k := &knowing{}
	s := serve(t, Config{}, Deps{Control: k})
	for header, want := range map[string]string{
		"Bearer good": "token ci", "bearer  good ": "token ci",
		"": "me", "Basic bWU6bWU=": "me", // for who stands before us
	} {
		resp, text := ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`, "Authorization", header)
		if resp.StatusCode != http.StatusAccepted || k.by != want {
			t.Errorf("%q: %d, by %q, want %q: %s", header, resp.StatusCode, k.by, want, text)
		}
	}
	if k.from != "127.0.0.1" {
		t.Errorf("from %q", k.from)
	}
}

// TestBadTokensAreRefused: on every route but health and webhooks, before it is reached.
func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	k := &knowing{}
	s := serve(t, Config{}, Deps{Control: k})
	for _, path := range []string{"/v1/jobs", "/v1/nothing", "/", "/openapi.json", "/metrics", "/v1/events", "/v1/auth/self"} {
		resp, text := ask(t, s, "GET", path, "", "Authorization", "Bearer bad")
		if p := decoded[Problem](t, text); resp.StatusCode != http.StatusUnauthorized || p.Detail != "no such token" || resp.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, text)
		}
	}
	resp, text := ask(t, s, "GET", "/v1/jobs", "", "Authorization", "Bearer busy")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "2" || !strings.Contains(text, "too many") {
		t.Errorf("busy: %d %v %s", resp.StatusCode, resp.Header, text)
	}
	if n := len(k.refused); n != 8 || k.refused[0] != "authenticate as somebody: no such token" {
		t.Errorf("%d refusals are told to the audit: %q", n, k.refused)
	}
	// Whoever shows a bad one is recorded by no name that others prove to have.
	ask(t, s, "GET", "/v1/jobs", "", "Authorization", "Bearer bad", api.ByHeader, "token ci")
	if by := k.refusedTo[len(k.refusedTo)-1]; by != "token ci (not proven)" {
		t.Errorf("recorded as %q", by)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if resp, text := ask(t, s, "GET", path, "", "Authorization", "Bearer bad"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	if resp, text := ask(t, s, "POST", "/v1/hooks/ops/a", "", "Authorization", "Bearer hook"); resp.StatusCode >= 300 || k.asked[0] != "hook hook nobody" {
		t.Errorf("webhook: %d %s, asked %v", resp.StatusCode, text, k.asked)
	}
	// A cluster that cannot say who asks lets nobody in.
	k.down = true
	if resp, text := ask(t, s, "GET", "/v1/jobs", "", "Authorization", "Bearer good"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("no answer of etcd: %d %s", resp.StatusCode, text)
	}
}

// TestTwoTokensAreNone: nobody chooses which of them counts.
func TestTwoTokensAreNone(t *testing.T) {
	t.Parallel()
	if _, _, err := bearer([]string{"Bearer good", "Bearer bad"}); err == nil {
		t.Error("two tokens are taken")
	}
	if token, shown, err := bearer([]string{"Basic x", "Bearer good"}); err != nil || !shown || token != "good" {
		t.Errorf("beside another scheme: %q %v %v", token, shown, err)
	}
}

// TestTheSocketTellsWhoAsks, and a token that is shown there counts all the same.
func TestTheSocketTellsWhoAsks(t *testing.T) {
	t.Parallel()
	k := &knowing{}
	peer := func(*http.Request) (caller.Caller, bool) {
		return caller.Caller{Name: "root (socket)", Remote: "socket", Local: true}, true
	}
	s := serve(t, Config{}, Deps{Control: k, Peer: peer})
	ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`)
	if k.by != "root (socket)" {
		t.Errorf("by %q", k.by)
	}
	ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`, "Authorization", "Bearer good")
	if k.by != "token ci" || k.from != "socket" {
		t.Errorf("by %q from %q", k.by, k.from)
	}
	if resp, _ := ask(t, s, "GET", "/v1/jobs", "", "Authorization", "Bearer bad"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a bad one: %d", resp.StatusCode)
	}
}

func (k *knowing) BySession(_ context.Context, secret, from string) (caller.Caller, error) {
	if secret != "good" {
		return caller.Caller{}, &caller.RefusedError{Reason: "the session has ended; log in again"}
	}
	return caller.Caller{Name: "token ada", Remote: from}, nil
}

// TestSessionsTellWhoAsks: one that has ended is refused; a person is asked to log in.
func TestSessionsTellWhoAsks(t *testing.T) {
	t.Parallel()
	k := &knowing{}
	s := serve(t, Config{}, Deps{Control: k})
	ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`, "Cookie", "carillon-session=good")
	if k.by != "token ada" {
		t.Errorf("by %q", k.by)
	}
	// By TLS only does the other name count.
	ask(t, s, "POST", "/v1/namespaces/ops/jobs/a/run", `{"by":"me"}`, "Cookie", "__Host-carillon=good")
	if k.by != "me" {
		t.Errorf("by %q", k.by)
	}
	resp, text := ask(t, s, "GET", "/v1/jobs", "", "Cookie", "carillon-session=old", "Accept", "text/html")
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "the session has ended") || !strings.Contains(resp.Header.Get("Set-Cookie"), "carillon-session=;") {
		t.Errorf("ended: %d %v %s", resp.StatusCode, resp.Header, text)
	}
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, _ = ask(t, s, "GET", "/runs?job=a", "", "Cookie", "carillon-session=old", "Accept", "text/html,*/*")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/login?next=%2Fruns%3Fjob%3Da" {
		t.Errorf("a page: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, path := range []string{"/login", "/static/carillon.css"} {
		if resp, _ := ask(t, s, "GET", path, "", "Cookie", "carillon-session=old"); resp.StatusCode != http.StatusNotFound { // there is no page here
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// TestRefusalsAreNoted: what is answered by 403 is told to the audit, and nothing else.
func TestRefusalsAreNoted(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{job.ErrForbidden: 1, job.ErrUnavailable: 0, nil: 0} {
		f := &fakeControl{err: err}
		ask(t, serve(t, Config{}, Deps{Control: f}), "GET", "/v1/nodes", "")
		if len(f.refused) != want || want > 0 && f.refused[0] != "GET /v1/nodes: the caller has no right to that" {
			t.Errorf("%v: %q", err, f.refused)
		}
	}
}

// shut is a cluster that is closed, for who shows nothing.
type shut struct{ everything }

func (shut) Admit(context.Context) error {
	return &caller.RefusedError{Reason: "this cluster is closed"}
}

// TestWhoShowsNothingIsNoted: an attempt without a credential is told to the audit, under
// no name that others prove to have. A person who is sent to the login has attempted nothing.
func TestWhoShowsNothingIsNoted(t *testing.T) {
	t.Parallel()
	k := &knowing{}
	s := serve(t, Config{}, Deps{Control: k, Rights: shut{}})
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/v1/jobs", "/v1/auth/self", "/v1/events"} {
		if resp, text := ask(t, s, "GET", path, "", api.ByHeader, "token ci"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	ask(t, s, "GET", "/livez", "")
	ask(t, s, "GET", "/metrics", "", "Accept", "text/html")
	want := []string{"GET /v1/jobs: it is not known who asks", "GET /v1/auth/self: it is not known who asks", "GET /v1/events: it is not known who asks"}
	if !slices.Equal(k.refused, want) || k.refusedTo[0] != "token ci (not proven)" {
		t.Errorf("%q is told to the audit, of %q", k.refused, k.refusedTo)
	}
}
