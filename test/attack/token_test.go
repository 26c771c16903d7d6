package attack

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// showing asks a node with a token.
func showing(t testing.TB, n *node, method, path, token string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+n.api+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := ask(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A token that has expired, was revoked, or is another cluster's opens no route, at no
// node, though the cluster is open to everybody.
func TestBadTokensOpenNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n, m, other := startNode(t, c, "n1"), startNode(t, c, "n2"), startNode(t, newCluster(t), "n1")
	short := n.carillon(t, "token", "create", "short", "--ttl", "1s").must(t)
	revoked := n.carillon(t, "token", "create", "revoked", "--ttl", "1h").must(t)
	foreign := other.carillon(t, "token", "create", "foreign", "--ttl", "1h").must(t)
	good := n.carillon(t, "token", "create", "good", "--ttl", "1h").must(t)
	for _, at := range []*node{n, m} {
		for name, token := range map[string]string{"revoked": revoked, "good": good} {
			if res := showing(t, at, http.MethodGet, "/v1/auth/self", token); res.code != http.StatusOK || !strings.Contains(res.body, "token "+name) {
				t.Fatalf("%s at %s: %d %s", name, at.name, res.code, res.body)
			}
		}
	}
	n.carillon(t, "token", "revoke", "revoked").must(t)
	await.Until(t, "the token has expired", func() bool {
		return showing(t, m, http.MethodGet, "/v1/auth/self", short).code == http.StatusUnauthorized
	})
	await.Until(t, "the other node knows", func() bool {
		return showing(t, m, http.MethodGet, "/v1/auth/self", revoked).code == http.StatusUnauthorized
	})
	mark := filepath.Join(t.TempDir(), "mark")
	for _, at := range []*node{n, m} {
		for name, token := range map[string]string{"expired": short, "revoked": revoked, "another cluster's": foreign} {
			for _, route := range everyRoute("http://"+at.api, mark) {
				req, err := http.NewRequest(route.Method, route.URL, strings.NewReader(route.Body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				path := req.URL.Path
				if path == "/livez" || path == "/readyz" || strings.HasPrefix(path, "/v1/hooks/") {
					continue
				}
				// After a few, it is not looked at any more.
				if res, err := ask(req); err != nil || res.code != http.StatusUnauthorized && res.code != http.StatusTooManyRequests {
					t.Errorf("%s %s at %s with %s: %d %s, %v", route.Method, path, at.name, name, res.code, res.body, err)
				}
			}
		}
		// Who guesses keeps nobody out.
		if res := showing(t, at, http.MethodGet, "/v1/auth/self", good); res.code != http.StatusOK {
			t.Errorf("a good one at %s: %d %s", at.name, res.code, res.body)
		}
	}
}

// The certificates of minions and nodes are no identities of the API.
func TestCertificatesAreNobodyForTheAPI(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n, inside := startNode(t, c, "n1", openAPI()...), startNode(t, c, "n2")
	client := asking(t, n, c.authority(t))
	for kind, cert := range certificates(t, inside) {
		if cert == nil {
			continue
		}
		with := client.Transport.(*http.Transport).Clone()
		with.TLSClientConfig.Certificates = []tls.Certificate{*cert}
		res, err := (&http.Client{Transport: with}).Get("https://localhost/v1/auth/self")
		if err != nil {
			continue // refused is fine, too
		}
		var self api.Self
		err = json.NewDecoder(res.Body).Decode(&self)
		_ = res.Body.Close()
		with.CloseIdleConnections()
		if err != nil || self.Name != "" || len(self.Subjects) > 0 || self.Everything {
			t.Errorf("%s: %+v, %v", kind, self, err)
		}
	}
}

// Another account of a node's host: the socket is closed to it, and on the port it is
// nobody, whatever it says of itself.
func TestAnotherAccountIsNobody(t *testing.T) {
	t.Parallel()
	who := stranger(t)
	n := startNode(t, newCluster(t), "n1")
	if r := run(t, program{name: "carillon", as: who, args: []string{"auth", "whoami", "--server", "unix://" + filepath.Join(n.dir, "carillon.sock")}}); r.code != exitUnavailable {
		t.Errorf("over the socket: %d %s%s", r.code, r.stdout, r.stderr)
	}
	r := run(t, program{name: "carillon", as: who, env: []string{"USER=root"}, args: []string{"auth", "whoami", "--server", "http://" + n.api}})
	if got := r.must(t); !strings.HasPrefix(got, "nobody") {
		t.Errorf("on the port: %q", got)
	}
}

// What a thief kept of a session of the page opens nothing after the logout, at no
// node; nor does a page of another origin log anybody in or out.
func TestStolenCookieAfterLogout(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n, m := startNode(t, c, "n1"), startNode(t, c, "n2")
	token := n.carillon(t, "token", "create", "ada", "--ttl", "1h").must(t)
	send := func(at *node, method, path, body, cookie, origin string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+at.api+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != "" {
			req.Header.Set("Cookie", "carillon-session="+cookie)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	login := url.Values{"token": {token}}.Encode()
	if res := send(n, http.MethodPost, "/login", login, "", "https://evil.example"); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
		t.Errorf("another site logs its reader in: %s %v", res.Status, res.Cookies())
	}
	res := send(n, http.MethodPost, "/login", login, "", "")
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		t.Fatalf("login: %s %v", res.Status, res.Cookies())
	}
	stolen := res.Cookies()[0].Value
	for _, at := range []*node{n, m} {
		if res := send(at, http.MethodGet, "/v1/auth/self", "", stolen, ""); res.StatusCode != http.StatusOK {
			t.Fatalf("before the logout, at %s: %s", at.name, res.Status)
		}
	}
	if res := send(n, http.MethodPost, "/logout", "", stolen, "https://evil.example"); res.StatusCode != http.StatusForbidden {
		t.Errorf("another site logs its reader out: %s", res.Status)
	}
	if res := send(n, http.MethodPost, "/logout", "", stolen, ""); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("logout: %s", res.Status)
	}
	for _, at := range []*node{n, m} {
		for _, path := range []string{"/v1/auth/self", "/v1/jobs", "/", "/runs", "/metrics", "/v1/events"} {
			if res := send(at, http.MethodGet, path, "", stolen, ""); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("after the logout, %s at %s: %s", path, at.name, res.Status)
			}
		}
	}
}
