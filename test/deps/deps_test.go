package deps

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/carillon-cron/carillon"

// no is something that must not be linked, and why. A pattern is a package, or
// a prefix of packages when it ends in "/...".
type no struct{ pattern, why string }

// forTests is what no binary may link.
func forTests() []no {
	const why = "it is for tests"
	return []no{
		{"testing/...", why},
		{module + "/test/...", why},
		{module + "/bench/...", why},
		{module + "/carillontest/...", why},
		{module + "/internal/testkit/...", why},
		{module + "/agentpush/agenttest/...", why},
		{module + "/handler/handlertest/...", why},
		{module + "/history/historytest/...", why},
		{module + "/lock/locktest/...", why},
		{module + "/queue/queuetest/...", why},
		{"github.com/anishathalye/porcupine/...", why},
		{"github.com/rogpeppe/go-internal/testscript/...", why},
		{"go.uber.org/goleak/...", why},
		{"pgregory.net/rapid/...", why},
	}
}

// TestBinaries holds, per binary, what it must not link, directly or through
// others.
func TestBinaries(t *testing.T) {
	t.Parallel()
	for binary, nos := range map[string][]no{
		"worker": {
			{"go.etcd.io/...", "minions never reach etcd"},
			{module + "/agentpush", "the hub is the node's side; a minion needs agentpb only"},
			{module + "/configs/...", "the worker has few settings; viper would double what it links"},
			{module + "/history/...", "records are the node's"},
			{module + "/internal/control/...", "it is the node's API"},
			{module + "/internal/etcdkv/...", "minions never reach etcd"},
			{module + "/internal/httpapi/...", "it is the node's API"},
			{module + "/internal/manifest/...", "a minion gets orders, not job files"},
			{module + "/internal/webui/...", "the page is the node's"},
			{module + "/lock/...", "minions never reach etcd"},
			{module + "/queue/...", "minions never reach etcd"},
			{module + "/schedule/...", "a minion has no plans of its own"},
			{module + "/scheduler/...", "it is the node's engine"},
			{"github.com/danielgtaylor/huma/...", "it is the node's API"},
			{"github.com/spf13/cobra/...", "one command needs no tree of commands"},
			{"github.com/spf13/viper/...", "see configs"},
		},
		"scheduler": {
			{module + "/internal/cli/...", "the command line is a program of its own"},
			{"github.com/spf13/cobra/...", "one command needs no tree of commands"},
		},
		// `carillon dev` is in it, so it links the node, the minion and etcd.
		"carillon": {},
	} {
		t.Run(binary, func(t *testing.T) {
			t.Parallel()
			refuse(t, "./cmd/"+binary, append(nos, forTests()...))
		})
	}
}

