package script

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pageLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	codes    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

// TestLinks follows each link of the documentation to another file of it, and to a
// heading there.
func TestLinks(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, at := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "deploy/*/*.md", "bench/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, at))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return codes.ReplaceAllString(string(text), "")
	}
	followed := 0
	for _, page := range pages {
		for _, m := range pageLink.FindAllStringSubmatch(read(page), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") || strings.HasPrefix(path, "mailto:") {
				continue
			}
			followed++
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link to %s: there is no such file", page, m[1])
				continue
			}
			if anchor != "" && !anchors(read(to))[anchor] {
				t.Errorf("%s: link to %s: no heading there has that name", page, m[1])
			}
		}
	}
	if followed < 50 {
		t.Errorf("only %d links were found", followed)
	}
}

// anchors are the names by which GitHub links to the headings of a page.
func anchors(text string) map[string]bool {
	named := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		named[strings.ReplaceAll(name, " ", "-")] = true
	}
	return named
}
