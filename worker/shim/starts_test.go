package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestI8_StartsAreNoted: what a shim has begun to start is read from its notes, also
// when it died while it wrote them, and nothing is told from notes that are not there.
func TestI8_StartsAreNoted(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l, err := newStartLog("A", func() []string { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if s := ReadStarts(dir, "A"); !s.Never("k1") {
		t.Error("nothing was started")
	}
	if err := l.begin("k1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.file.WriteString("k2-1"); err != nil { // torn
		t.Fatal(err)
	}
	s := ReadStarts(dir, "A")
	for key, never := range map[string]bool{"k1": false, "k2-1": false, "k2-17": false, "k3": true, "k": true} {
		if s.Never(key) != never {
			t.Errorf("never started %s: %v, want %v", key, !never, never)
		}
	}
	for _, instance := range []string{"B", "", "../x/starts-A"} {
		if ReadStarts(dir, instance).Never("k3") {
			t.Errorf("notes of %q are not there, and tell something", instance)
		}
	}
	SweepStarts(dir, func(string) bool { return true })
	if !ReadStarts(dir, "A").Never("k3") {
		t.Error("notes that are wanted were removed")
	}
	SweepStarts(dir, func(instance string) bool { return instance != "A" })
	if ReadStarts(dir, "A").Never("k3") {
		t.Error("notes that nobody wants are there")
	}
}

// TestI8_NotesAreBounded: what was forgotten leaves the notes, and what was not stays.
func TestI8_NotesAreBounded(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l, err := newStartLog("A", func() []string { return []string{"kept"} })
	if err != nil {
		t.Fatal(err)
	}
	begin := func(key string) {
		if err := l.begin(key); err != nil {
			t.Fatal(err)
		}
	}
	begin("kept")
	begin("old")
	for i := range 3 * rewriteAt / 64 {
		begin(fmt.Sprintf("%064d", i))
	}
	begin("new")
	s := ReadStarts(dir, "A")
	if s.Never("kept") || s.Never("new") || !s.Never("old") {
		t.Errorf("never started: kept %v, new %v, old %v; want only the last", s.Never("kept"), s.Never("new"), s.Never("old"))
	}
	if st, err := os.Stat(filepath.Join(dir, "starts-A")); err != nil || st.Size() > 2*rewriteAt {
		t.Errorf("the file: %v, %v", st, err)
	}
}

// TestI8_NotesThatCannotBeWritten: they are taken away, so that nobody takes what is
// not in them for not started.
func TestI8_NotesThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l, err := newStartLog("A", func() []string { return nil })
	if err != nil {
		t.Fatal(err)
	}
	_ = l.file.Close() // writes fail
	if err := l.begin("k1"); err != nil {
		t.Fatalf("it may be started: %v", err)
	}
	if ReadStarts(dir, "A").Never("k1") {
		t.Error("what was started is told as not started")
	}
	if err := l.begin("k2"); err != nil {
		t.Errorf("the next one may be, too: %v", err)
	}
}
