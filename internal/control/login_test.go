package control

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/idp"
	"github.com/carillon-cron/carillon/internal/testkit/idptest"
	"github.com/carillon-cron/carillon/job"
)

// withProvider returns a Control whose people log in by a provider.
func withProvider(t *testing.T) (*env, *idptest.Provider) {
	t.Helper()
	at, err := idptest.New(idptest.User{Name: "ada", Groups: []string{"billing"}}, idptest.User{Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Close)
	p := clientOf(t, at.Issuer)
	return setup(t, func(_ *Config, d *Deps) { d.Provider = p }), at
}

func clientOf(t *testing.T, issuer string) *idp.Provider {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(idptest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := idp.New(idp.Config{
		Issuer: issuer, ClientID: idptest.ClientID, SecretFile: file, UserClaim: "email", GroupsClaim: "groups", Redirect: "http://127.0.0.1:1/login/callback",
	}, idp.Deps{}) // its tokens go by the clock of the wall
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	loginSecret   = "a-secret-of-who-logs-in-with-enough-of-it"
	loginRedirect = "http://127.0.0.1:2000/callback"
)

func loginRequest() api.LoginRequest {
	sum := sha256.Sum256([]byte(loginSecret))
	return api.LoginRequest{Redirect: loginRedirect, State: loginSecret, Nonce: loginSecret, Challenge: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// through goes to the provider, and returns the answer that a browser comes back with.
func through(t *testing.T, to string) api.LoginAnswer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, to, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatal(res.Status, err)
	}
	return api.LoginAnswer{Code: back.Query().Get("code"), Issuer: back.Query().Get("iss"), Redirect: loginRedirect, Nonce: loginSecret, Verifier: loginSecret}
}

// enters has somebody log in at the page, and returns the secret of the session.
func (e *env) enters(t *testing.T, at *idptest.Provider, name string) string {
	t.Helper()
	at.SignIn(name)
	to, err := e.PageLogin(t.Context(), loginRequest())
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := e.LoginByProvider(t.Context(), through(t, to), "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// commands has somebody log in at the command line.
func (e *env) commands(t *testing.T, at *idptest.Provider, name string) api.Login {
	t.Helper()
	at.SignIn(name)
	to, err := e.BeginLogin(t.Context(), loginRequest())
	if err != nil {
		t.Fatal(err)
	}
	v, err := e.FinishLogin(t.Context(), through(t, to.URL))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestI10_LoginsByTheProvider: who somebody is, for how long, and for what.
func TestI10_LoginsByTheProvider(t *testing.T) {
	t.Parallel()
	e, at := withProvider(t)
	page, command := e.enters(t, at, "ada"), e.commands(t, at, "ada")
	if command.Name != "ada@example.org" || fmt.Sprint(command.Groups) != "[billing]" || command.Issuer != at.Issuer || !command.ExpiresAt.Equal(e.now().Add(12*time.Hour)) || !strings.HasPrefix(command.Token, "cl_") {
		t.Errorf("%+v", command)
	}
	for name, who := range map[string]func() (caller.Caller, error){
		"page":    func() (caller.Caller, error) { return e.BySession(t.Context(), page, "10.0.0.2") },
		"command": func() (caller.Caller, error) { return e.ByToken(t.Context(), command.Token, "10.0.0.2") },
	} {
		c, err := who()
		if err != nil || c.Name != "ada@example.org" || fmt.Sprint(c.Subjects) != "[{user ada@example.org} {group billing}]" || c.Provider != at.Issuer || c.Remote != "10.0.0.2" || c.Local {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		self, err := e.Self(caller.With(t.Context(), c))
		if err != nil || self.Provider != at.Issuer || !self.Until.Equal(e.now().Add(12*time.Hour)) || len(self.Subjects) != 2 {
			t.Errorf("%s: %+v", name, self)
		}
	}
	// Neither is good as the other, and neither is in etcd.
	if !ended(t, e.Control, command.Token) || refusedAs(t, e.Control, page, "10.0.0.3") == "" || refusedAs(t, e.Control, "cl_"+page, "10.0.0.3") == "" {
		t.Error("one is good as the other")
	}
	resp, err := e.cli.Get(t.Context(), e.keys.Root(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		for _, secret := range []string{page, command.Token, command.Token[3:20], idptest.Secret} {
			if strings.Contains(string(kv.Key)+string(kv.Value), secret) {
				t.Errorf("%s has a secret", kv.Key)
			}
		}
	}
	// The page's ends without requests, the command's does not; both end by themselves.
	e.pass(31 * time.Minute)
	if !ended(t, e.Control, page) || refusedAs(t, e.Control, command.Token, "10.0.0.4") != "" {
		t.Error("half an hour without a request")
	}
	e.pass(12*time.Hour - 31*time.Minute)
	if refusedAs(t, e.Control, command.Token, "10.0.0.4") == "" {
		t.Error("good after 12 hours")
	}
	logins := map[string]int{}
	for _, r := range e.records(t, 100) {
		if r.By == "ada@example.org" && r.Object == "ada@example.org" {
			logins[r.Action]++
		}
	}
	if logins["page.login"] != 1 || logins["command.login"] != 1 {
		t.Errorf("on record: %v", logins)
	}

	// Where the provider is no more the cluster's, nobody of it is let in.
	command = e.commands(t, at, "bob")
	if why := refusedAs(t, e.another(t), command.Token, "10.0.0.5"); why == "" {
		t.Error("good at a node without a provider")
	}
	// A login is ended by who has it.
	c, err := e.ByToken(t.Context(), command.Token, "10.0.0.4")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.EndSession(caller.With(t.Context(), c)); err != nil || refusedAs(t, e.Control, command.Token, "10.0.0.6") == "" {
		t.Errorf("after its end: %v", err)
	}
	if err := e.EndSession(caller.With(t.Context(), caller.Caller{Name: "token ci"})); !errors.Is(err, job.ErrConflict) {
		t.Errorf("a token has no session to end: %v", err)
	}
}

// TestI11_LoginsThatAreRefused: by where they come back to, and by how many there were.
func TestI11_LoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	e, at := withProvider(t)
	for _, to := range []string{
		"", "https://evil.example/callback", "http://evil.example:80/callback", "http://127.0.0.1/callback", "http://127.0.0.1:0/callback", "http://localhost:1/callback",
		"http://127.0.0.1:1/other", "http://127.0.0.1:1/callback?x=y", "http://a@127.0.0.1:1/callback", "http://127.0.0.1:1@evil.example/callback", "https://127.0.0.1:1/callback",
		"http://10.0.0.1:1/callback", "http://127.0.0.1:1/callback#x",
	} {
		req := loginRequest()
		req.Redirect = to
		if _, err := e.BeginLogin(t.Context(), req); !errors.As(err, new(*job.InvalidError)) {
			t.Errorf("back to %q: %v", to, err)
		}
		if _, err := e.FinishLogin(t.Context(), api.LoginAnswer{Code: "c", Issuer: at.Issuer, Redirect: to, Nonce: loginSecret, Verifier: loginSecret}); !errors.As(err, new(*caller.RefusedError)) {
			t.Errorf("back from %q: %v", to, err)
		}
	}
	for _, secret := range []string{"", "short", strings.Repeat("a", 200), "with a blank in the middle"} {
		req := loginRequest()
		req.State, req.Nonce, req.Challenge = secret, secret, secret
		bad := (*job.InvalidError)(nil)
		if _, err := e.BeginLogin(t.Context(), req); !errors.As(err, &bad) || len(bad.Problems) != 3 {
			t.Errorf("%q: %v", secret, err)
		}
	}
	// An answer that somebody has seen is of no use to another browser.
	at.SignIn("ada")
	to, err := e.PageLogin(t.Context(), loginRequest())
	if err != nil {
		t.Fatal(err)
	}
	stolen := through(t, to)
	stolen.Verifier = strings.Repeat("x", 43)
	if _, _, err := e.LoginByProvider(t.Context(), stolen, "10.0.0.8"); !errors.As(err, new(*caller.RefusedError)) {
		t.Errorf("a stolen code: %v", err)
	}
	// After ten that were wrong, the provider is not asked any more.
	n := 0
	for ; n < 100; n++ {
		if _, _, err := e.LoginByProvider(t.Context(), stolen, "10.0.0.9"); errors.As(err, new(*caller.BusyError)) {
			break
		}
	}
	before := at.Asked()
	_, _, err = e.LoginByProvider(t.Context(), stolen, "10.0.0.9")
	if !errors.As(err, new(*caller.BusyError)) || n != 10 || at.Asked() != before {
		t.Errorf("after %d: %v", n, err)
	}
	at.Break(idptest.Faults{Down: true})
	if _, _, err := e.LoginByProvider(t.Context(), stolen, "10.0.0.10"); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a provider that is down: %v", err)
	}
	alone := setup(t)
	if _, err := alone.BeginLogin(t.Context(), loginRequest()); !errors.Is(err, job.ErrConflict) || alone.LoginWays() != (api.LoginWays{}) {
		t.Errorf("no provider: %v", err)
	}
}

// TestDeviceLogin: pending, then a login, then nothing.
func TestDeviceLogin(t *testing.T) {
	t.Parallel()
	e, _ := withProvider(t)
	d, err := e.BeginDeviceLogin(t.Context())
	if err != nil || d.IntervalSeconds != 1 || d.ExpiresSeconds != 600 {
		t.Fatalf("%+v, %v", d, err)
	}
	if v, err := e.FinishDeviceLogin(t.Context(), d.Code); err != nil || !v.Pending || v.Token != "" {
		t.Fatalf("%+v, %v", v, err)
	}
	res, err := http.PostForm(d.Page, url.Values{"user_code": {d.UserCode}, "user": {"ada"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	v, err := e.FinishDeviceLogin(t.Context(), d.Code)
	if err != nil || v.Name != "ada@example.org" || refusedAs(t, e.Control, v.Token, "a") != "" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := e.FinishDeviceLogin(t.Context(), d.Code); !errors.As(err, new(*caller.RefusedError)) {
		t.Errorf("again: %v", err)
	}
}

// TestI12_TheProviderEndsSessions: of one person, at all nodes, and by each token once.
func TestI12_TheProviderEndsSessions(t *testing.T) {
	t.Parallel()
	e, at := withProvider(t)
	token := func(f idptest.Faults, name string) string {
		t.Helper()
		at.Break(f)
		defer at.Break(idptest.Faults{})
		text, err := at.LogoutToken(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bySubject := idptest.Faults{Claims: func(c map[string]any) { delete(c, "sid") }}
	bySession := idptest.Faults{Claims: func(c map[string]any) { delete(c, "sub") }}
	other := idptest.Faults{Claims: func(c map[string]any) { c["sid"] = "another" }}
	for name, c := range map[string]struct {
		faults idptest.Faults
		ends   bool
	}{"both": {ends: true}, "by the subject": {bySubject, true}, "by the session": {bySession, true}, "another session": {other, false}} {
		ada, command, bob := e.enters(t, at, "ada"), e.commands(t, at, "ada"), e.enters(t, at, "bob")
		if err := e.LogoutByProvider(t.Context(), token(c.faults, "ada"), "10.0.0.7"); err != nil {
			t.Fatal(name, err)
		}
		if ended(t, e.Control, ada) != c.ends || (refusedAs(t, e.Control, command.Token, name) != "") != c.ends {
			t.Errorf("%s: ended %v, want %v", name, !c.ends, c.ends)
		}
		if ended(t, e.Control, bob) {
			t.Errorf("%s: another person's session was ended", name)
		}
	}
	once := token(idptest.Faults{}, "ada")
	if err := e.LogoutByProvider(t.Context(), once, "10.0.0.7"); err != nil {
		t.Fatal(err)
	}
	ada := e.enters(t, at, "ada")
	if err := e.LogoutByProvider(t.Context(), once, "10.0.0.7"); !errors.As(err, new(*caller.RefusedError)) {
		t.Errorf("a token that was used: %v", err)
	}
	if ended(t, e.Control, ada) {
		t.Error("a token that was used ends a session")
	}
	n := 0
	for _, r := range e.records(t, 200) {
		if r.Action == "session.end" && r.By == "identity provider" && r.Object == "ada@example.org" {
			n++
		}
	}
	if n < 6 {
		t.Errorf("%d ends are on record", n)
	}
	// Many sessions end by one token.
	var all []string
	for range 60 {
		all = append(all, e.enters(t, at, "bob"))
	}
	if err := e.LogoutByProvider(t.Context(), token(bySubject, "bob"), "10.0.0.7"); err != nil {
		t.Fatal(err)
	}
	resp, err := e.cli.Get(t.Context(), e.keys.PageSessions(), clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 1 { // ada's last one
		t.Errorf("%d sessions are left of %d, %v", len(resp.Kvs), len(all), err)
	}
}

// TestI13_WhatLastsIsAskedAgain: a session that was ended, a token that was revoked, and what
// has expired.
func TestI13_WhatLastsIsAskedAgain(t *testing.T) {
	t.Parallel()
	e, at := withProvider(t)
	n2 := e.another(t)
	still := func(c *Control, who caller.Caller) bool {
		t.Helper()
		err := c.Still(caller.With(t.Context(), who))
		if err != nil && !errors.As(err, new(*caller.RefusedError)) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !still(e.Control, caller.Caller{}) || !still(e.Control, caller.Caller{Name: "root (socket)", Local: true}) {
		t.Error("who shows nothing has nothing that ends")
	}
	token := e.token(t, "ci", time.Hour)
	ci, err := e.ByToken(t.Context(), token.Text, "a")
	if err != nil {
		t.Fatal(err)
	}
	page, err := e.BySession(t.Context(), e.login(t, token), "a")
	if err != nil {
		t.Fatal(err)
	}
	secret := e.enters(t, at, "ada")
	ada, err := e.BySession(t.Context(), secret, "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Control{e.Control, n2} {
		for _, who := range []caller.Caller{ci, page, ada} {
			if !still(c, who) {
				t.Errorf("%s: ended before its time", who.Name)
			}
		}
	}
	if err := e.Logout(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if still(e.Control, ada) || still(n2, ada) {
		t.Error("goes on after the logout")
	}
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []caller.Caller{ci, page} {
		if still(e.Control, who) || still(n2, who) {
			t.Errorf("%s goes on after its token was revoked", who.Name)
		}
	}
	short := e.token(t, "short", time.Minute)
	who, err := e.ByToken(t.Context(), short.Text, "a")
	if err != nil {
		t.Fatal(err)
	}
	e.pass(time.Minute)
	if still(e.Control, who) {
		t.Error("goes on after its token has expired")
	}
}
