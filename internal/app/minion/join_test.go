package minion

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/carillon-cron/carillon/job"
)

func TestReadToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		path, want, problem string
		warned              int
	}{
		"file":             {path: write("good", "  abc.def\n", 0o600), want: "abc.def"},
		"open file":        {path: write("open", "abc.def", 0o644), want: "abc.def", warned: 1},
		"standard input":   {path: "-", want: "from.stdin"},
		"empty":            {path: write("empty", "\n", 0o600), problem: "holds no token"},
		"something else":   {path: write("long", strings.Repeat("x", 5000), 0o600), problem: "holds no token"},
		"not there":        {path: filepath.Join(dir, "none"), problem: "no such file"},
		"a directory":      {path: dir, problem: "is a directory"},
		"endless like tty": {path: "/dev/zero", problem: "holds no token"},
	} {
		core, logs := observer.New(zap.WarnLevel)
		got, err := readToken(tc.path, strings.NewReader("from.stdin\n"), zap.New(core))
		if got != tc.want || (err != nil) != (tc.problem != "") || err != nil && !strings.Contains(err.Error(), tc.problem) {
			t.Errorf("%s: token %q, error %v; want %q, %q", name, got, err, tc.want, tc.problem)
		}
		if logs.Len() != tc.warned {
			t.Errorf("%s: warned %d times, want %d", name, logs.Len(), tc.warned)
		}
	}
}

func TestTokenIsGivenOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args  []string
		env   string
		bad   bool
		shown bool
	}{
		"file":                 {args: []string{"--join-token-file", "x"}},
		"variable":             {env: "a.b"},
		"command line":         {args: []string{"--join-token", "a.b"}, shown: true},
		"file and variable":    {args: []string{"--join-token-file", "x"}, env: "a.b", bad: true},
		"input of no launcher": {args: []string{"--join-token-file", "-", "--self-update"}, bad: true},
	} {
		o, err := Parse(tc.args, func(name string) (string, bool) { return tc.env, name == "CARILLON_JOIN_TOKEN" && tc.env != "" })
		var invalid *job.InvalidError
		if errors.As(err, &invalid) != tc.bad || o.TokenShown != tc.shown {
			t.Errorf("%s: %v, shown %v", name, err, o.TokenShown)
		}
	}
}
