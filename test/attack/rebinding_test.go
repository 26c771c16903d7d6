package attack

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaveMark is a manifest of a command that leaves a mark.
func leaveMark(mark string) string {
	return "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\nspec:\n  target: {match: '*', run: all}\n  command: [touch, " + mark + "]\n"
}

// noRuns holds that a node has run nothing.
func noRuns(t *testing.T, n *node, mark string) {
	t.Helper()
	res, err := n.get("/v1/runs")
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Runs []json.RawMessage }
	if err := json.Unmarshal([]byte(res.body), &body); err != nil || res.code != http.StatusOK {
		t.Fatalf("runs: %d %s %v", res.code, res.body, err)
	}
	if len(body.Runs) > 0 {
		t.Errorf("the page started a run: %s", body.Runs)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("what the page ordered has run")
	}
}

// everyRoute are attempts at a route of each kind.
func everyRoute(base, mark string) []attempt {
	yaml := map[string]string{"Content-Type": "application/yaml"}
	plain := map[string]string{"Content-Type": "text/plain"}
	var all []attempt
	for _, mode := range []string{"cors", "no-cors"} {
		header := yaml
		if mode == "no-cors" {
			header = plain // what a form may send
		}
		all = append(all,
			attempt{URL: base + "/v1/exec", Method: "POST", Mode: mode, Header: header, Body: leaveMark(mark)},
			attempt{URL: base + "/v1/apply", Method: "POST", Mode: mode, Header: header, Body: leaveMark(mark)},
			attempt{URL: base + "/v1/hooks/default/x?token=x", Method: "POST", Mode: mode},
		)
		for _, path := range []string{"/", "/v1/jobs", "/v1/minion-requests", "/v1/events", "/metrics", "/openapi.json", "/readyz", "/livez", "/static/carillon.css", "/none"} {
			all = append(all, attempt{URL: base + path, Method: "GET", Mode: mode})
		}
	}
	return all
}

// A page of a name that was pointed at the node's address reads nothing and
// starts nothing, on any route. For the browser its requests are of one origin.
func TestRebinding(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	startMinion(t, n, "web1")
	mark := filepath.Join(t.TempDir(), "mark")
	attempts := everyRoute("", mark)
	for i, got := range newSite(t, n.api, attempts).browse(t, evil) {
		if got.Status != http.StatusMisdirectedRequest {
			t.Errorf("%s %s: %v, want 421", attempts[i].Method, attempts[i].URL, got)
		}
	}
	noRuns(t, n, mark)
}

// By its own names, and those that were given, the node is there for the page
// that it serves itself, and for programs.
func TestNodeAnswersToItsNames(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1", "--api-host", evil)
	attempts := []attempt{{URL: "/v1/jobs", Method: "GET", Mode: "cors"}, {URL: "/metrics", Method: "GET", Mode: "same-origin"}}
	s := newSite(t, n.api, attempts)
	for _, name := range []string{evil, "localhost", "127.0.0.1"} {
		for i, got := range s.browse(t, name) {
			if got.Status != http.StatusOK {
				t.Errorf("%s as %s: %v, want 200", attempts[i].URL, name, got)
			}
		}
	}
	_, port, err := net.SplitHostPort(n.api)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"": http.StatusOK, "localhost": http.StatusOK, "127.0.0.1:1": http.StatusOK, "EVIL.test:" + port: http.StatusOK,
		"other.test": http.StatusMisdirectedRequest, evil + ".other.test": http.StatusMisdirectedRequest,
	} {
		req, err := http.NewRequest(http.MethodGet, n.url()+"/v1/jobs", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host // empty: that of the URL
		res, err := ask(req)
		if err != nil || res.code != want {
			t.Errorf("Host %q: %v %v, want %d", host, res, err, want)
		}
		if want == http.StatusMisdirectedRequest && (!strings.Contains(res.body, "--api-host") || !strings.Contains(res.body, evil)) {
			t.Errorf("the refusal does not say which names are good, and how to give one: %s", res.body)
		}
	}
	run(t, program{name: "carillon", args: []string{"nodes", "--server", "unix://" + filepath.Join(n.dir, "carillon.sock")}}).must(t)
}

// A page of another origin that asks for the node by its own address reads
// nothing and starts nothing: not from another site, nor from another port.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	startMinion(t, n, "web1")
	mark := filepath.Join(t.TempDir(), "mark")
	attempts := everyRoute(n.url(), mark)
	s := newSite(t, "127.0.0.1:1", attempts)
	for _, from := range []string{evil, "127.0.0.1"} {
		for i, got := range s.browse(t, from) {
			if got.readable() {
				t.Errorf("%s %s from a page of %s: %v", attempts[i].Method, attempts[i].URL, from, got)
			}
		}
		noRuns(t, n, mark)
	}
}

// No page reaches the embedded etcd, whatever port it tries.
func TestEmbeddedEtcdIsClosedToPages(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	var attempts []attempt
	for _, port := range tcpListeners(t, n.cmd.Process.Pid) {
		base := fmt.Sprintf("http://127.0.0.1:%d", port)
		attempts = append(attempts,
			attempt{URL: base + "/version", Method: "GET", Mode: "cors"},
			attempt{URL: base + "/health", Method: "GET", Mode: "cors"},
			attempt{URL: base + "/v3/kv/range", Method: "POST", Mode: "cors", Header: map[string]string{"Content-Type": "application/json"}, Body: `{"key":"AA==","range_end":"AA=="}`},
			attempt{URL: base + "/members", Method: "GET", Mode: "cors"},
		)
	}
	for i, got := range newSite(t, "127.0.0.1:1", attempts).browse(t, evil) {
		if got.readable() {
			t.Errorf("%s %s: %v", attempts[i].Method, attempts[i].URL, got)
		}
	}
}
