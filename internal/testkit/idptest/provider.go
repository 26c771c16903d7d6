package idptest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The one client that the provider knows.
const (
	ClientID = "carillon"
	Secret   = "s3cret of the client: 100%"
)

// User is somebody whom the provider knows.
type User struct {
	// Name is the user's preferred_username; the email is Name@example.org, and the
	// subject sub-Name.
	Name   string
	Groups []string
}

// Subject is what the provider calls the user.
func (u User) Subject() string { return "sub-" + u.Name }

// Email is the user's address.
func (u User) Email() string { return u.Name + "@example.org" }

// Faults are the rules that the provider breaks. The zero value breaks none.
type Faults struct {
	// Down: it answers nothing but errors.
	Down bool
	// Sign is how tokens are signed: "none", "HS256" with the public key as the secret,
	// "swapped" by a key that is not in the key set under the name of one that is,
	// "unknown" by a key that is not in it. Empty: as they should be.
	Sign string
	// Claims changes what a token says before it is signed.
	Claims func(map[string]any)
	// Issuer is what answers and the description say instead of the provider's name.
	Issuer string
	// KeepCodes: a code is taken more than once.
	KeepCodes bool
	// AnyVerifier: a code is taken without its verifier.
	AnyVerifier bool
}

// Provider is an identity provider. Use New; Close ends it.
type Provider struct {
	// Issuer is its name and its address.
	Issuer string

	server *httptest.Server

	mu sync.Mutex
	// mu guards all below.
	faults Faults
	keys   []*key
	users  map[string]User
	// here is who is logged in at the provider in every browser; empty: nobody, and it
	// asks.
	here   string
	codes  map[string]*grant // by code, or by device code
	minted int
	asked  int
	last   string // the last code that was sent to a browser
	device map[string]*grant
}

// grant is a login that was begun.
type grant struct {
	user, nonce, redirect, challenge string
	userCode                         string
	denied                           bool
	used                             bool
}

// New starts a provider on loopback that knows users.
func New(users ...User) (*Provider, error) {
	p := &Provider{users: map[string]User{}, codes: map[string]*grant{}, device: map[string]*grant{}}
	for _, u := range users {
		p.users[u.Name] = u
	}
	if err := p.Rotate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keySet)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.decide)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", p.beginDevice)
	mux.HandleFunc("GET /verify", p.verify)
	mux.HandleFunc("POST /verify", p.approve)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked++
		down := p.faults.Down
		p.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	p.Issuer = p.server.URL
	return p, nil
}

// Close ends the provider.
func (p *Provider) Close() { p.server.Close() }

// Break has the provider break rules from now on.
func (p *Provider) Break(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// Asked is how many questions the provider was asked.
func (p *Provider) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// SignIn has the provider take every browser for a user's; empty: it asks.
func (p *Provider) SignIn(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here = name
}

// LastCode is the code that was sent to a browser last.
func (p *Provider) LastCode() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *Provider) issuer() string {
	if p.faults.Issuer != "" {
		return p.faults.Issuer
	}
	return p.Issuer
}

func (p *Provider) describe(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	issuer := p.issuer()
	p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token",
		"device_authorization_endpoint": p.Issuer + "/device", "jwks_uri": p.Issuer + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		// It says more than anybody should take.
		"id_token_signing_alg_values_supported":          []string{"RS256", "HS256", "none"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true, "backchannel_logout_supported": true,
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	})
}

var pages = template.Must(template.New("").Parse(`<!doctype html><title>Who are you?</title><h1>Who are you?</h1>
<form method="post">{{range $k, $v := .Fields}}<input type="hidden" name="{{$k}}" value="{{$v}}">
{{end}}{{if .Code}}<label>Code <input name="user_code" value="{{.Given}}"></label>
{{end}}{{range .Users}}<button name="user" value="{{.}}" id="{{.}}">{{.}}</button>
{{end}}<button name="user" value="" id="deny">Deny</button></form>`))

func (p *Provider) page(w http.ResponseWriter, fields map[string]string, code bool, given string) {
	p.mu.Lock()
	var users []string
	for name := range p.users {
		users = append(users, name)
	}
	p.mu.Unlock()
	slices.Sort(users)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pages.Execute(w, map[string]any{"Fields": fields, "Users": users, "Code": code, "Given": given})
}

