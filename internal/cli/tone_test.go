package cli

import (
	"bytes"
	"strings"
	"testing"
)

// onTerminal runs a command as before a terminal.
func onTerminal(t *testing.T, f *fake, width int, stdin string, env []string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	a, end := testApp(f, args, env...)
	a.opts.Stdin = strings.NewReader(stdin)
	a.out.w = &visible{w: &out, width: width, toned: tones(a.env)}
	end(a.main(t.Context()))
	return out.String()
}

func TestTones(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got, want := onTerminal(t, f, 0, "", nil, "top", "minions"), "MINION  RUNNING  \x1b[0mSTATE\x1b[0m         NODE\nweb-1   2        \x1b[32mconnected\x1b[0m     n1\nweb-2   0        \x1b[31mdisconnected\x1b[0m  -\n"; got != want {
		t.Errorf("want\n%q, got\n%q", want, got)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if got := onTerminal(t, f, 0, "", []string{env}, "top", "minions"); strings.ContainsRune(got, 0x1b) || strings.ContainsRune(got, rune(toneEnd)) {
			t.Errorf("%s: got\n%q", env, got)
		}
	}
	// Elsewhere there are none, and nothing is cut.
	if got := carillon(t.Context(), f, "", "top", "minions"); strings.ContainsRune(got.stdout, 0x1b) || strings.ContainsRune(got.stdout, rune(toneEnd)) {
		t.Errorf("not a terminal: got\n%q", got.stdout)
	}
	changed := strings.Replace(storedBackup, "attempts: 3", "attempts: 5", 1)
	if got := onTerminal(t, f, 0, changed, nil, "diff", "-f", "-"); !strings.Contains(got, "\x1b[31m-    attempts: 3\x1b[0m\n\x1b[32m+    attempts: 5\x1b[0m\n") {
		t.Errorf("diff: got\n%q", got)
	}
}

// TestRowsAreCut: on a terminal no row is longer than a line, unless -o wide wants all.
func TestRowsAreCut(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	const width = 30
	got := onTerminal(t, f, width, "", []string{"NO_COLOR=1"}, "get", "jobs", "-A")
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width || n == width && !strings.HasSuffix(line, "…\n") {
			t.Errorf("%d characters in %q", n, line)
		}
	}
	if wide := onTerminal(t, f, width, "", []string{"NO_COLOR=1"}, "get", "jobs", "-A", "-o", "wide"); strings.Contains(wide, "…") {
		t.Errorf("-o wide is cut:\n%s", wide)
	}
}

// TestOthersHaveNoTones: what others wrote colours nothing.
func TestOthersHaveNoTones(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	f.runs[0].Job = toneBad.of("x")
	f.runs[0].Reason = string(rune(toneGood))
	f.output = []string{written("web-1", 1, toneBad.of("red")+"\n")}
	if got := onTerminal(t, f, 0, "", nil, "runs"); strings.Contains(got, "\x1b[31mx") || strings.Count(got, "\x1b[32m") != 1 {
		t.Errorf("runs: got\n%q", got)
	}
	if got := onTerminal(t, f, 0, "", nil, "logs", string(f.runs[2].RunID)); strings.ContainsRune(got, 0x1b) {
		t.Errorf("logs: got\n%q", got)
	}
}
