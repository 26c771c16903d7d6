package attack

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A cluster that was just made answers nobody on its port but probes, whatever account
// asks; root sets it up over the socket.
func TestANewClusterIsClosed(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1", "--access", "closed")
	mark := filepath.Join(t.TempDir(), "mark")
	for _, route := range everyRoute("http://"+n.api, mark) {
		req, err := http.NewRequest(route.Method, route.URL, strings.NewReader(route.Body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range route.Header {
			req.Header.Set(k, v)
		}
		if path := req.URL.Path; path == "/livez" || path == "/readyz" || strings.HasPrefix(path, "/static/") {
			continue
		}
		res, err := ask(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.code < 400 && !strings.Contains(res.body, "<h1>Log in</h1>") { // where the page leads
			t.Errorf("%s %s: %d %s", route.Method, req.URL.Path, res.code, res.body)
		}
	}
	for name, as := range map[string]*account{"us": nil, "a stranger": stranger(t)} {
		if r := n.carillonAs(t, as, "get", "jobs"); r.code != 5 {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.stderr)
		}
		if r := n.carillonAs(t, as, "auth", "off"); r.code != 5 {
			t.Errorf("%s opens it: exit code %d: %s", name, r.code, r.stderr)
		}
	}
	if info, err := os.Stat(filepath.Join(n.dir, "bootstrap-token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the bootstrap token: %v, %v", info, err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a command has run")
	}
	socket := "unix://" + filepath.Join(n.dir, "carillon.sock")
	run(t, program{name: "carillon", args: []string{"token", "create", "ann", "--ttl", "1h", "--server", socket}}).must(t)
}