// authorize begins a login: it asks who somebody is, or knows it.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if err := p.checkRequest(q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	here := p.here
	p.mu.Unlock()
	if here != "" {
		p.answer(w, r, q, here)
		return
	}
	fields := map[string]string{}
	for k := range q {
		fields[k] = q.Get(k)
	}
	p.page(w, fields, false, "")
}

// checkRequest returns what is wrong with the beginning of a login.
func (p *Provider) checkRequest(q url.Values) error {
	to, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case q.Get("client_id") != ClientID:
		return fmt.Errorf("no such client: %q", q.Get("client_id"))
	case q.Get("response_type") != "code":
		return fmt.Errorf("response_type %q", q.Get("response_type"))
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return fmt.Errorf("PKCE by S256 is wanted, not %q", q.Get("code_challenge_method"))
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return fmt.Errorf("scope %q", q.Get("scope"))
	case err != nil || to.Path != "/login/callback" && to.Path != "/callback" || !isLoopback(to.Hostname()) && to.Scheme != "https":
		return fmt.Errorf("redirect_uri %q is not one of the client's", q.Get("redirect_uri"))
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *Provider) decide(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.checkRequest(r.PostForm); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.answer(w, r, r.PostForm, r.PostForm.Get("user"))
}

// answer sends the browser back.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, q url.Values, user string) {
	to, _ := url.Parse(q.Get("redirect_uri"))
	p.mu.Lock()
	back := url.Values{"state": {q.Get("state")}, "iss": {p.issuer()}}
	if _, known := p.users[user]; known {
		code := random()
		p.codes[code] = &grant{user: user, nonce: q.Get("nonce"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge")}
		p.last = code
		back.Set("code", code)
	} else {
		back.Set("error", "access_denied")
	}
	p.mu.Unlock()
	to.RawQuery = back.Encode()
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// client reports whether a form is of our client.
func (p *Provider) client(r *http.Request) bool {
	id, secret, header := r.BasicAuth()
	if header {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	return id == ClientID && secret == Secret
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if !p.client(r) {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	bad := func(code string) { reply(w, http.StatusBadRequest, map[string]any{"error": code}) }
	var g *grant
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		g = p.codes[r.PostFormValue("code")]
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if g == nil || g.used && !p.faults.KeepCodes || g.redirect != r.PostFormValue("redirect_uri") ||
			!p.faults.AnyVerifier && base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
			bad("invalid_grant")
			return
		}
	case "urn:ietf:params:oauth:grant-type:device_code":
		g = p.device[r.PostFormValue("device_code")]
		switch {
		case g == nil || g.used:
			bad("invalid_grant")
			return
		case g.denied:
			bad("access_denied")
			return
		case g.user == "":
			bad("authorization_pending")
			return
		}
	default:
		bad("unsupported_grant_type")
		return
	}
	g.used = true
	access := random()
	sum := sha256.Sum256([]byte(access))
	u := p.users[g.user]
	now := time.Now()
	claims := map[string]any{
		"iss": p.Issuer, "sub": u.Subject(), "aud": ClientID, "azp": ClientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"email": u.Email(), "email_verified": true, "preferred_username": u.Name, "groups": u.Groups, "sid": "sid-" + u.Name,
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	id, err := p.sign(claims)
	if err != nil {
		bad("server_error")
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id})
}

func (p *Provider) beginDevice(w http.ResponseWriter, r *http.Request) {
	if !p.client(r) {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code, user := random(), strings.ToUpper(random()[:8])
	p.device[code] = &grant{userCode: user}
	reply(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": user, "verification_uri": p.Issuer + "/verify",
		"verification_uri_complete": p.Issuer + "/verify?user_code=" + user, "expires_in": 600, "interval": 1,
	})
}

// Confirm has a user confirm a login by a code that was begun; false: there is none.
func (p *Provider) Confirm(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.device {
		if g.user == "" && !g.denied {
			g.user = name
			return true
		}
	}
	return false
}

func (p *Provider) verify(w http.ResponseWriter, r *http.Request) {
	p.page(w, nil, true, r.FormValue("user_code"))
}

func (p *Provider) approve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.device {
		if g.userCode == r.PostFormValue("user_code") && g.user == "" {
			g.user = r.PostFormValue("user")
			g.denied = g.user == ""
			_, _ = w.Write([]byte("You may close this page."))
			return
		}
	}
	http.Error(w, "no such code", http.StatusBadRequest)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}

func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
