package webui

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/rights"
)

// TestWordsThatCannotBeRead are told at the field, with those that there are.
func TestWordsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := get(t, fake{}, "/jobs?q=last:oops")
	body := w.Body.String()
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, "last:oops want one of") || !strings.Contains(body, "how its last run ended") || !strings.Contains(body, `value="last:oops"`) {
		t.Errorf("%d\n%s", w.Code, body)
	}
}

// TestTheListAlone is what htmx gets where it fetches the list again.
func TestTheListAlone(t *testing.T) {
	t.Parallel()
	mux := serveFake(t, nil)
	r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
	r.Header.Set("HX-Target", "list")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if body := w.Body.String(); !strings.HasPrefix(body, `<div id="list">`) || strings.Contains(body, "<html") {
		t.Errorf("%d\n%s", w.Code, body)
	}
}

func serveFake(t *testing.T, may func(context.Context, rights.Verb, rights.Kind) bool) *http.ServeMux {
	t.Helper()
	u, err := New(Deps{Control: fake{}, Sessions: &sessions{}, Logger: zap.NewNop(), May: may})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	return mux
}

func post(mux http.Handler, path string, form url.Values) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestDoJobs: each of the chosen jobs is told of, with what came of it or why nothing did.
func TestDoJobs(t *testing.T) {
	t.Parallel()
	mux := serveFake(t, nil)
	for do, want := range map[string]string{"pause": "paused", "resume": "resumed", "run": "started", "enable": "updated", "disable": "updated"} {
		code, body := post(mux, "/jobs/do", url.Values{"do": {do}, "job": {"ops/one", "foreign/one"}, "back": {"/jobs?q=a"}})
		if code != http.StatusOK || !strings.Contains(body, "foreign/one: not found") || !strings.Contains(body, ">"+want+"</a>") || !strings.Contains(body, `href="/jobs?q=a"`) {
			t.Errorf("%s: %d\n%s", do, code, body)
		}
	}
	for name, form := range map[string]url.Values{
		"none is chosen":                {"do": {"pause"}},
		"is nothing that can be done":   {"do": {"delete"}, "job": {"ops/one"}},
		"is not a job; want NAMESPACE/": {"do": {"run"}, "job": {"../x"}},
	} {
		if code, body := post(mux, "/jobs/do", form); code != http.StatusUnprocessableEntity || !strings.Contains(body, name) {
			t.Errorf("%s: %d\n%s", name, code, body)
		}
	}
	if _, body := post(mux, "/jobs/do", url.Values{"do": {"run"}, "job": {"ops/one"}, "back": {"https://evil.example"}}); strings.Contains(body, "evil.example") {
		t.Error("it leads to another site")
	}
}

// TestWhatOneMayNotDoIsNotShown: neither buttons nor boxes.
func TestWhatOneMayNotDoIsNotShown(t *testing.T) {
	t.Parallel()
	mux := serveFake(t, func(_ context.Context, v rights.Verb, _ rights.Kind) bool {
		return v == rights.Read || v == rights.Pause
	})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jobs", nil))
	if body := w.Body.String(); !strings.Contains(body, `value="resume"`) || strings.Contains(body, `value="run"`) {
		t.Errorf("who may pause:\n%s", body)
	}
	mux = serveFake(t, func(_ context.Context, v rights.Verb, _ rights.Kind) bool { return v == rights.Read })
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jobs", nil))
	if body := w.Body.String(); strings.Contains(body, "<button name") || strings.Contains(body, `name="job"`) {
		t.Errorf("who may read:\n%s", body)
	}
}
