package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/apitoken"
)

func newToken(t *testing.T) string {
	t.Helper()
	token, err := apitoken.New()
	if err != nil {
		t.Fatal(err)
	}
	return token.Text()
}

// TestTokensAreNotSentInTheClear: nor to whom the server sends us.
func TestTokensAreNotSentInTheClear(t *testing.T) {
	t.Parallel()
	token := newToken(t)
	for _, server := range []string{"http://node1.example.org:8420", "http://10.0.0.1:8420", "http://localhost.example.org"} {
		if _, err := client.New(client.Config{Server: server, Token: token}); !errors.Is(err, client.ErrTokenInClear) || !strings.Contains(err.Error(), "ask https://") {
			t.Errorf("%s: %v", server, err)
		}
	}
	for _, server := range []string{"https://node1.example.org:8420", "node1.example.org:8420", "http://127.0.0.1:8420", "localhost:8420", "http://[::1]:8420", "unix:///run/x.sock", ""} {
		if c, err := client.New(client.Config{Server: server, Token: token}); err != nil {
			t.Errorf("%s: %v", server, err)
		} else {
			c.Close()
		}
	}
	if _, err := client.New(client.Config{Token: token[:20] + "\n" + token[20:]}); err == nil || strings.Contains(err.Error(), token[3:20]) {
		t.Errorf("a line that was broken: %v", err)
	}

	var thief string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { thief = r.Header.Get("Authorization") }))
	t.Cleanup(elsewhere.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(elsewhere.URL, "http://"), ":")
	sends := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:"+port, http.StatusTemporaryRedirect) // the same host, another door
	}))
	t.Cleanup(sends.Close)
	c, err := client.New(client.Config{Server: sends.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Auth.Self(t.Context()); err == nil || !strings.Contains(err.Error(), "sends elsewhere") || thief != "" {
		t.Errorf("sent elsewhere: %v, and it got %q", err, thief)
	}
}

// TestTokenCalls: what is sent for each of them.
func TestTokenCalls(t *testing.T) {
	t.Parallel()
	token := newToken(t)
	var calls []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s: Authorization %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		text, _ := json.Marshal(body)
		calls = append(calls, r.Method+" "+r.URL.EscapedPath()+" "+string(text))
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "ci", "tokens": []api.APIToken{{Name: "ci"}}})
	}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{Server: srv.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	made, err := c.Tokens.Create(t.Context(), api.APITokenRequest{Name: "ci", Note: "n", TTL: time.Hour, Order: api.Order{By: "ada"}})
	if err != nil || made.Name != "ci" {
		t.Errorf("create: %+v, %v", made, err)
	}
	if all, err := c.Tokens.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("list: %+v, %v", all, err)
	}
	if v, err := c.Tokens.Rotate(t.Context(), "ci", api.TokenRotation{Grace: time.Minute, Order: api.Order{By: "ada"}}); err != nil || v.Name != "ci" {
		t.Errorf("rotate: %+v, %v", v, err)
	}
	if err := c.Tokens.Revoke(t.Context(), "ci", api.Order{Reason: "gone"}); err != nil {
		t.Error(err)
	}
	if self, err := c.Auth.Self(t.Context()); err != nil || self.Name != "ci" {
		t.Errorf("self: %+v, %v", self, err)
	}
	want := []string{
		`POST /v1/tokens {"by":"ada","name":"ci","note":"n","ttlSeconds":3600}`, "GET /v1/tokens null",
		`POST /v1/tokens/ci/rotate {"by":"ada","graceSeconds":60}`,
		`DELETE /v1/tokens/ci {"reason":"gone"}`, "GET /v1/auth/self null",
	}
	if got := strings.Join(calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
