package control

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
)

// login begins a session and returns its secret.
func (e *env) login(t *testing.T, token api.APIToken) string {
	t.Helper()
	secret, until, err := e.Login(t.Context(), token.Text, "10.0.0.1")
	if err != nil || !until.Equal(e.now().Add(12*time.Hour)) {
		t.Fatalf("until %s, %v", until, err)
	}
	return secret
}

// ended reports whether a session is refused.
func ended(t *testing.T, c *Control, secret string) bool {
	t.Helper()
	_, err := c.BySession(t.Context(), secret, "10.0.0.2")
	var refused *caller.RefusedError
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	return err != nil
}

// TestI8_SessionsEndOnTheServer: by a logout at all nodes, and by themselves.
func TestI8_SessionsEndOnTheServer(t *testing.T) {
	t.Parallel()
	e := setup(t)
	n2 := e.another(t)
	token := e.token(t, "ada", 24*time.Hour)
	s := e.login(t, token)
	got, err := n2.BySession(t.Context(), s, "10.0.0.2")
	if err != nil || got.Name != "token ada" || got.Remote != "10.0.0.2" {
		t.Fatalf("at another node: %+v, %v", got, err)
	}
	resp, err := e.cli.Get(t.Context(), e.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Key)+string(kv.Value), s) || strings.Contains(string(kv.Value), token.Text[3:20]) {
			t.Errorf("%s has the secret", kv.Key)
		}
	}
	for _, other := range []string{"", "x", s[:40], s + "A", strings.Repeat("A", len(s))} {
		if !ended(t, e.Control, other) {
			t.Errorf("%q is a session", other)
		}
	}
	if err := n2.Logout(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if !ended(t, e.Control, s) || !ended(t, n2, s) {
		t.Error("what was kept of the session opens something after the logout")
	}

	// It lasts while it is used, and no longer than 12 hours.
	s = e.login(t, token)
	for range 24 {
		e.pass(29 * time.Minute)
		if ended(t, e.Control, s) {
			t.Fatal("ended while in use")
		}
	}
	e.pass(24 * time.Minute)
	if !ended(t, e.Control, s) {
		t.Error("goes on after 12 hours")
	}
	s = e.login(t, token)
	e.pass(30 * time.Minute)
	if !ended(t, e.Control, s) {
		t.Error("goes on after half an hour without a request")
	}

	// It ends with its token.
	s = e.login(t, token)
	if err := e.RevokeAPIToken(t.Context(), "ada", api.Order{}); err != nil {
		t.Fatal(err)
	}
	if !ended(t, e.Control, s) || !ended(t, n2, s) {
		t.Error("goes on after its token was revoked")
	}
	if _, _, err := e.Login(t.Context(), token.Text, "a"); err == nil {
		t.Error("a revoked token begins a session")
	}
	short := e.token(t, "short", time.Minute)
	s = e.login(t, short)
	e.pass(time.Minute)
	if !ended(t, e.Control, s) {
		t.Error("goes on after its token has expired")
	}
	records := e.records(t, 100)
	logins := 0
	for _, r := range records {
		if r.Action == "page.login" && (r.By == "token ada" || r.By == "token short") && r.Reason == "from 10.0.0.1" {
			logins++
		}
	}
	if logins != 5 {
		t.Errorf("%d logins are on record, want 5: %+v", logins, records)
	}
}

// TestI4_WrongSessionsAreNotLookedAt: a session that is none costs etcd a read, and after
// many of them from one address none. One that is good and known here is let in.
func TestI4_WrongSessionsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	e := alone(t)
	n2 := e.another(t)
	good := e.login(t, e.token(t, "ada", 24*time.Hour))
	wrong := func(c *Control, i int) (busy bool) {
		t.Helper()
		b := make([]byte, 32)
		b[0], b[1] = byte(i), byte(i>>8)
		_, err := c.BySession(t.Context(), base64.RawURLEncoding.EncodeToString(b), "10.0.0.2")
		if err == nil {
			t.Fatal("a session that is none is good")
		}
		return errors.As(err, new(*caller.BusyError))
	}
	for _, c := range []*Control{e.Control, n2} {
		n := 0
		for !wrong(c, n) {
			if n++; n > 1000 {
				t.Fatal("each of a thousand wrong sessions was looked up")
			}
		}
		if n < 100 {
			t.Errorf("%d sessions that have ended keep their address out", n)
		}
	}
	if ended(t, e.Control, good) {
		t.Error("a session that is known is not let in from an address that shows wrong ones")
	}
	if err := e.Logout(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if !ended(t, e.Control, good) {
		t.Error("good after the logout")
	}
	if _, err := e.BySession(t.Context(), good, "10.0.0.2"); !errors.As(err, new(*caller.BusyError)) {
		t.Errorf("one that has ended is looked up for ever: %v", err)
	}
	e.pass(time.Minute)
	if wrong(n2, 7) {
		t.Error("after a minute the address is kept out still")
	}
}
