package backup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What only has the name of a backup does not count: not as the newest, and not among those
// that are kept.
func TestNamesAreNotBelieved(t *testing.T) {
	t.Parallel()
	dir := Directory(t.TempDir())
	now := time.Date(2027, 1, 10, 0, 0, 0, 0, time.UTC)
	for name, text := range map[string]string{
		"carillon-20270101T000000Z-1-1.backup":     magic + "older",
		"carillon-20270102T000000Z-1-2.backup":     magic + "newer",
		"carillon-20270103T000000Z-1-3.backup.age": agedMagic + ".org/v1",
		"carillon-20270104T000000Z-1-4.backup":     "",
		"carillon-20270105T000000Z-1-5.backup.age": "something else",
		"carillon-99990101T000000Z-1-1.backup":     magic + "to come",
		"carillon-20270110T003000Z-1-6.backup":     magic + "of a clock that is a little ahead",
	} {
		if err := os.WriteFile(dir.Path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := List(t.Context(), dir, now)
	if err != nil || len(all) != 7 {
		t.Fatalf("%+v, %v", all, err)
	}
	var got []string
	for _, k := range all {
		got = append(got, k.Damaged)
	}
	want := []string{"its name says a time to come", "", "it does not begin as a backup", "it does not begin as a backup", "", "", ""}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("damaged are %q, want %q", got, want)
	}
	if sound := Sound(all); len(sound) != 4 || sound[0].Revision != 6 {
		t.Errorf("sound are %+v", sound)
	}
	gone, err := Prune(t.Context(), dir, 3, false, now)
	if err != nil || len(gone) != 1 || gone[0].Revision != 1 || gone[0].TakenAt.Year() != 2027 {
		t.Errorf("removed are %+v, %v", gone, err)
	}
}

// What is no regular file is told, and not waited for.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
