package script

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/browser"
	"github.com/carillon-cron/carillon/internal/testkit/idptest"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// company is a node whose people log in by a provider, with two teams and a guest; the
// cluster is closed.
type company struct {
	idp *idptest.Provider
	// url is where the page is, socket the node's.
	url, socket string
}

// teams returns the manifests that testdata/oidc.txtar has.
func teams(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/oidc.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "-- teams.yaml --\n")
	file, _, found := strings.Cut(rest, "-- search.yaml --\n")
	if !found {
		t.Fatal("testdata/oidc.txtar has no teams.yaml")
	}
	return file
}

func newCompany(t *testing.T) *company {
	t.Helper()
	idp, err := idptest.New(idptest.User{Name: "ada", Groups: []string{"billing"}}, idptest.User{Name: "bob", Groups: []string{"search"}}, idptest.User{Name: "carol", Groups: []string{"guests"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(idp.Close)
	reserved, err := ports.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reserved.Release)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(idptest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", reserved.Ports[0])
	c := &company{idp: idp, url: "http://" + at, socket: "unix://" + filepath.Join(dir, "s.sock")}
	node := exec.Command("scheduler", "--embedded-etcd", "--node", "n1", "--data-dir", filepath.Join(dir, "node"), "--socket", filepath.Join(dir, "s.sock"),
		"--listen", at, "--api-plain", "--peer-listen", "127.0.0.1:0", "--oidc-issuer", idp.Issuer, "--oidc-client-id", idptest.ClientID, "--oidc-client-secret-file", secret, "--oidc-redirect-base", c.url)
	node.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Kill()
		_ = node.Wait()
	})
	await.Until(t, "the node is ready", func() bool {
		res, err := http.Get(c.url + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	c.asRoot(t, teams(t), "apply", "-f", "-")
	c.asRoot(t, "", "auth", "on")
	return c
}

// asRoot runs a command over the node's socket.
func (c *company) asRoot(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("carillon", append(args, "--server", c.socket)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("carillon %v: %v\n%s", args, err, out)
	}
}

// enters has somebody log in, in a browser of its own, and returns it at the page that
// they wanted.
func (c *company) enters(t *testing.T, name, path string) *browser.Page {
	t.Helper()
	p := browser.Open(t)
	p.Go(c.url + path)
	if at := p.Eval("location.pathname"); at != "/login" {
		t.Fatalf("%s is shown %v without a login:\n%s", name, at, p.Text())
	}
	p.Click("#provider")                               // to the provider,
	p.Click("#" + name)                                // where they say who they are,
	if at := p.Eval("location.pathname"); at != path { // and back
		t.Fatalf("%s is at %v:\n%s", name, at, p.Text())
	}
	return p
}

// links are the parts of the page that the navigation leads to.
func links(p *browser.Page) []string {
	var out []string
	for _, l := range p.Eval(`[...document.querySelectorAll("nav a")].map(a => a.getAttribute("href"))`).([]any) {
		out = append(out, l.(string))
	}
	return out
}

// status asks for a path as the page's scripts would.
func status(p *browser.Page, path string) any {
	quoted, _ := json.Marshal(path) // it can be
	return p.Eval(fmt.Sprintf(`fetch(%s).then(r => r.status)`, quoted))
}

// TestPeopleInABrowser: a member of a team sees what is the team's, a guest all, and
// neither has a button but to log out; after that, nothing.
func TestPeopleInABrowser(t *testing.T) {
	t.Parallel()
	c := newCompany(t)

	ada := c.enters(t, "ada", "/runs")
	ada.Go(c.url + "/")
	if text := ada.Text(); !strings.Contains(text, "invoices") || strings.Contains(text, "index") || !strings.Contains(text, "ada@example.org") {
		t.Errorf("Ada reads %s", text)
	}
	for _, l := range links(ada) {
		if l == "/nodes" || l == "/minions" || l == "/shards" {
			t.Errorf("Ada is led to %s, which is not the team's", l)
		}
	}
	for path, want := range map[string]float64{
		"/jobs/billing/invoices": 200, "/jobs/search/index": 404, "/v1/namespaces/search/jobs/index": 404, "/nodes": 403, "/v1/nodes": 403,
	} {
		if got := status(ada, path); got != want {
			t.Errorf("Ada asks for %s: %v, want %v", path, got, want)
		}
	}

	carol := c.enters(t, "carol", "/")
	if text := carol.Text(); !strings.Contains(text, "invoices") || !strings.Contains(text, "index") {
		t.Errorf("Carol reads %s", text)
	}
	all := links(carol)
	if len(all) < 6 {
		t.Errorf("Carol is led to %v", all)
	}
	for _, path := range append(all, "/jobs/billing/invoices", "/jobs/search/index") {
		carol.Go(c.url + path)
		if status := carol.Eval(`performance.getEntriesByType("navigation")[0].responseStatus`); status != 200.0 {
			t.Errorf("Carol is answered %v at %s", status, path)
		}
		// Those that only ask for other lines of a list change nothing.
		buttons := carol.Eval(`[...document.querySelectorAll("button, input[type=submit]")].filter(b => !b.form || b.form.method !== "get").map(b => b.innerText).join()`)
		if buttons != "Log out" {
			t.Errorf("Carol has the buttons %q at %s", buttons, path)
		}
	}
	if got := carol.Eval(`fetch("/v1/namespaces/billing/jobs/invoices/run", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}).then(r => r.status)`); got != 403.0 {
		t.Errorf("Carol runs a job: %v", got)
	}

	// A page that stays open learns that the login has ended.
	cookies := ada.Eval("document.cookie")
	if cookies != "" {
		t.Errorf("scripts see %v", cookies)
	}
	ada.Click("form.who button")
	if at := ada.Eval("location.pathname"); at != "/login" {
		t.Errorf("after logging out, Ada is at %v", at)
	}
	if got := status(ada, "/v1/jobs"); got != 401.0 {
		t.Errorf("after logging out: %v", got)
	}
}

// TestProviderSaysNo: who is not let in by the provider is told so, and may try again.
func TestProviderSaysNo(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	p := browser.Open(t)
	p.Go(c.url + "/")
	p.Click("#provider")
	p.Click("#deny")
	if text := p.Text(); !strings.Contains(text, "said no") || p.Eval("location.pathname") != "/login/callback" {
		t.Errorf("%s", text)
	}
	p.Click("#provider")
	p.Click("#bob")
	if text := p.Text(); !strings.Contains(text, "index") || strings.Contains(text, "invoices") {
		t.Errorf("Bob reads %s", text)
	}
}
