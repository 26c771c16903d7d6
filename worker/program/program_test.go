package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"a", "b", "a/folder"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir+"/b/tool", 0o755)
	write(t, dir+"/a/text", 0o644)
	for _, c := range []struct{ name, search, want, refusal string }{
		{"tool", dir + "/a:" + dir + "/b", dir + "/b/tool", ""},
		{"b/tool", "", dir + "/b/tool", ""},
		{dir + "/b/tool", "", dir + "/b/tool", ""},
		{"tool", ":.:b", "", "is not in the search path"},
		{"text", dir + "/a", "", "is not executable"},
		{"folder", dir + "/a", "", "is a directory"},
		{"a/gone", "", "", "does not exist"},
	} {
		got, err := Find(c.name, c.search, dir)
		if err == nil && got != c.want || (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s in %q: %q, %v", c.name, c.search, got, err)
		}
	}
}

// Locate and At agree where the kernel would, whatever links there are.
func TestLocateFollowsLinks(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/x/y", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/x/tool", 0o755)
	for from, to := range map[string]string{"l": "x/y", "x/y/up": "../tool", "abs": dir + "/x/tool", "loop": "loop", "two": "l/../y/up"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]Place{
		"x/tool": {dir + "/x/tool", dir + "/x/tool"}, "l/up": {dir + "/x/y/up", dir + "/x/tool"}, "abs": {dir + "/abs", dir + "/x/tool"},
		"two": {dir + "/two", dir + "/x/tool"}, "loop": {}, "gone": {}, "x/tool/z": {},
	} {
		l, err := Locate(dir+"/"+path, os.Geteuid())
		at, err2 := At(dir + "/" + path)
		if (err == nil) != (want != Place{}) || (err2 == nil) != (err == nil) || err == nil && (l.Place != want || at != want) {
			t.Errorf("%s: %+v, %v; %+v, %v", path, l, err, at, err2)
		}
	}
	if _, err := Locate("tool"); err == nil {
		t.Error("a relative path is located")
	}
}

// What was looked at is told from what took its place, and from what became of it.
func TestIdentityTellsAnotherFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tool")
	write(t, path, 0o755)
	was, err := Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := was.Check(path); err != nil {
		t.Error(err)
	}
	write(t, path+".new", 0o755)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := was.Check(path); err == nil || !strings.Contains(err.Error(), "was changed or replaced") {
		t.Errorf("replaced: %v", err)
	}
	if was, err = Identify(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if was.Check(path) == nil {
		t.Error("another content is not told")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if was.Check(path) == nil {
		t.Error("a file that is gone is not told")
	}
}
