package webui

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/pagecookie"
	"github.com/carillon-cron/carillon/job"
)

// browser is one that keeps cookies of the page, by TLS.
type browser struct {
	mux  *http.ServeMux
	jar  map[string]string
	host string
}

func newBrowser(t *testing.T, s *sessions) *browser {
	t.Helper()
	s.ways.Issuer = "https://idp.example/realms/main"
	u, err := New(Deps{Control: fake{}, Sessions: s, Base: "https://carillon.example:8420", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{mux: http.NewServeMux(), jar: map[string]string{}, host: "carillon.example:8420"}
	u.Register(b.mux)
	return b
}

// get asks for a page and returns the answer with its text.
func (b *browser) get(path string) (*http.Response, string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host, r.TLS = b.host, &tls.ConnectionState{}
	for name, value := range b.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.mux.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.jar, c.Name)
		} else {
			b.jar[c.Name] = c.Value
		}
	}
	return res, w.Body.String()
}

// begin begins a login, and returns its state.
func (b *browser) begin(t *testing.T, next string) string {
	t.Helper()
	res, text := b.get(pagecookie.ProviderPath + "?next=" + url.QueryEscape(next))
	to, err := res.Location()
	if err != nil || to.Host != "idp.example" {
		t.Fatalf("%s %s: %v", res.Status, text, err)
	}
	return to.Query().Get("state")
}

func back(state string) string {
	return pagecookie.CallbackPath + "?" + url.Values{"state": {state}, "code": {"c"}, "iss": {"https://idp.example/realms/main"}}.Encode()
}

func TestLoginByProvider(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	b := newBrowser(t, s)
	if _, text := b.get("/login?next=/runs"); !strings.Contains(text, `href="/login/provider?next=%2Fruns"`) || !strings.Contains(text, "Log in by idp.example") {
		t.Errorf("the page says %s", text)
	}
	// Two tabs do not disturb one another.
	one, two := b.begin(t, "/runs?job=a"), b.begin(t, "//evil.example")
	if one == two || s.begun[0].Nonce == s.begun[1].Nonce || s.begun[0].Challenge == s.begun[1].Challenge || s.begun[0].Nonce == one || len(one) != 43 {
		t.Errorf("%+v", s.begun)
	}
	for name := range b.jar {
		if !strings.HasPrefix(name, "__Host-carillon-login-") {
			t.Errorf("the browser keeps %s", name)
		}
	}
	for state, next := range map[string]string{one: "/runs?job=a", two: "/"} {
		b.jar["__Host-carillon"] = "before"
		res, text := b.get(back(state))
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != next || b.jar["__Host-carillon"] != "secret" {
			t.Errorf("%s to %q: %s", res.Status, res.Header.Get("Location"), text)
		}
	}
	for i, a := range s.answers {
		req := s.begun[0]
		if (pagecookie.Attempt{Verifier: a.Verifier}).Challenge() != req.Challenge {
			req = s.begun[1]
		}
		if a.Nonce != req.Nonce || (pagecookie.Attempt{Verifier: a.Verifier}).Challenge() != req.Challenge || a.Code != "c" || a.Issuer != s.ways.Issuer || a.Redirect != "" {
			t.Errorf("answer %d: %+v of %+v", i, a, req)
		}
	}
	if len(s.answers) != 2 || fmt.Sprint(s.ended) != "[before before]" || len(b.jar) != 1 {
		t.Errorf("%d answers, ended %v, keeps %v", len(s.answers), s.ended, b.jar)
	}
}

// TestStateOfAnotherBrowser: whoever sends a link with an answer logs nobody in as itself.
func TestStateOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	mine, other := newBrowser(t, s), newBrowser(t, s)
	state := other.begin(t, "/")
	mine.begin(t, "/")
	for name, path := range map[string]string{
		"another browser's": back(state), "none": back(""), "a short one": back(state[:10]), "the beginning of one": back(state[:42]),
		"nothing at all": pagecookie.CallbackPath,
	} {
		if res, text := mine.get(path); res.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "has not begun that login") {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	if len(s.answers) != 0 || mine.jar["__Host-carillon"] != "" {
		t.Errorf("the code was taken: %+v", s.answers)
	}
	// Its own is good once.
	state = mine.begin(t, "/")
	if res, _ := mine.get(back(state)); res.StatusCode != http.StatusSeeOther {
		t.Errorf("its own: %s", res.Status)
	}
	if res, _ := mine.get(back(state)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("its own again: %s", res.Status)
	}
}

func TestLoginByProviderFails(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	b := newBrowser(t, s)
	if res, text := b.get(back(b.begin(t, "/runs"))[:0] + pagecookie.CallbackPath + "?error=access_denied&error_description=%3Cb%3Ex&state=" + b.begin(t, "/runs")); res.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "said no") || strings.Contains(text, "<b>x") {
		t.Errorf("%s %s", res.Status, text)
	}
	state := b.begin(t, "/")
	s.err = &caller.RefusedError{Reason: "it is not believed"}
	if res, text := b.get(back(state)); res.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "it is not believed") || b.jar["__Host-carillon"] != "" {
		t.Errorf("%s %s", res.Status, text)
	}
	s.err = fmt.Errorf("the identity provider is down: %w", job.ErrUnavailable)
	if res, text := b.get(pagecookie.ProviderPath); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "provider is down") || !strings.Contains(text, "name=\"token\"") {
		t.Errorf("%s %s", res.Status, text)
	}
	// Under another name the login begins at the one to which the provider sends back.
	s.err = nil
	b.host = "node2.example:8420"
	res, _ := b.get(pagecookie.ProviderPath + "?next=/runs")
	if to := res.Header.Get("Location"); to != "https://carillon.example:8420/login/provider?here=1&next=%2Fruns" || len(res.Cookies()) > 0 {
		t.Errorf("sent to %s", to)
	}
	// A browser that begins and begins keeps a few.
	b.host = "carillon.example:8420"
	for range 30 {
		b.begin(t, "/")
	}
	if len(b.jar) > 9 {
		t.Errorf("the browser keeps %d logins", len(b.jar))
	}
	none, err := New(Deps{Control: fake{}, Sessions: &sessions{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	without := &browser{mux: http.NewServeMux(), jar: map[string]string{}, host: "localhost"}
	none.Register(without.mux)
	if res, _ := without.get(pagecookie.ProviderPath); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a provider: %s", res.Status)
	}
	if _, text := without.get("/login"); strings.Contains(text, "/login/provider") {
		t.Error("the page offers what there is not")
	}
}

func TestBackChannel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want int
	}{"good": {nil, http.StatusOK}, "not believed": {&caller.RefusedError{Reason: "no"}, http.StatusBadRequest}, "not now": {fmt.Errorf("x: %w", job.ErrUnavailable), http.StatusServiceUnavailable}} {
		s := &sessions{ways: api.LoginWays{Issuer: "https://idp.example"}, err: c.err}
		res := form(t, s, true, pagecookie.BackChannelPath, "", url.Values{"logout_token": {"token"}})
		if res.StatusCode != c.want || res.Header.Get("Cache-Control") != "no-store" || fmt.Sprint(s.ended) != "[token]" {
			t.Errorf("%s: %s, %v", name, res.Status, s.ended)
		}
	}
}
