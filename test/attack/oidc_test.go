package attack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/idptest"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// startIDP starts an identity provider that takes each browser for ada's.
func startIDP(t testing.TB) *idptest.Provider {
	t.Helper()
	p, err := idptest.New(idptest.User{Name: "ada", Groups: []string{"billing"}}, idptest.User{Name: "eve"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.SignIn("ada")
	return p
}

// asClient starts a node whose people log in by a provider.
func asClient(t testing.TB, c *cluster, name string, idp *idptest.Provider) *node {
	t.Helper()
	reserved, err := ports.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reserved.Release)
	at := fmt.Sprintf("127.0.0.1:%d", reserved.Ports[0])
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(idptest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return startNode(t, c, name, "--listen", at, "--oidc-issuer", idp.Issuer, "--oidc-client-id", idptest.ClientID,
		"--oidc-client-secret-file", secret, "--oidc-redirect-base", "http://"+at)
}

// browsing is a browser without a window: it keeps cookies, and asks from an address of
// its own, as wrong logins are counted by them.
type browsing struct{ http.Client }

func newBrowsing(t testing.TB, k int) *browsing {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(k))}}
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &browsing{http.Client{Jar: jar, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get opens an address and returns the answer, and where it leads.
func (b *browsing) get(t testing.TB, to string) (answer, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, to, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}, res.Header.Get("Location")
}

// begin begins a login, and returns what the provider sends the browser back to.
func (b *browsing) begin(t testing.TB, n *node) string {
	t.Helper()
	res, to := b.get(t, n.url()+"/login/provider?next=/runs")
	if res.code != http.StatusSeeOther {
		t.Fatalf("begin: %d %s", res.code, res.body)
	}
	res, back := b.get(t, to)
	if res.code != http.StatusSeeOther || !strings.HasPrefix(back, n.url()+"/login/callback?") {
		t.Fatalf("the provider: %d %s to %q", res.code, res.body, back)
	}
	return back
}

// is who the browser is for a node; empty: nobody.
func (b *browsing) is(t testing.TB, n *node) string {
	t.Helper()
	res, _ := b.get(t, n.url()+"/v1/auth/self")
	_, name, _ := strings.Cut(res.body, `"name":"`)
	name, _, _ = strings.Cut(name, `"`)
	if res.code != http.StatusOK {
		return ""
	}
	return name
}

// refused fails the test unless a login is refused, and leaves the browser nobody's.
func (b *browsing) refused(t testing.TB, n *node, name, back string) {
	t.Helper()
	res, _ := b.get(t, back)
	if res.code != http.StatusUnauthorized {
		t.Errorf("%s: %d %s", name, res.code, res.body)
	}
	if who := b.is(t, n); who != "" {
		t.Errorf("%s: it is %s", name, who)
	}
}

// A token of the provider that is forged, or another's, lets nobody in; nor does one for
// which the provider itself is at fault.
func TestForgedIdentities(t *testing.T) {
	t.Parallel()
	idp := startIDP(t)
	n := asClient(t, newCluster(t), "n1", idp)
	good := newBrowsing(t, 1)
	if res, to := good.get(t, good.begin(t, n)); res.code != http.StatusSeeOther || to != "/runs" || good.is(t, n) != "ada@example.org" {
		t.Fatalf("a good login: %d to %q, is %q", res.code, to, good.is(t, n))
	}
	set := func(claim string, v any) idptest.Faults {
		return idptest.Faults{Claims: func(c map[string]any) { c[claim] = v }}
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	k := 1
	for name, f := range map[string]idptest.Faults{
		"another audience": set("aud", "another"), "another party": set("azp", "another"), "another issuer": set("iss", "https://evil.example"),
		"a key under another's name": {Sign: "swapped"}, "an unknown key": {Sign: "unknown"}, "unsigned": {Sign: "none"}, "HS256 with the public key": {Sign: "HS256"},
		"without the nonce": {Claims: func(c map[string]any) { delete(c, "nonce") }}, "another nonce": set("nonce", "x"),
		"expired": set("exp", in(-time.Minute)), "of the future": set("iat", in(5*time.Minute)), "an email that nobody has verified": set("email_verified", false),
	} {
		k++
		b := newBrowsing(t, k)
		idp.Break(f)
		b.refused(t, n, name, b.begin(t, n))
	}
	// Keys that the provider has changed since are no reason.
	idp.Break(idptest.Faults{})
	if err := idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	b := newBrowsing(t, 100)
	if b.get(t, b.begin(t, n)); b.is(t, n) != "ada@example.org" {
		t.Error("a new key of the provider is not taken")
	}
}

// An answer is for the browser that asked for it, once, of our provider; even where the
// provider takes a code again, and without its verifier.
func TestAnswersOfOthers(t *testing.T) {
	t.Parallel()
	idp := startIDP(t)
	c := newCluster(t)
	n, m := asClient(t, c, "n1", idp), asClient(t, c, "n2", idp)
	idp.Break(idptest.Faults{KeepCodes: true, AnyVerifier: true})

	ada, eve := newBrowsing(t, 1), newBrowsing(t, 2)
	back := ada.begin(t, n)
	// Eve has seen the address, and uses it before Ada does, with and without a login of
	// her own that has begun.
	eve.refused(t, n, "another browser", back)
	mine := eve.begin(t, n)
	eve.refused(t, n, "another browser that has begun one", back)
	code, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	own, err := url.Parse(mine)
	if err != nil {
		t.Fatal(err)
	}
	q := own.Query()
	q.Set("code", code.Query().Get("code"))
	own.RawQuery = q.Encode()
	eve.refused(t, n, "Ada's code in Eve's answer", own.String()) // its nonce is Ada's

	if ada.get(t, back); ada.is(t, n) != "ada@example.org" || ada.is(t, m) != "ada@example.org" {
		t.Fatal("Ada is not let in")
	}
	thief := newBrowsing(t, 3)
	thief.refused(t, n, "an answer that was used", back)
	again := newBrowsing(t, 4)
	back = again.begin(t, n)
	if again.get(t, back); again.is(t, n) == "" {
		t.Fatal("the second login")
	}
	if res, _ := again.get(t, back); res.code != http.StatusUnauthorized {
		t.Errorf("the same browser again: %d", res.code)
	}

	// Another provider's answer, or one that does not say whose it is.
	for name, iss := range map[string]string{"another provider's": "https://evil.example", "nobody's": ""} {
		b := newBrowsing(t, 5)
		at, err := url.Parse(b.begin(t, n))
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		q.Set("iss", iss)
		at.RawQuery = q.Encode()
		asked := idp.Asked()
		b.refused(t, n, name, at.String())
		if idp.Asked() != asked {
			t.Errorf("%s: the code was sent", name)
		}
	}
}

// A provider that is down keeps no node from starting, and lets people in once it is back.
func TestProviderDownAtTheStart(t *testing.T) {
	t.Parallel()
	idp := startIDP(t)
	idp.Break(idptest.Faults{Down: true})
	n := asClient(t, newCluster(t), "n1", idp)
	b := newBrowsing(t, 1)
	if res, _ := b.get(t, n.url()+"/login/provider"); res.code != http.StatusServiceUnavailable || !strings.Contains(res.body, "by a token") {
		t.Errorf("while it is down: %d %s", res.code, res.body)
	}
	token := n.carillon(t, "token", "create", "ci", "--ttl", "1h").must(t)
	if res := showing(t, n, http.MethodGet, "/v1/auth/self", token); res.code != http.StatusOK {
		t.Errorf("a token while it is down: %d", res.code)
	}
	idp.Break(idptest.Faults{})
	await.Until(t, "it is asked again", func() bool {
		res, _ := b.get(t, n.url()+"/login/provider")
		return res.code == http.StatusSeeOther
	})
	if b.get(t, b.begin(t, n)); b.is(t, n) != "ada@example.org" {
		t.Error("Ada is not let in")
	}
}

// Only the provider ends sessions, at all nodes, and by each word of its once.
func TestForgedLogouts(t *testing.T) {
	t.Parallel()
	idp := startIDP(t)
	c := newCluster(t)
	n, m := asClient(t, c, "n1", idp), asClient(t, c, "n2", idp)
	ada := newBrowsing(t, 1)
	ada.get(t, ada.begin(t, n))
	logout := func(at *node, f idptest.Faults) (string, int) {
		t.Helper()
		idp.Break(f)
		defer idp.Break(idptest.Faults{})
		token, err := idp.LogoutToken("ada")
		if err != nil {
			t.Fatal(err)
		}
		code, err := idptest.SendLogout(at.url()+"/login/backchannel", token)
		if err != nil {
			t.Fatal(err)
		}
		return token, code
	}
	for name, f := range map[string]idptest.Faults{
		"unsigned": {Sign: "none"}, "another key": {Sign: "swapped"}, "HS256": {Sign: "HS256"},
		"another client's": {Claims: func(c map[string]any) { c["aud"] = "another" }},
		"an ID token":      {Claims: func(c map[string]any) { delete(c, "events"); c["nonce"] = "x" }},
		"another person's": {Claims: func(c map[string]any) { c["sub"], c["sid"] = "sub-eve", "sid-eve" }},
	} {
		_, code := logout(n, f)
		if want := http.StatusBadRequest; name != "another person's" && code != want {
			t.Errorf("%s: %d, want %d", name, code, want)
		}
		if ada.is(t, n) == "" {
			t.Fatalf("%s: Ada's session was ended", name)
		}
	}
	token, code := logout(n, idptest.Faults{})
	if code != http.StatusOK || ada.is(t, n) != "" || ada.is(t, m) != "" {
		t.Errorf("the provider's word: %d, Ada is %q and %q", code, ada.is(t, n), ada.is(t, m))
	}
	next := newBrowsing(t, 2)
	next.get(t, next.begin(t, m))
	if code, err := idptest.SendLogout(m.url()+"/login/backchannel", token); err != nil || code != http.StatusBadRequest || next.is(t, m) == "" {
		t.Errorf("the same word again: %d, %v, Ada is %q", code, err, next.is(t, m))
	}
}

// Streams do not outlive what their readers showed: a token that was revoked, a session
// that the provider ended, or a right that was taken.
func TestStreamsEndWithTheirReaders(t *testing.T) {
	t.Parallel()
	idp := startIDP(t)
	c := newCluster(t)
	n, m := asClient(t, c, "n1", idp), startNode(t, c, "n2")
	follow := func(at *node, client *http.Client, token string) <-chan string {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, at.url()+"/v1/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		lines := bufio.NewReader(res.Body)
		if first, err := lines.ReadString('\n'); err != nil || first != ": changes\n" {
			t.Fatalf("%q, %v", first, err)
		}
		ended := make(chan string, 1)
		go func() {
			defer res.Body.Close()
			_, err := io.Copy(io.Discard, lines)
			ended <- fmt.Sprint(err)
		}()
		return ended
	}
	ended := func(name string, stream <-chan string) {
		t.Helper()
		await.Until(t, name+": the stream has ended", func() bool {
			select {
			case <-stream:
				return true
			default:
				return false
			}
		})
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	stays := follow(n, plain, n.carillon(t, "token", "create", "stays", "--ttl", "1h").must(t))
	revoked := n.carillon(t, "token", "create", "revoked", "--ttl", "1h").must(t)
	here, there := follow(n, plain, revoked), follow(m, plain, revoked)
	short := follow(m, plain, n.carillon(t, "token", "create", "short", "--ttl", "5s").must(t))
	n.carillon(t, "token", "revoke", "revoked").must(t)
	ended("revoked", here)
	ended("revoked, at another node", there)
	ended("expired", short)

	ada := newBrowsing(t, 1)
	ada.get(t, ada.begin(t, n))
	page := follow(n, &ada.Client, "")
	token, err := idp.LogoutToken("ada")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := idptest.SendLogout(n.url()+"/login/backchannel", token); err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
	ended("the provider's word", page)
	select {
	case why := <-stays:
		t.Errorf("one whose reader is still there has ended: %s", why)
	default:
	}
	// Who is nobody has no stream once the cluster is closed.
	nobody := follow(m, plain, "")
	run(t, program{name: "carillon", args: []string{"auth", "on", "--server", "unix://" + filepath.Join(n.dir, "carillon.sock")}}).must(t)
	ended("the cluster was closed", nobody)
}
