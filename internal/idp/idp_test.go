package idp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/internal/testkit/idptest"
	"github.com/carillon-cron/carillon/job"
)

// ada is who logs in.
func ada() idptest.User { return idptest.User{Name: "ada", Groups: []string{"search", "billing"}} }

func provider(t *testing.T, users ...idptest.User) *idptest.Provider {
	t.Helper()
	p, err := idptest.New(append(users, ada())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.SignIn("ada")
	return p
}

// clock is a clock of which a test says how much it is ahead.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func client(t *testing.T, issuer string, change ...func(*Config)) (*Provider, *clock) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(idptest.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Issuer: issuer, ClientID: idptest.ClientID, SecretFile: file, Scopes: []string{"email"}, UserClaim: "email", GroupsClaim: "groups",
		Redirect: "https://carillon.example.org/login/callback",
	}
	for _, c := range change {
		c(&cfg)
	}
	ticks := &clock{}
	p, err := New(cfg, Deps{Now: ticks.now})
	if err != nil {
		t.Fatal(err)
	}
	return p, ticks
}

const nonce, verifier = "a-nonce-of-the-browser-01", "a-verifier-of-the-browser-with-enough-characters"

func begun() Attempt {
	sum := sha256.Sum256([]byte(verifier))
	return Attempt{State: "a-state-of-the-browser-01", Nonce: nonce, Challenge: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// back goes through the provider as a browser does, and returns what it came back with.
func back(t *testing.T, p *Provider) Answer {
	t.Helper()
	to, err := p.AuthURL(t.Context(), begun())
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(httptest.NewRequest(http.MethodGet, to, nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	at, err := res.Location()
	if err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	if got := at.Query().Get("state"); got != begun().State || !strings.HasPrefix(at.String(), "https://carillon.example.org/login/callback?") {
		t.Fatalf("back to %s", at)
	}
	return Answer{Code: at.Query().Get("code"), Issuer: at.Query().Get("iss"), Verifier: verifier, Nonce: nonce}
}

func login(t *testing.T, p *Provider) (Identity, error) {
	t.Helper()
	return p.Redeem(t.Context(), back(t, p))
}

// refusedFor fails the test unless an error is a refusal that says why.
func refusedFor(t *testing.T, name string, err error, why string) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, why) {
		t.Errorf("%s: %v, want a refusal with %q", name, err, why)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	got, err := login(t, p)
	want := Identity{Issuer: idp.Issuer, Subject: "sub-ada", Session: "sid-ada", Name: "ada@example.org", Groups: []string{"billing", "search"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	// A code is good once.
	a := back(t, p)
	if _, err := p.Redeem(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	_, err = p.Redeem(t.Context(), a)
	refusedFor(t, "a code shown twice", err, "invalid_grant")

	// The provider changes its keys.
	if err := idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, p); err != nil {
		t.Errorf("after new keys: %v", err)
	}
}

// TestI1_I2_TokensThatAreNotBelieved: by how they are signed, and by what they say.
func TestI1_I2_TokensThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	if _, err := login(t, p); err != nil {
		t.Fatal(err)
	}
	set := func(claim string, v any) idptest.Faults {
		return idptest.Faults{Claims: func(c map[string]any) { c[claim] = v }}
	}
	without := func(claim string) idptest.Faults {
		return idptest.Faults{Claims: func(c map[string]any) { delete(c, claim) }}
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, c := range map[string]struct {
		idptest.Faults
		why string
	}{
		"unsigned":                       {idptest.Faults{Sign: "none"}, "algorithm that is not allowed"},
		"HS256 with the public key":      {idptest.Faults{Sign: "HS256"}, "algorithm that is not allowed"},
		"another key under a known name": {idptest.Faults{Sign: "swapped"}, "no key of the provider"},
		"an unknown key":                 {idptest.Faults{Sign: "unknown"}, "no key of the provider"},
		"another issuer":                 {set("iss", "https://evil.example"), "another provider"},
		"another audience":               {set("aud", "another"), "(aud)"},
		"no audience":                    {without("aud"), "(aud)"},
		"several audiences":              {idptest.Faults{Claims: func(c map[string]any) { c["aud"] = []string{"another", "carillon"}; delete(c, "azp") }}, "(azp)"},
		"another party":                  {set("azp", "another"), "(azp)"},
		"expired":                        {set("exp", in(-time.Second)), "expired"},
		"without an end":                 {without("exp"), "expired"},
		"of the future":                  {set("iat", in(2*time.Minute)), "future"},
		"of no time":                     {without("iat"), "future"},
		"no nonce":                       {without("nonce"), "nonce"},
		"another nonce":                  {set("nonce", "x"), "nonce"},
		"another access token":           {set("at_hash", "x"), "the node's log"},
		"no subject":                     {set("sub", ""), "sub"},
	} {
		idp.Break(c.Faults)
		_, err := login(t, p)
		refusedFor(t, name, err, c.why)
	}
	for name, f := range map[string]idptest.Faults{
		"a clock that is ahead": set("iat", in(30*time.Second)), "several audiences, for us": set("aud", []string{"another", "carillon"}),
	} {
		idp.Break(f)
		if _, err := login(t, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestI3_CodesWantTheirVerifier: a code that somebody has seen is worth nothing.
func TestI3_CodesWantTheirVerifier(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	a := back(t, p)
	a.Verifier = verifier + "x"
	_, err := p.Redeem(t.Context(), a)
	refusedFor(t, "another verifier", err, "invalid_grant")
	for name, a := range map[string]Answer{
		"no verifier": {Code: "c", Issuer: idp.Issuer, Nonce: nonce}, "no nonce": {Code: "c", Issuer: idp.Issuer, Verifier: verifier}, "no code": {Issuer: idp.Issuer, Nonce: nonce, Verifier: verifier},
	} {
		before := idp.Asked()
		_, err := p.Redeem(t.Context(), a)
		refusedFor(t, name, err, "begin the login anew")
		if idp.Asked() != before {
			t.Errorf("%s: the provider was asked", name)
		}
	}
	to, err := p.AuthURL(t.Context(), begun())
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(to)
	if q := u.Query(); q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") != begun().Challenge || q.Get("nonce") != nonce || q.Get("scope") != "openid email" {
		t.Errorf("%s", to)
	}
}

// TestI4_AnswersOfAnotherIssuer are refused before their code is sent anywhere.
func TestI4_AnswersOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	for _, issuer := range []string{"https://evil.example", ""} {
		a := back(t, p)
		a.Issuer = issuer
		before := idp.Asked()
		_, err := p.Redeem(t.Context(), a)
		refusedFor(t, issuer, err, "identity provider")
		if idp.Asked() != before {
			t.Errorf("%q: the code was sent", issuer)
		}
	}
}

// TestI5_AProviderThatIsDown keeps nobody from starting, and is back by itself.
func TestI5_AProviderThatIsDown(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	idp.Break(idptest.Faults{Down: true})
	p, clock := client(t, idp.Issuer)
	if idp.Asked() != 0 {
		t.Error("the provider was asked at the start")
	}
	for range 5 {
		if _, err := p.AuthURL(t.Context(), begun()); !errors.Is(err, job.ErrUnavailable) {
			t.Fatalf("a provider that is down: %v", err)
		}
	}
	if n := idp.Asked(); n != 1 {
		t.Errorf("it was asked %d times within RetryAfter", n)
	}
	idp.Break(idptest.Faults{})
	clock.ahead.Store(int64(RetryAfter))
	if _, err := login(t, p); err != nil {
		t.Errorf("it is back: %v", err)
	}
	// Down again: what is known of it is enough to begin, and the code is not lost for
	// another reason than that.
	a := back(t, p)
	idp.Break(idptest.Faults{Down: true})
	clock.ahead.Store(int64(RetryAfter + RefreshEvery))
	if _, err := p.AuthURL(t.Context(), begun()); err != nil {
		t.Errorf("what it said before is forgotten: %v", err)
	}
	if _, err := p.Redeem(t.Context(), a); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a code while it is down: %v", err)
	}
	idp.Break(idptest.Faults{Issuer: "https://another.example"})
	other, _ := client(t, idp.Issuer)
	if _, err := other.AuthURL(t.Context(), begun()); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a provider that calls itself otherwise: %v", err)
	}
}

// TestI6_OnlyTheProviderIsAsked: not by plain HTTP, nor where it sends us.
func TestI6_OnlyTheProviderIsAsked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any, string){
		"token by plain HTTP": func(d map[string]any, _ string) { d["token_endpoint"] = "http://idp.example/token" },
		"keys of a file":      func(d map[string]any, _ string) { d["jwks_uri"] = "file:///etc/passwd" },
		"no way in":           func(d map[string]any, _ string) { delete(d, "authorization_endpoint") },
		"a page of nobody":    func(d map[string]any, _ string) { d["device_authorization_endpoint"] = "javascript:alert(1)" },
	} {
		var at string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			d := map[string]any{"issuer": at, "authorization_endpoint": at + "/a", "token_endpoint": at + "/t", "jwks_uri": at + "/k"}
			change(d, at)
			_ = json.NewEncoder(w).Encode(d)
		}))
		at = s.URL
		p, _ := client(t, at)
		if _, err := p.AuthURL(t.Context(), begun()); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
	idp := provider(t)
	s := httptest.NewServer(http.RedirectHandler(idp.Issuer+"/.well-known/openid-configuration", http.StatusFound))
	defer s.Close()
	p, _ := client(t, s.URL)
	if _, err := p.AuthURL(t.Context(), begun()); !errors.Is(err, job.ErrUnavailable) || idp.Asked() > 0 {
		t.Errorf("sent elsewhere: %v, asked %d", err, idp.Asked())
	}
}

