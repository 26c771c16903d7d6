package webui

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
)

// sessions takes one token.
type sessions struct {
	ended   []string
	ways    api.LoginWays
	begun   []api.LoginRequest
	answers []api.LoginAnswer
	err     error
}

func (s *sessions) Login(_ context.Context, token, _ string) (string, time.Time, error) {
	if token != "good" {
		return "", time.Time{}, &caller.RefusedError{Reason: "no such token"}
	}
	return "secret", time.Now().Add(time.Hour), nil
}

func (s *sessions) Logout(_ context.Context, secret string) error {
	s.ended = append(s.ended, secret)
	return nil
}

func (s *sessions) LoginWays() api.LoginWays { return s.ways }

func (s *sessions) PageLogin(_ context.Context, req api.LoginRequest) (string, error) {
	s.begun = append(s.begun, req)
	return "https://idp.example/authorize?state=" + req.State, s.err
}

func (s *sessions) LoginByProvider(_ context.Context, in api.LoginAnswer, _ string) (string, time.Time, error) {
	s.answers = append(s.answers, in)
	return "secret", time.Now().Add(time.Hour), s.err
}

func (s *sessions) LogoutByProvider(_ context.Context, token, _ string) error {
	s.ended = append(s.ended, token)
	return s.err
}

func (*sessions) Refused(context.Context, string, string, string) {}

// form sends a form to the page.
func form(t *testing.T, s *sessions, overTLS bool, path, cookie string, values url.Values) *http.Response {
	t.Helper()
	u, err := New(Deps{Control: fake{}, Sessions: s, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	if overTLS {
		r.TLS = &tls.ConnectionState{}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for next, to := range map[string]string{
		"/runs?job=a": "/runs?job=a", "": "/", "//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "/a\r\nX: y": "/",
	} {
		res := form(t, &sessions{}, false, "/login", "", url.Values{"token": {" good\n"}, "next": {next}})
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != to {
			t.Errorf("next %q: %s to %q, want %q", next, res.Status, res.Header.Get("Location"), to)
		}
	}
	for overTLS, want := range map[bool]string{false: "carillon-session", true: "__Host-carillon"} {
		s := &sessions{}
		res := form(t, s, overTLS, "/login", want+"=before", url.Values{"token": {"good"}})
		c := res.Cookies()[0]
		if c.Name != want || c.Value != "secret" || !c.HttpOnly || c.Secure != overTLS || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Expires.IsZero() {
			t.Errorf("TLS %v: %+v", overTLS, c)
		}
		if len(s.ended) != 1 || s.ended[0] != "before" {
			t.Errorf("the session before: %v", s.ended)
		}
	}
	res := form(t, &sessions{}, false, "/login", "", url.Values{"token": {"bad"}, "next": {"/runs"}})
	var text strings.Builder
	_ = res.Write(&text)
	if res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 || !strings.Contains(text.String(), "no such token") || strings.Contains(text.String(), `"bad"`) || !strings.Contains(text.String(), `value="/runs"`) {
		t.Errorf("a bad token: %s", text.String())
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	res := form(t, s, false, "/logout", "carillon-session=secret", nil)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" || len(s.ended) != 1 || s.ended[0] != "secret" {
		t.Errorf("%s to %q, ended %v", res.Status, res.Header.Get("Location"), s.ended)
	}
	if c := res.Cookies()[0]; c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("the browser keeps %+v", c)
	}
}
