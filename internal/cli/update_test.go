package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
)

// What sign prints is what verify accepts, with the right keys and not too late;
// all of it works without a server.
func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	dir := writeFiles(t, map[string]string{"worker": "program"})
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(want int, stderr string, args ...string) string {
		t.Helper()
		got := carillon(t.Context(), f, "", append([]string{"minions", "update"}, args...)...)
		if got.code != want || !strings.Contains(got.stderr, stderr) {
			t.Errorf("%v: want exit code %d and %q on stderr, got\n%s", args, want, stderr, got)
		}
		return got.stdout
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for _, key := range []string{"one", "two"} {
		run(0, "", "keygen", "--out", at(key))
		if info, err := os.Stat(at(key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key %s: %v, %v", key, info, err)
		}
	}
	run(exitUsage, "exists", "keygen", "--out", at("one"))
	sign := func(args ...string) string {
		return run(0, "", append([]string{"sign", "--key", at("one"), "--release", "7", "--version", "1.4", "--artifact", platform + "=" + at("worker")}, args...)...)
	}
	keep := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keep("good", sign("--base-url", "https://repo/x/"))
	out := run(0, "", "verify", "--keys", at("one.pub"), at("good"), "-o", "json")
	for _, want := range []string{`"url": "https://repo/x/worker"`, `"size": 7`, `"release": 7`} {
		if !strings.Contains(out, want) {
			t.Errorf("want %s in\n%s", want, out)
		}
	}
	run(exitFailed, "not signed by enough trusted keys", "verify", "--keys", at("two.pub"), at("good"))
	run(exitFailed, "needs 2", "verify", "--keys", at("one.pub"), "--threshold", "2", at("good"))
	keep("both", sign("--key", at("two")))
	public := ""
	for _, key := range []string{"one.pub", "two.pub"} {
		b, err := os.ReadFile(at(key))
		if err != nil {
			t.Fatal(err)
		}
		public += string(b)
	}
	keep("keys", public)
	run(0, "", "verify", "--keys", at("keys"), "--threshold", "2", at("both"))
	keep("late", sign("--expires", "-1h"))
	run(exitFailed, "has expired", "verify", "--keys", at("one.pub"), at("late"))

	// All that is wrong is told at once.
	run(exitUsage, "no such file", "sign", "--key", at("none"), "--release", "7", "--version", "1", "--artifact", "x")
	run(exitUsage, "want PLATFORM=PATH_OR_URL", "sign", "--key", at("none"), "--release", "7", "--version", "1", "--artifact", "x")
	run(exitUsage, "release is -1", "sign", "--key", at("one"), "--release", "-1", "--version", "1", "--artifact", platform+"="+at("worker"))
	run(exitUsage, "want NAME=TARGET", "start", "--manifest", at("good"), "--group", "web1")
	run(exitUsage, "no --group is given", "start", "--manifest", at("good"))
	run(exitUsage, "signed manifest", "start", "--manifest", at("worker"), "--group", "all=*")
}

// What the API has in whole seconds or counts, where zero stands for a default,
// is refused when it is less than one: it would count as not given.
func TestNothingIsTakenForADefault(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for _, args := range [][]string{
		{"minions", "token", "--ttl", "500ms"}, {"minions", "token", "--ttl=-5m"}, {"minions", "token", "--uses", "0"},
		{"minions", "update", "start", "--manifest", "none", "--group", "a=*", "--patience", "500ms"},
	} {
		if got := carillon(t.Context(), f, "", args...); got.code != exitUsage || !strings.Contains(got.stderr, " or more") {
			t.Errorf("%v: %s", args, got)
		}
	}
}

// How far an update has come is told in one line: how many were told of the release,
// and how many have done it, over all groups.
func TestUpdateTellsHowManyWereToldAndHaveDoneIt(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.update = api.Update{Release: 7, Version: "1.4", Status: "running", Groups: []api.UpdateProgress{
		{UpdateGroup: api.UpdateGroup{Name: "canary", Match: "web1"}, Phases: map[api.UpdatePhase]int{api.UpdateHealthy: 1}},
		{UpdateGroup: api.UpdateGroup{Name: "rest", Match: "*"}, Phases: map[api.UpdatePhase]int{
			api.UpdateHealthy: 4, api.UpdateInFlight: 2, api.UpdateLost: 1, api.UpdateFailed: 3, api.UpdatePending: 5, api.UpdateAbsent: 6, api.UpdateManaged: 9,
		}},
	}}
	got := carillon(t.Context(), f, "", "minions", "update", "status")
	const want = " 11 of 22 were told, 5 have done it, 3 under way, 3 failed, 5 not told yet, 6 not connected, told when they are back, 9 left alone, as they do not update themselves\n"
	if got.code != 0 || !strings.Contains(got.stdout, want) {
		t.Errorf("want the line %q in\n%s", want, got)
	}
}