// TestPackages holds which way imports point: down, and not sideways.
func TestPackages(t *testing.T) {
	t.Parallel()
	const (
		pure     = "it is pure: no I/O, no logging"
		sideways = "lock, queue, history, agentpush and worker do not know one another"
		up       = "dependencies point down"
		own      = "packages take their own Config"
		narrow   = "the engine declares the small interface that it needs"
	)
	above := []no{
		{module + "/scheduler/...", up},
		{module + "/internal/app/...", up},
		{module + "/internal/cli/...", up},
		{module + "/internal/control/...", up},
		{module + "/internal/httpapi/...", up},
		{module + "/internal/webui/...", up},
		{module + "/configs/...", own},
	}
	mute := []no{{"go.etcd.io/...", pure}, {"go.uber.org/...", pure}, {"net/http", pure}, {"google.golang.org/grpc/...", pure}}
	for pkg, nos := range map[string][]no{
		"job":    append([]no{{module + "/...", up}}, mute...),
		"api":    append([]no{{module + "/internal/...", "what etcd holds is not what the API tells"}}, append(above, mute...)...),
		"client": {{module + "/internal/...", "it is for others' programs"}, {"go.etcd.io/...", "it speaks HTTP"}},
		"client/overetcd": append([]no{
			{module + "/internal/app/...", "it is no node"}, {module + "/internal/cli/...", up}, {module + "/internal/webui/...", "it has no page"},
			{module + "/scheduler", "it runs no jobs"}, {module + "/worker/...", "it runs no tasks"}, {"go.etcd.io/etcd/server/...", "etcd is asked, and not run"},
		}, forTests()...),
		"handler": append([]no{
			{module + "/internal/...", "it is for others' programs"}, {module + "/api/...", "it speaks to minions"}, {module + "/worker/...", "it runs beside a minion"},
			{"go.etcd.io/...", pure}, {"go.uber.org/...", "slog will do"}, {"google.golang.org/...", "it speaks lines of JSON"}, {"net/http", "it speaks lines of JSON"},
		}, forTests()...),
		"schedule":  append([]no{{module + "/internal/...", up}}, mute...),
		"lock":      append([]no{{module + "/queue/...", sideways}, {module + "/agentpush/...", sideways}, {module + "/worker/...", sideways}, {module + "/history/...", sideways}}, above...),
		"queue":     append([]no{{module + "/lock/...", sideways}, {module + "/agentpush/...", sideways}, {module + "/worker/...", sideways}, {module + "/history/...", sideways}}, above...),
		"history":   append([]no{{module + "/lock/...", sideways}, {module + "/queue/...", sideways}, {module + "/agentpush/...", sideways}, {"go.etcd.io/...", "stores stand behind an interface"}}, above...),
		"agentpush": append([]no{{module + "/lock/...", sideways}, {module + "/queue/...", sideways}, {module + "/worker/...", sideways}, {module + "/history/...", sideways}, {"go.etcd.io/...", "the app feeds the hub from etcd"}}, above...),
		"worker":    append([]no{{module + "/lock/...", sideways}, {module + "/queue/...", sideways}, {module + "/agentpush", sideways}, {"go.etcd.io/...", "minions never reach etcd"}, {"github.com/spf13/...", own}}, above...),
		"scheduler": append([]no{{module + "/agentpush/...", narrow}, {module + "/worker/...", narrow}, {module + "/queue/...", narrow}}, above[1:]...),
		// The rooms of the scheduler: none knows the engine, and those that are pure link
		// neither etcd nor a logger.
		"scheduler/admit":      {{module + "/scheduler", up}, {module + "/history/...", "it lets tasks start, and records none"}, {module + "/agentpush/...", "it sends no orders"}},
		"scheduler/cluster":    {{module + "/scheduler", up}, {module + "/lock/...", "a view only reads"}, {module + "/history/...", "a view only reads"}},
		"scheduler/fair":       append([]no{{module + "/...", "it knows no jobs"}}, mute...),
		"scheduler/mode":       append([]no{{module + "/scheduler", up}, {module + "/internal/...", pure}}, mute...),
		"scheduler/ownership":  {{module + "/scheduler", up}, {module + "/history/...", "it runs no jobs"}, {module + "/agentpush/...", "it runs no jobs"}},
		"scheduler/peers":      {{module + "/scheduler", up}, {module + "/lock/...", "it only knocks at ports"}},
		"scheduler/phase":      append([]no{{module + "/...", "it knows no tasks, only their phases"}}, mute...),
		"scheduler/placement":  append([]no{{module + "/scheduler", up}, {module + "/internal/...", pure}}, mute...),
		"scheduler/plan":       append([]no{{module + "/scheduler", up}, {module + "/internal/...", pure}}, mute...),
		"scheduler/timekeeper": {{module + "/scheduler", up}, {module + "/lock/...", "it only asks for the time"}},
		"scheduler/timers":     append([]no{{module + "/...", "it knows no jobs"}}, mute...),
		"internal/auth":        {{"go.etcd.io/...", "minions never reach etcd; the registrar is the side of the nodes"}},
		"internal/release":     {{"go.etcd.io/...", "minions never reach etcd"}, {"github.com/spf13/...", own}},
		"internal/manifest": {
			{module + "/internal/control/...", up}, {"go.etcd.io/...", "a job file has nothing to do with where it is kept"},
			{"gopkg.in/yaml.v3", "the maintained library is go.yaml.in/yaml/v3"},
		},
	} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			refuse(t, "./"+pkg, nos)
		})
	}
}

// TestImports holds what no package of ours may import itself, though others
// may bring it along.
func TestImports(t *testing.T) {
	t.Parallel()
	nos := []no{
		{"go.etcd.io/etcd/client/v3/concurrency", "use lock: see docs/adr/0002-own-locks.md"},
		{"gopkg.in/yaml.v3", "use go.yaml.in/yaml/v3: see docs/adr/0006-yaml-library.md"},
		{"github.com/pkg/errors", "use errors and fmt"},
		{"github.com/sirupsen/logrus", "use zap"},
	}
	for _, line := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		pkg, imports, _ := strings.Cut(line, " ")
		if pkg == module+"/bench" {
			continue // it measures what we use against what we do not
		}
		for _, n := range nos {
			if slices.Contains(strings.Fields(imports), n.pattern) {
				t.Errorf("%s imports %s; %s", pkg, n.pattern, n.why)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, pkg string
		want         bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/...", "a/b", true},
		{"a/b/...", "a/b/c", true},
		{"a/b/...", "a/bc", false},
		{"a/b/...", "a", false},
	} {
		if got := (no{pattern: c.pattern}).matches(c.pkg); got != c.want {
			t.Errorf("%s matches %s: got %v, want %v", c.pattern, c.pkg, got, c.want)
		}
	}
}

func (n no) matches(pkg string) bool {
	prefix, tree := strings.CutSuffix(n.pattern, "/...")
	return pkg == prefix || tree && strings.HasPrefix(pkg, prefix+"/")
}

// refuse fails for each package that pkg links and must not.
func refuse(t *testing.T, pkg string, nos []no) {
	t.Helper()
	linked := list(t, "-deps", pkg)
	self := linked[len(linked)-1] // it comes after what it depends on
	for _, dep := range linked[:len(linked)-1] {
		for _, n := range nos {
			if n.matches(dep) {
				t.Errorf("%s links %s; %s", strings.TrimPrefix(self, module+"/"), dep, n.why)
			}
		}
	}
}

// list returns the lines of go list, run at the root of the module.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
