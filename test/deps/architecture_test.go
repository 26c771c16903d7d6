package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitecturePage: each folder that docs/architecture.md names is there and opens
// with a doc.go, and each package that others build on is named.
func TestArchitecturePage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 200 {
		t.Errorf("the page has %d lines; it is to be read at once: 200 at most", n)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`\[([a-z/]+)\]\(\.\./([a-z/]+)/doc\.go\)`).FindAllStringSubmatch(string(text), -1) {
		if m[1] != m[2] {
			t.Errorf("%s leads to %s", m[1], m[2])
		}
		named[m[2]] = true
		if _, err := os.Stat(filepath.Join("../..", m[2], "doc.go")); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	for _, pkg := range list(t, "-f", "{{.ImportPath}}", "./scheduler/...", "./lock", "./queue", "./history", "./agentpush", "./worker", "./worker/shim", "./client", "./api", "./job") {
		if room := strings.TrimPrefix(pkg, module+"/"); !named[room] {
			t.Errorf("%s is not on the page", room)
		}
	}
}
