package job

import (
	"os/exec"
	"strings"
	"testing"
)

// A command gets its standard input whatever stands in both, as one process, and its exit
// code is that of the command.
func TestStdinReachesTheCommand(t *testing.T) {
	t.Parallel()
	for _, stdin := range []string{"one line", "two\nlines\n", "END\nENDD\n$HOME `id` \\ 'q' \"", "\n\n", " lead\n\ttab"} {
		spec := Spec{Command: []string{"sh", "-c", `printf '%s|' "$0" "$1"; cat; exit 3`, "it's", "$HOME `id`"}, Stdin: stdin}
		command, script := spec.Started()
		if command != nil || script == nil || len(script.Interpreter) > 0 {
			t.Fatalf("%v %+v", command, script)
		}
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script.Source).Output()
		want := "it's|$HOME `id`|" + strings.TrimSuffix(stdin, "\n") + "\n"
		if err == nil || err.Error() != "exit status 3" || string(out) != want {
			t.Errorf("%q: %v, %q, want %q", stdin, err, out, want)
		}
	}
	plain := Spec{Command: []string{"true"}}
	if command, script := plain.Started(); len(command) != 1 || script != nil {
		t.Errorf("%v %v", command, script)
	}
}

// A standard input is for commands that are processes, and is bounded.
func TestStdinIsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want string
		spec Spec
	}{
		{"", Spec{Command: []string{"cat"}, Stdin: strings.Repeat("x", MaxStdin)}},
		{"at most 2048", Spec{Command: []string{"cat"}, Stdin: strings.Repeat("x", MaxStdin+1)}},
		{"a zero byte", Spec{Command: []string{"cat"}, Stdin: "\x00"}},
		{"bytes together", Spec{Command: []string{"cat", strings.Repeat("x", SmallScript)}, Stdin: "x"}},
		{"only with command", Spec{Script: &Script{Source: "cat"}, Stdin: "x"}},
		{"only with command", Spec{Command: []string{"go:x"}, Stdin: "x"}},
		{"only with command", Spec{Steps: []Step{{Shell: "cat"}}, Stdin: "x"}},
		{"only with command", Spec{Dispatch: &QueueDispatch{Queue: "q"}, Stdin: "x"}},
	} {
		got := ""
		for _, p := range test.spec.Validate() {
			got += p.Path + " " + p.Message + "\n"
		}
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", test.spec, got, test.want)
		}
	}
}
