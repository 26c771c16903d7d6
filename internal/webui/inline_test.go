package webui

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestNothingIsInline: the policy of the pages allows scripts and styles of files only, so
// that text which gets past the escaping runs nothing; no template needs more.
func TestNothingIsInline(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>\s*[^<\s]|<script>|<style|\sstyle\s*=|\son[a-z]+\s*=\s*["']|javascript:|unsafe-`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if at := inline.FindIndex(text); at != nil {
			t.Errorf("%s: %q is inline", file, text[at[0]:min(at[1]+40, len(text))])
		}
	}
}
