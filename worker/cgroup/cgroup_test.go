package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake makes a directory that looks like a group without processes, and whose
// children get the kernel's files. A directory has no kernel behind it: what is
// tested is what is written where.
func fake(t *testing.T, controllers string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, parentName)} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
		files(t, d, map[string]string{
			"cgroup.procs": "", "cgroup.events": "populated 0\nfrozen 0\n", "cgroup.controllers": controllers, "cgroup.subtree_control": controllers,
		})
	}
	return dir
}

func files(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) *Tree {
	t.Helper()
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tree.mkdir = func(dir string) error {
		if err := os.Mkdir(dir, 0o750); err != nil {
			return err
		}
		files(t, dir, map[string]string{"memory.max": "max", "memory.oom.group": "0", "pids.max": "max", "cpu.max": "max 100000"})
		return nil
	}
	return tree
}

func TestC1_LimitsAreWritten(t *testing.T) {
	t.Parallel()
	tree := open(t, fake(t, "cpuset cpu memory pids"))
	dir, err := tree.Make("a", Limits{Memory: 512 << 20, Pids: 100, CPU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"memory.max": "536870912", "memory.oom.group": "1", "pids.max": "100", "cpu.max": "150000 100000",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		// A plain file keeps what it had behind what is written to its start.
		if err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s = %q, %v; want %q", name, b, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "memory.swap.max")); err == nil {
		t.Error("a file that the kernel does not have was made")
	}
}

func TestC1_LimitWithoutControllerIsRefused(t *testing.T) {
	t.Parallel()
	tree := open(t, fake(t, "pids"))
	if got := tree.controllers; !slices.Equal(got, []string{"pids"}) {
		t.Errorf("controllers = %v", got)
	}
	_, err := tree.Make("a", Limits{Memory: 1 << 20, CPU: 100, Pids: 5})
	if err == nil || !strings.Contains(err.Error(), "no controller for cpu, memory") {
		t.Errorf("Make = %v", err)
	}
	if _, err := tree.Make("b", Limits{Pids: 5}); err != nil {
		t.Errorf("Make = %v", err)
	}
	// The controller is there, and the file cannot be written.
	tree = open(t, fake(t, "memory"))
	tree.mkdir = mkdir
	if dir, err := tree.Make("c", Limits{Memory: 1 << 20}); err == nil || dir != "" {
		t.Errorf("Make = %q, %v; want an error", dir, err)
	}
	if _, err := os.Stat(filepath.Join(tree.dir, "c")); err == nil {
		t.Error("a group without its limits was left")
	}
}

func TestC2_GroupWithProcesses(t *testing.T) {
	t.Parallel()
	dir := fake(t, "memory")
	files(t, dir, map[string]string{"cgroup.procs": "4711\n", "cgroup.subtree_control": ""})
	files(t, filepath.Join(dir, parentName), map[string]string{"cgroup.subtree_control": ""})
	tree := open(t, dir)
	_, err := tree.Make("a", Limits{Memory: 1 << 20})
	if err == nil || !strings.Contains(err.Error(), "4711") || !strings.Contains(err.Error(), "DelegateSubgroup=minion") {
		t.Errorf("Make = %v", err)
	}
	if got := words(filepath.Join(dir, "cgroup.subtree_control")); len(got) > 0 {
		t.Errorf("enabled %v", got)
	}
	// In a group called minion, the parent is meant.
	if tree, err := Open(filepath.Join(dir, leafName)); err != nil || tree.dir != filepath.Join(dir, parentName) {
		t.Errorf("Open = %+v, %v", tree, err)
	}
}

func TestEnables(t *testing.T) {
	t.Parallel()
	dir := fake(t, "memory")
	files(t, dir, map[string]string{"cgroup.subtree_control": ""})
	open(t, dir)
	if got := words(filepath.Join(dir, "cgroup.subtree_control")); !slices.Equal(got, []string{"+memory"}) {
		t.Errorf("wrote %v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory that is no group was taken")
	}
}

func TestC3_Sweep(t *testing.T) {
	t.Parallel()
	tree := open(t, fake(t, ""))
	for _, name := range []string{"x-ended", "x-open", "y-other", "x-busy/sub"} {
		if err := os.MkdirAll(filepath.Join(tree.dir, name), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	files(t, filepath.Join(tree.dir, "x-busy/sub"), map[string]string{"process": ""}) // as the kernel: cannot be removed
	tree.Sweep("x-", func(name string) bool { return name == "open" })
	for name, want := range map[string]bool{"x-ended": false, "x-open": true, "y-other": true, "x-busy": true} {
		if _, err := os.Stat(filepath.Join(tree.dir, name)); (err == nil) != want {
			t.Errorf("%s there: %v, want %v", name, err == nil, want)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if Populated(dir) || OOMKilled(dir) {
		t.Error("no files, but events")
	}
	files(t, dir, map[string]string{"cgroup.events": "populated 1\nfrozen 0\n", "memory.events": "low 0\nmax 7\noom 1\noom_kill 2\n", "cgroup.kill": ""})
	if !Populated(dir) || !OOMKilled(dir) {
		t.Error("events were not read")
	}
	if err := Kill(dir); err != nil || !slices.Equal(words(filepath.Join(dir, "cgroup.kill")), []string{"1"}) {
		t.Errorf("Kill = %v", err)
	}
	if err := Remove(filepath.Join(dir, "none")); err != nil {
		t.Errorf("Remove = %v", err)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	const unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const hybrid = "25 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 24 0:33 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n"
	const inside = "40 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
	for name, tc := range map[string]struct{ mounts, groups, want, problem string }{
		"unified":   {unified, "0::/system.slice/carillon-worker.service/minion\n", "/sys/fs/cgroup/system.slice/carillon-worker.service/minion", ""},
		"hybrid":    {hybrid, "9:memory:/x\n0::/\n", "/sys/fs/cgroup/uni fied", ""},
		"container": {inside, "0::/docker/abc/d\n", "/sys/fs/cgroup/d", ""},
		"elsewhere": {inside, "0::/docker/abcd\n", "", "are not mounted"},
		"old":       {unified, "9:memory:/x\n", "", "no control groups of version 2"},
		"unmounted": {"", "0::/\n", "", "are not mounted"},
	} {
		got, err := locate([]byte(tc.mounts), []byte(tc.groups))
		if got != tc.want || (err == nil) != (tc.problem == "") || err != nil && !strings.Contains(err.Error(), tc.problem) {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, tc.want, tc.problem)
		}
	}
}
