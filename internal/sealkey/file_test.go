package sealkey

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Invariant 4: however many make the file at once, there is one key, and nothing is
// left beside it.
func TestI4_FilesAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	if _, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("none is there: %v", err)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		made int
		ids  []ID
	)
	for range 8 {
		wg.Go(func() {
			r, did, err := Make(path)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, r.First())
			if did {
				made++
			}
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if made != 1 || len(slices.Compact(ids)) != 1 || ids[0] == "" {
		t.Errorf("%d files were made, with the keys %v", made, ids)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// Invariant 4: a further key comes before the others, and what people wrote stays.
func TestI4_FilesAreGivenAKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "seal.key"), filepath.Join(dir, "link")
	old := newKey(t)
	if err := os.WriteFile(path, []byte("# ours\n\n"+old.Text()+"\n# of 2026\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("seal.key", link); err != nil {
		t.Fatal(err)
	}
	r, err := Rotate(link)
	if err != nil || len(r.IDs()) != 2 || r.IDs()[1] != old.ID() {
		t.Fatalf("%v, %v", r.IDs(), err)
	}
	text, err := os.ReadFile(path)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) != 6 || lines[0] != "# ours" || !strings.HasPrefix(lines[2], Prefix) || lines[3] != old.Text() || lines[4] != "# of 2026" {
		t.Errorf("%q, %v", lines, err)
	}
	read, err := ReadFile(link)
	if err != nil || !slices.Equal(read.IDs(), r.IDs()) {
		t.Errorf("read: %v, %v", read.IDs(), err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode().IsRegular() {
		t.Errorf("the link is %v, %v", st.Mode(), err)
	}
	if _, err := Rotate(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none is there: %v", err)
	}
}

// Invariant 3, and what a file may hold.
func TestI3_FilesThatAreRefused(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	many := ""
	for range maxKeys + 1 {
		many += newKey(t).Text() + "\n"
	}
	for name, c := range map[string]struct {
		mode    fs.FileMode
		content string
		want    string
	}{
		"read by the group":    {0o640, k.Text(), "other accounts may use it (mode 0640); make it 0600"},
		"read by all":          {0o604, k.Text(), "other accounts may use it (mode 0604)"},
		"written by the group": {0o620, k.Text(), "other accounts may use it (mode 0620)"},
		"empty":                {0o600, "\n# nothing\n", "has no key in it"},
		"cut":                  {0o600, "\n" + k.Text()[:20] + "\n", "line 2: that is no seal key"},
		"a typing error": {0o600, k.Text()[:10] + strings.Map(func(c rune) rune {
			if c == 'x' {
				return 'y'
			}
			return 'x'
		}, k.Text()[10:11]) + k.Text()[11:], "line 1: the seal key is not whole"},
		"twice":     {0o600, k.Text() + "\n" + k.Text(), "line 2: the key " + string(k.ID()) + " is there twice"},
		"too many":  {0o600, many, "more than 16 keys"},
		"too large": {0o600, strings.Repeat("#", maxFile+1), "more than 65536 bytes"},
		"good":      {0o600, k.Text(), ""},
	} {
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFile(path)
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), k.Text()[4:12]) {
			t.Errorf("%s: %v", name, err)
		}
		// What is there is kept, whatever is wrong with it.
		if _, _, err := Make(path); err == nil {
			t.Errorf("%s: made anew", name)
		}
	}
	if _, err := ReadFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a directory: %v", err)
	}
	if os.Geteuid() == 0 {
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(path, []byte(k.Text()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		// Root reads what is an account's, and leaves it that account's.
		if _, err := Rotate(path); err != nil {
			t.Error(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st, err)
		}
	}
}
