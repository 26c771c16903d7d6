package lock

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var allMutants = flag.Bool("mutants", false, "try all known-bad mutants, not two of them")

// mutant is this package with one known mistake.
type mutant struct {
	name string
	file string
	// was and is: the text that is replaced; it must occur exactly once.
	was, is string
	// caught is the tests of which at least one must fail.
	caught string
	// short: it is tried in every run.
	short bool
	// hangs: it is caught by what does not come about any more.
	hangs bool
}

// mutants are mistakes that others have made, and some of our own.
func mutants() []mutant {
	return []mutant{
		{
			name: "a grant compares nothing", file: "enter.go", short: true,
			was: "free := slices.Concat(unused, c.vacant(), c.untaken())", is: "free := slices.Concat(unused)",
			caught: "TestLinear",
		},
		{
			name: "the deadline counts from the answer, and beyond", file: "renew.go",
			was: "s.extend(r.sent + r.ttl - s.cfg.Margin)", is: "s.extend(s.now() + r.ttl + s.cfg.Margin)",
			caught: "TestI3|TestLinear",
		},
		{
			name: "a release is not fenced", file: "write.go", short: true,
			was: `clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
		Then(append([]clientv3.Op{clientv3.OpDelete(key)}, also...)...)`,
			is: `clientv3.Compare(clientv3.CreateRevision(key), ">", 0), clientv3.Compare(clientv3.ModRevision(key), ">", rev-rev)).
		Then(append([]clientv3.Op{clientv3.OpDelete(key)}, also...)...)`,
			caught: "TestI6",
		},
		{
			name: "a waiter that gives up leaves with its own context", file: "mutex.go",
			was: `c.s.background(func() {
			c.s.persist("leave a queue", func(ctx context.Context) error { return c.leave(ctx, "") })
		})`,
			is: `_ = c.leave(ctx, "")`, caught: "TestMutexConformance|TestLinear", hangs: true,
		},
		{
			name: "a hand-over does not compare the fence", file: "ownership.go",
			was: "lease: to, cmps: []clientv3.Cmp{o.Fence()}, also: also,", is: "lease: to, also: also,",
			caught: "TestI7|TestI6|Handover",
		},
		{
			name: "a renewal after the deadline revives the session", file: "session.go",
			was: "if int64(now) >= s.deadline.Load() {\n\t\ts.finishLocked(fmt.Errorf(\"%w: a renewal came after the deadline\", ErrLost))\n\t\treturn\n\t}",
			is:  "", caught: "TestI3",
		},
		{
			name: "a hand-over does not compare the waiter's place", file: "release.go",
			was: "unchanged(placeKey, next.Rev),", is: `clientv3.Compare(clientv3.CreateRevision(placeKey), ">", 0*next.Rev-1),`,
			caught: "TestMutexConformance|TestLinear|TestI",
		},
		{
			name: "a seizure takes any grant", file: "ownership.go",
			was: `clientv3.Compare(clientv3.ModRevision(g.Key), "=", rev)}, g.If...)`, is: `clientv3.Compare(clientv3.ModRevision(g.Key), ">", 0*rev)}, g.If...)`,
			caught: "TestI6_Seize",
		},
	}
}

// TestMutants builds the package with one mistake after another and expects its
// tests to fail: what cannot fail shows nothing. `go test ./lock -mutants` tries
// all of them.
func TestMutants(t *testing.T) { // it compiles, and wants the machine for itself
	if os.Getenv(mutantVariable) != "" {
		return // we are one
	}
	for _, m := range mutants() {
		if !*allMutants && (!m.short || testing.Short()) {
			continue
		}
		t.Run(m.name, func(t *testing.T) { tryMutant(t, &m) })
	}
}

const mutantVariable = "CARILLON_LOCK_MUTANT"

func tryMutant(t *testing.T, m *mutant) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(here, m.file)
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.was); n != 1 {
		t.Fatalf("%s has the text of the mutant %d times, want once: bring the mutant up to date", m.file, n)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, m.file)
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.was, m.is, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	plan, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "lock.test")
	if err := os.WriteFile(plan, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s", "-overlay", plan, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	limit := "30m"
	if m.hangs {
		limit = "90s"
	}
	run := exec.CommandContext(t.Context(), program, "-test.run", "^("+m.caught+")", "-test.failfast", "-test.timeout", limit, "-linear-for", "4s")
	run.Env = append(os.Environ(), mutantVariable+"=1")
	out, err := run.CombinedOutput()
	if err == nil {
		t.Errorf("the mutant survives:\n%s", out)
		return
	}
	if !m.hangs && strings.Contains(string(out), "panic: test timed out") {
		t.Errorf("the mutant was not caught in %s:\n%s", limit, out)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "--- FAIL") || strings.HasPrefix(line, "panic: test timed out") {
			t.Log("caught:", strings.TrimSpace(line))
		}
	}
}
