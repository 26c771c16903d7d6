// Package fuzz checks that each fuzz test of the tree has a corpus that is committed, and
// is told of in docs/security.md with what it reads, and is run each time.
package fuzz

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var fuzzTest = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\)`)

// fuzzTests are the fuzz tests of the tree, as "PACKAGE NAME".
func fuzzTests(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(d.Name(), "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range fuzzTest.FindAllStringSubmatch(string(text), -1) {
			all = append(all, filepath.ToSlash(dir)+" "+m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEachHasACorpus(t *testing.T) {
	t.Parallel()
	all := fuzzTests(t)
	if len(all) < 40 {
		t.Errorf("only %d fuzz tests were found", len(all))
	}
	for _, one := range all {
		dir, name, _ := strings.Cut(one, " ")
		files, err := os.ReadDir(filepath.Join(root, dir, "testdata", "fuzz", name))
		if err != nil || len(files) == 0 {
			t.Errorf("%s in %s has no corpus under testdata/fuzz/%s: commit seeds", name, dir, name)
		}
	}
}

// Each goes by package fuzzed, so that each run of the tests has changed inputs for it.
func TestEachIsRunEachTime(t *testing.T) {
	t.Parallel()
	for _, one := range fuzzTests(t) {
		dir, name, _ := strings.Cut(one, " ")
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "f.Fuzz(") {
				t.Errorf("%s in %s calls f.Fuzz; call fuzzed.Run(f, ...)", name, path)
			}
		}
	}
}

func TestEachIsTold(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`]+)` \\| `(Fuzz[A-Za-z0-9_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		told[m[1]+" "+m[2]] = true
	}
	for _, one := range fuzzTests(t) {
		if !told[one] {
			t.Errorf("%s is not in the table of docs/security.md", one)
		}
		delete(told, one)
	}
	for one := range told {
		t.Errorf("docs/security.md tells of %s, which there is not", one)
	}
}
