package cli

import (
	"slices"
	"strings"
	"testing"
)

// A job goes back to what it was before its last edit, or at a generation that is kept; with
// --dry-run nothing is sent.
func TestRollback(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	for _, c := range []struct {
		args, want string
		fails      bool
	}{
		{args: "versions backup", want: "GENERATION"},
		{args: "versions backup -o name", want: "2\n1\n"},
		{args: "rollback backup --dry-run", want: "+++ generation 2"},
		{args: "rollback backup", want: "job default/backup rolled back to generation 2"},
		{args: "rollback job/backup --to 1", want: "rolled back to generation 1"},
		{args: "rollback backup --to 9", want: "no version 9", fails: true},
		{args: "rollback backup --to=-1", want: "give a generation", fails: true},
	} {
		got := carillon(t.Context(), f, "", strings.Fields(c.args)...)
		if text := got.stdout + got.stderr; !strings.Contains(text, c.want) || (got.code != 0) != c.fails {
			t.Errorf("%s: want %q, fails %v:\n%s", c.args, c.want, c.fails, got)
		}
	}
	if want := []string{"restore 2", "restore 1"}; !slices.Equal(f.given, want) {
		t.Errorf("the server was asked for %q, want %q", f.given, want)
	}
}