func TestI7_Groups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claims string
		claim  string
		want   []string
		why    string
	}{
		"a list":                {claims: `{"groups":["b","a","b"]}`, claim: "groups", want: []string{"a", "b"}},
		"one":                   {claims: `{"groups":"a"}`, claim: "groups", want: []string{"a"}},
		"none":                  {claims: `{}`, claim: "groups"},
		"null":                  {claims: `{"groups":null}`, claim: "groups"},
		"not wanted":            {claims: `{"groups":["a"]}`, claim: ""},
		"a path":                {claims: `{"realm_access":{"roles":["a"]}}`, claim: "realm_access.roles", want: []string{"a"}},
		"a name with dots":      {claims: `{"https://x.example/groups":["a"]}`, claim: "https://x.example/groups", want: []string{"a"}},
		"what nobody can name":  {claims: `{"groups":["a"," b","","c\u0000","d\u202e",7,["e"]]}`, claim: "groups", want: []string{"a"}},
		"neither":               {claims: `{"groups":{"a":true}}`, claim: "groups", why: "no list of groups"},
		"kept elsewhere":        {claims: `{"_claim_names":{"groups":"src1"}}`, claim: "groups", why: "too many"},
		"more than are allowed": {claims: `{"groups":[` + strings.TrimSuffix(strings.Repeat(`"a",`, MostGroups+1), ",") + `]}`, claim: "groups", why: "at most"},
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(c.claims), &claims); err != nil {
			t.Fatal(err)
		}
		got, err := groupsOf(claims, c.claim)
		if c.why != "" {
			refusedFor(t, name, err, c.why)
		} else if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestI8_Names(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ claims, claim, want, why string }{
		"verified":          {claims: `{"email":"a@x","email_verified":true}`, claim: "email", want: "a@x"},
		"verified as text":  {claims: `{"email":"a@x","email_verified":"true"}`, claim: "email", want: "a@x"},
		"not verified":      {claims: `{"email":"a@x","email_verified":false}`, claim: "email", why: "verified"},
		"nobody says so":    {claims: `{"email":"a@x"}`, claim: "email", why: "verified"},
		"another claim":     {claims: `{"sub":"7"}`, claim: "sub", want: "7"},
		"missing":           {claims: `{}`, claim: "sub", why: "no claim sub"},
		"no text":           {claims: `{"sub":7}`, claim: "sub", why: "no claim sub"},
		"as a token":        {claims: `{"name":"token ci"}`, claim: "name", why: "a blank"},
		"an account":        {claims: `{"name":"root (socket)"}`, claim: "name", why: "a blank"},
		"what is not seen":  {claims: `{"name":"a\u202eb"}`, claim: "name", why: "cannot be seen"},
		"longer than names": {claims: `{"name":"` + strings.Repeat("a", 257) + `"}`, claim: "name", why: "256 bytes"},
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(c.claims), &claims); err != nil {
			t.Fatal(err)
		}
		got, err := nameOf(claims, c.claim)
		if c.why != "" {
			refusedFor(t, name, err, c.why)
		} else if err != nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestI9_LogoutTokens(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	token := func(f idptest.Faults) string {
		t.Helper()
		idp.Break(f)
		text, err := idp.LogoutToken("ada")
		if err != nil {
			t.Fatal(err)
		}
		idp.Break(idptest.Faults{})
		return text
	}
	got, err := p.Logout(t.Context(), token(idptest.Faults{}))
	if err != nil || got.Subject != "sub-ada" || got.Session != "sid-ada" || got.ID == "" || got.Issuer != idp.Issuer {
		t.Fatalf("%+v, %v", got, err)
	}
	set := func(claim string, v any) idptest.Faults {
		return idptest.Faults{Claims: func(c map[string]any) { c[claim] = v }}
	}
	drop := func(claims ...string) idptest.Faults {
		return idptest.Faults{Claims: func(c map[string]any) {
			for _, claim := range claims {
				delete(c, claim)
			}
		}}
	}
	const event = "http://schemas.openid.net/event/backchannel-logout"
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, f := range map[string]idptest.Faults{
		"unsigned": {Sign: "none"}, "HS256": {Sign: "HS256"}, "another key": {Sign: "swapped"},
		"another issuer": set("iss", "https://evil.example"), "another audience": set("aud", "another"), "no audience": drop("aud"),
		"no event": drop("events"), "another event": set("events", map[string]any{"x": map[string]any{}}), "an event that is none": set("events", map[string]any{event: "x"}),
		"an event of null": set("events", map[string]any{event: nil}),
		"a nonce":          set("nonce", "x"), "no ID": drop("jti"), "nobody's": drop("sub", "sid"), "expired": set("exp", in(-time.Second)), "without an end": drop("exp"),
		"of no time": drop("iat"), "of the future": set("iat", in(2*time.Minute)), "an old one": set("iat", in(-LogoutAge-time.Minute)),
	} {
		if _, err := p.Logout(t.Context(), token(f)); !errors.As(err, new(*RefusedError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Logout(t.Context(), "x"); !errors.As(err, new(*RefusedError)) {
		t.Errorf("no token: %v", err)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	idp := provider(t)
	p, _ := client(t, idp.Issuer)
	for _, user := range []string{"ada", ""} {
		d, err := p.BeginDevice(t.Context())
		if err != nil || d.Interval != time.Second || d.Expires != 10*time.Minute || !strings.HasPrefix(d.Page, idp.Issuer) || !strings.Contains(d.Direct, d.UserCode) {
			t.Fatalf("%+v, %v", d, err)
		}
		if _, err := p.RedeemDevice(t.Context(), d.Code); !errors.Is(err, ErrPending) {
			t.Errorf("before anybody has confirmed it: %v", err)
		}
		res, err := http.PostForm(d.Page, url.Values{"user_code": {d.UserCode}, "user": {user}})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
		got, err := p.RedeemDevice(t.Context(), d.Code)
		if user == "" {
			refusedFor(t, "denied", err, "access_denied")
		} else if err != nil || got.Name != "ada@example.org" {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = p.RedeemDevice(t.Context(), d.Code)
		refusedFor(t, "again", err, "begin the login anew")
	}
}

// TestFiles: what is wrong with them is told at the start, all at once.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"none":    {},
		"missing": {Config{SecretFile: filepath.Join(dir, "no"), CAFile: filepath.Join(dir, "no")}, []string{"--oidc-client-secret-file: open", "--oidc-ca: open"}},
		"empty":   {Config{SecretFile: write("empty", "\n", 0o600), CAFile: write("ca", "x", 0o600)}, []string{"is empty", "no certificate in it"}},
		"open":    {Config{SecretFile: write("open", "x", 0o644)}, []string{"make it 0600"}},
	} {
		_, err := New(c.cfg, Deps{})
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%s: %v, want %q", name, err, w)
			}
		}
	}
	// A secret that is not the client's is not blamed on who logs in.
	idp := provider(t)
	p, _ := client(t, idp.Issuer, func(c *Config) { c.SecretFile = write("other", "another", 0o600) })
	if _, err := login(t, p); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("another secret: %v", err)
	}
}

// FuzzClaims: whatever a provider says of names and groups, what comes of it can be named
// by a binding.
func FuzzClaims(f *testing.F) {
	f.Add(`{"groups":["a","b"],"email":"a@x","email_verified":true}`, "groups", "email")
	f.Add(`{"realm_access":{"roles":["a"]}}`, "realm_access.roles", "sub")
	f.Add(`{"groups":{"a":{"b":"c"}}}`, "groups.a.b", "groups")
	fuzzed.Run(f, func(t *testing.T, text, groups, user string) {
		var claims map[string]any
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		got, err := groupsOf(claims, groups)
		if len(got) > MostGroups || err != nil && got != nil || !slices.IsSorted(got) {
			t.Errorf("%q, %v", got, err)
		}
		for _, g := range got {
			if !isName(g) {
				t.Errorf("the group %q", g)
			}
		}
		if name, err := nameOf(claims, user); err == nil && (!isName(name) || strings.ContainsAny(name, " \t\n")) {
			t.Errorf("the name %q", name)
		}
	})
}
