package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/cgroup"
	"github.com/carillon-cron/carillon/worker/shim"
)

// A command that cannot be held to its limits does not run.
func TestLimitsThatCannotBeEnforcedReject(t *testing.T) {
	t.Parallel()
	bare := t.TempDir() // looks like a group that has all controllers, and cannot be written
	for _, d := range []string{bare, filepath.Join(bare, "carillon")} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"} {
			if err := os.WriteFile(filepath.Join(d, name), []byte("memory pids cpu"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct{ cgroup, want string }{
		"no groups":      {NoCgroup, "--cgroup none"},
		"not a group":    {filepath.Join(bare, "nowhere"), "no such file"},
		"failing writes": {bare, "memory.max"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			n.handlers = map[string]Handler{"x": nil}
			start(t, n, dir, func(c *Config) { c.Cgroup = tc.cgroup })
			file := filepath.Join(t.TempDir(), "runs")
			o, free, handled := shell("echo x >> %s", file), shell("true"), newOrder("go:x")
			o.Limits.Memory, handled.Limits.Pids = 64<<20, 5
			n.order(o, free, handled)
			if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, "limits cannot be enforced") || !strings.Contains(r.Reason, tc.want) {
				t.Errorf("report = %s %q", r.State, r.Reason)
			}
			if len(lines(t, file)) != 0 {
				t.Error("the command ran")
			}
			if r := n.final(free); r.State != job.StateSucceeded {
				t.Errorf("without limits = %s %q", r.State, r.Reason)
			}
			if r := n.final(handled); r.State != job.StateRejected || !strings.Contains(r.Reason, "Go handler") {
				t.Errorf("a handler = %s %q", r.State, r.Reason)
			}
		})
	}
}

// ownGroup returns a group for the test's commands, and whether the kernel has
// one for it; NoCgroup if not.
func ownGroup(t *testing.T) (string, bool) {
	t.Helper()
	dir, err := cgroup.Here()
	if err == nil {
		if dir, err = os.MkdirTemp(dir, "carillon-test-"); err == nil {
			t.Cleanup(func() {
				_ = cgroup.Kill(dir)
				poll(t, "end of the group", func() bool { return cgroup.Remove(dir) == nil })
			})
			_, err = cgroup.Open(dir)
		}
	}
	if err != nil {
		t.Logf("no control group: %v", err)
		return NoCgroup, false
	}
	return dir, true
}

// A process that has left session and parent, and has wiped its environment,
// ends with its command's group; without groups the command alone is ended.
func TestTimeoutEndsGroup(t *testing.T) {
	t.Parallel()
	group, real := ownGroup(t)
	n, dir := newNode(t), dataDir(t)
	m, _ := start(t, n, dir, func(c *Config) { c.Cgroup = group })
	o := shell(`setsid env -i /bin/sh -c '(/usr/bin/setsid /bin/sh -c "echo \$\$; exec /bin/sleep 300" &)' & wait; sleep 300`)
	o.Timeout = 5 * time.Second
	n.order(o)
	if r := n.final(o); r.State != job.StateTimedOut {
		t.Errorf("report = %s %q %q", r.State, r.Reason, r.Stderr.Head)
	}
	pids := outputNumbers(t, dir, o)
	if len(pids) != 1 {
		t.Fatalf("output: %v", pids)
	}
	if alive(pids[0]) {
		if killPID(t, pids[0]); real {
			t.Error("a process of the group lives on")
		}
	}
	if real {
		left, _ := filepath.Glob(filepath.Join(group, "carillon", m.commands.groups.prefix+"*"))
		if len(left) > 0 {
			t.Errorf("groups are left: %v", left)
		}
	}
}

// What a command leaves behind lives on in its group, which goes when it ends.
func TestBackgroundProcessKeepsGroup(t *testing.T) {
	t.Parallel()
	group, real := ownGroup(t)
	n, dir := newNode(t), dataDir(t)
	m, _ := start(t, n, dir, func(c *Config) { c.Cgroup = group })
	o := shell(`sleep 300 >/dev/null 2>&1 & echo $!`)
	n.order(o)
	n.final(o)
	pids := outputNumbers(t, dir, o)
	if len(pids) != 1 || !alive(pids[0]) {
		t.Fatalf("the background process %v was ended", pids)
	}
	path := filepath.Join(group, "carillon", m.commands.groups.prefix+keyOf(o.Task).String())
	m.upkeep.cleanGroups()
	if real && !cgroup.Populated(path) {
		t.Error("the background process is not in the group")
	}
	killPID(t, pids[0])
	poll(t, "end of the group", func() bool {
		m.upkeep.cleanGroups()
		_, err := os.Stat(path)
		return err != nil
	})
}

func TestReportOfMemoryLimit(t *testing.T) {
	t.Parallel()
	o := newOrder("x")
	o.Limits.Memory = 512 << 20
	r := finalReport(o.Task, o, &shim.Ended{Code: -1, Signal: "SIGKILL", OOM: true})
	if r.State != job.StateFailed || !strings.Contains(r.Reason, "more memory than its limit of 512Mi") {
		t.Errorf("report = %s %q", r.State, r.Reason)
	}
}
