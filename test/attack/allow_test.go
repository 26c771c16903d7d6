package attack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// Someone who orders on behalf of a node has a minion run nothing but what its own
// list has: the program alone is not enough, and how it is spelt does not matter.
func TestOrdersStayWithinTheListOfAMinion(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	thief := stranger(t)
	marker := filepath.Join(openDir(t), "made")
	evil := "#!/bin/sh\necho stolen > " + marker + "\n"
	// What the thief may write: a program by an admitted name, and one that the list
	// names in a careless moment.
	for _, name := range []string{"id", "tool"} {
		path := filepath.Join(thief.home, name)
		if err := os.WriteFile(path, []byte(evil), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(thief.uid), int(thief.gid)); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(openDir(t), "allow.yaml")
	if err := os.WriteFile(list, []byte(`rules:
  - {name: id, program: /usr/bin/id, args: [-u]}
  - {name: print, program: /usr/bin/printenv, args: any, params: [x]}
  - {name: careless, program: `+thief.home+`/tool}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	startMinion(t, n, "m1", "--allow", list)

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"as it stands":                  {[]string{"--", "/usr/bin/id", "-u"}, "0"},
		"by the search path":            {[]string{"--", "id", "-u"}, "0"},
		"with a parameter":              {[]string{"--param", "x=y", "--", "printenv", "CARILLON_PARAM_X"}, "y"},
		"arguments":                     {[]string{"--", "id", "-g"}, `rule "id" (line 2) is nearest, but argument 1 is "-g"`},
		"another account":               {[]string{"--user", "nobody", "--", "id", "-u"}, "it is to run as nobody, and the rule names no user"},
		"a directory":                   {[]string{"--dir", thief.home, "--", "id", "-u"}, "and the rule names no workingDir"},
		"a relative program":            {[]string{"--dir", thief.home, "--", "./id", "-u"}, "the program is " + thief.home + "/id"},
		"a path with dots":              {[]string{"--", "/usr/bin/../.." + thief.home + "/id", "-u"}, "the program is " + thief.home + "/id"},
		"a search path":                 {[]string{"--env", "PATH=" + thief.home, "--", "id", "-u"}, "the program is " + thief.home + "/id"},
		"a library":                     {[]string{"--env", "LD_PRELOAD=" + thief.home + "/x.so", "--", "id", "-u"}, "it sets the variable LD_PRELOAD"},
		"a variable that nobody listed": {[]string{"--env", "XYZZY=1", "--", "printenv", "XYZZY"}, "it sets the variable XYZZY"},
		"a parameter":                   {[]string{"--param", "z=1", "--", "printenv", "CARILLON_PARAM_Z"}, "it has the parameter z"},
		"a shell":                       {[]string{"--", "/bin/sh", "-c", "echo stolen > " + marker}, "and the rule has"},
		"a program of the thief":        {[]string{"--", thief.home + "/tool"}, "belongs to the account"},
	} {
		r := n.carillon(t, append([]string{"exec", "-t", "m1"}, c.args...)...)
		if refused := strings.Contains(c.want, " "); (r.code == 0) == refused || !strings.Contains(r.stdout+r.stderr, c.want) {
			t.Errorf("%s: exit code %d\n%s%s\nwant %q", name, r.code, r.stdout, r.stderr, c.want)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program of the thief ran")
	}
}

// A list that others could change, or one of the former format, is none.
func TestMinionRefusesAListThatCannotHold(t *testing.T) {
	t.Parallel()
	list := filepath.Join(openDir(t), "allow")
	for _, c := range []struct {
		text, want string
		mode       os.FileMode
	}{
		{"rules: []\n", "can be written by others", 0o666},
		{"/usr/bin/id ...\n", "allow:1: this is the former format", 0o600},
		{"rules:\n  - {progam: /usr/bin/id}\n", `did you mean "program"?`, 0o600},
	} {
		if err := os.WriteFile(list, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(list, c.mode); err != nil {
			t.Fatal(err)
		}
		// One that takes the list goes on for ever.
		r := run(t, program{name: "/usr/bin/timeout", args: []string{"-k", "1", "120", filepath.Join(bin, "worker"), "--id", "m1", "--servers", "127.0.0.1:1", "--data-dir", filepath.Join(openDir(t), "m1"), "--allow", list, "--insecure"}})
		if r.code != 2 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: exit code %d, %s", c.text, r.code, r.stderr)
		}
	}
}

// What whoever starts a minion has left open reaches no command.
func TestCommandsHaveNoFilesButTheirOwn(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	start(t, program{
		name: "/bin/sh",
		args: []string{
			"-c", `exec "$@" 3</etc/shadow 5</etc/shadow 9</etc/passwd`, "sh",
			filepath.Join(bin, "worker"), "--id", "m1", "--servers", n.peer, "--data-dir", filepath.Join(openDir(t), "m1"), "--cgroup", "none",
		},
		env: []string{"CARILLON_JOIN_TOKEN=" + n.token(t, "--minions", "m1")},
	})
	await.Until(t, "minion m1 is connected", func() bool { return n.connected(t, "m1") })
	n.apply(t, `
apiVersion: carillon/v1
kind: Script
metadata: {name: open}
spec:
  source: |
    ls -l /proc/$$/fd
    true
`).must(t)
	for _, args := range [][]string{
		{"--", "/bin/sh", "-c", "ls -l /proc/$$/fd; true"},
		{"--script-name", "open"}, // a step
	} {
		out := n.carillon(t, append([]string{"exec", "-t", "m1"}, args...)...).must(t)
		for line := range strings.Lines(out) {
			before, to, ok := strings.Cut(strings.TrimSpace(line), " -> ")
			switch fd := before[strings.LastIndex(before, " ")+1:]; {
			case !ok, fd == "0", fd == "1", fd == "2":
			case strings.Contains(to, "/steps/"): // the shell's own, of its script
			default:
				t.Errorf("%v: a command has the file %s", args, line)
			}
		}
		if !strings.Contains(out, " 0 -> /dev/null") {
			t.Errorf("%v says nothing: %s", args, out)
		}
	}
}
