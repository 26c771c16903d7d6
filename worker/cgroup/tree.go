package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// parentName is the parent of the commands' groups, leafName the group of
	// the minion itself.
	parentName = "carillon"
	leafName   = "minion"
	// cpuPeriod is the kernel's default, in microseconds.
	cpuPeriod = 100_000
)

// Limits bound a group. Zero values are no bound.
type Limits struct {
	// Memory is in bytes, and swap is not used beyond it. Pids counts processes
	// and threads. CPU is in thousandths of a processor.
	Memory, Pids, CPU int64
}

// controllers returns the controllers that the limits need.
func (l Limits) controllers() []string {
	var out []string
	for name, v := range map[string]int64{"cpu": l.CPU, "memory": l.Memory, "pids": l.Pids} {
		if v != 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Tree is where the commands of a minion get their groups. Its methods may be
// called from any goroutine.
type Tree struct {
	dir         string // the parent of the commands' groups
	controllers []string
	// why says what keeps controllers away; nil if nothing does.
	why error
	// mkdir makes a group; tests make the kernel's files with it.
	mkdir func(dir string) error
}

// Here returns the directory of this process's own group.
func Here() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("control groups: %w", err)
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("control groups: %w", err)
	}
	return locate(mounts, groups)
}

// locate finds the directory in what the kernel says of mounts and groups.
func locate(mounts, groups []byte) (string, error) {
	own := ""
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			own = path
		}
	}
	if own == "" {
		return "", errors.New("this host has no control groups of version 2")
	}
	for s := bufio.NewScanner(bytes.NewReader(mounts)); s.Scan(); {
		// ID PARENT DEVICE ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS
		before, after, _ := strings.Cut(s.Text(), " - ")
		f := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); kind != "cgroup2" || len(f) < 5 {
			continue
		}
		root, point := unescape(f[3]), unescape(f[4])
		if rel, err := filepath.Rel(root, own); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return filepath.Join(point, rel), nil
		}
	}
	return "", fmt.Errorf("control groups of version 2 are not mounted where the minion's group %s can be seen", own)
}

// unescape reads the octal form of blanks in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Open prepares the group dir for commands. A group called minion stands for
// its parent. An error says why there can be no groups at all; see Lacks for
// missing controllers.
func Open(dir string) (*Tree, error) {
	if filepath.Base(dir) == leafName {
		dir = filepath.Dir(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
		return nil, fmt.Errorf("control group %s: %w", dir, err)
	}
	t := &Tree{dir: filepath.Join(dir, parentName), mkdir: mkdir}
	if err := mkdir(t.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("control group %s cannot be written by the minion: %w", dir, err)
	}
	if err := writable(filepath.Join(t.dir, "cgroup.procs")); err != nil {
		return nil, fmt.Errorf("control group %s cannot be written by the minion: %w", t.dir, err)
	}
	if t.why = vacant(dir); t.why == nil {
		t.why = errors.Join(enable(dir), enable(t.dir))
	}
	t.controllers = words(filepath.Join(t.dir, "cgroup.subtree_control"))
	return t, nil
}

func mkdir(dir string) error { return os.Mkdir(dir, 0o755) } // as the kernel's own

// writable reports why a file cannot be written.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// vacant reports why the children of dir can have no limits.
func vacant(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.events")); errors.Is(err, fs.ErrNotExist) {
		return nil // the root may have processes and children
	}
	if pids := words(filepath.Join(dir, "cgroup.procs")); len(pids) > 0 {
		return fmt.Errorf("control group %s has processes of its own (%s), so its children can have no limits; "+
			"start the minion in a group called %s below it (systemd: Delegate=yes and DelegateSubgroup=%s), "+
			"or name a group without processes with --cgroup", dir, pids[0], leafName, leafName)
	}
	return nil
}

// enable gives the children of dir the controllers that there are.
func enable(dir string) error {
	var errs []error
	on := words(filepath.Join(dir, "cgroup.subtree_control"))
	for _, c := range words(filepath.Join(dir, "cgroup.controllers")) {
		if (c == "cpu" || c == "memory" || c == "pids") && !slices.Contains(on, c) {
			errs = append(errs, write(dir, "cgroup.subtree_control", "+"+c))
		}
	}
	return errors.Join(errs...)
}

// Lacks says which of the limits cannot be enforced, and why; nil if all can.
func (t *Tree) Lacks(l Limits) error {
	var lacking []string
	for _, c := range l.controllers() {
		if !slices.Contains(t.controllers, c) {
			lacking = append(lacking, c)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	err := fmt.Errorf("control group %s has no controller for %s", t.dir, strings.Join(lacking, ", "))
	if t.why != nil {
		err = fmt.Errorf("%w: %w", err, t.why)
	}
	return err
}

// Dir returns the directory of the group of one command, which need not be there.
func (t *Tree) Dir(name string) string { return filepath.Join(t.dir, name) }

// Make makes the group of one command and returns its directory. It is empty,
// and has all the limits, or there is an error and no group. An empty group of
// that name is made anew.
func (t *Tree) Make(name string, l Limits) (string, error) {
	if err := t.Lacks(l); err != nil {
		return "", err
	}
	dir := t.Dir(name)
	err := t.mkdir(dir)
	if errors.Is(err, fs.ErrExist) {
		if err = Remove(dir); err == nil {
			err = t.mkdir(dir)
		}
	}
	if err != nil {
		return "", fmt.Errorf("control group: %w", err)
	}
	if err := bound(dir, l); err != nil {
		_ = Remove(dir)
		return "", fmt.Errorf("control group: %w", err)
	}
	return dir, nil
}

// bound writes the limits of a group.
func bound(dir string, l Limits) error {
	var errs []error
	if l.Memory != 0 {
		errs = append(errs, write(dir, "memory.max", strconv.FormatInt(l.Memory, 10)))
		// Hosts without swap do not have this file, and need it not. And what
		// would be left of a command without one of its processes helps nobody.
		errs = append(errs, optional(write(dir, "memory.swap.max", "0")), optional(write(dir, "memory.oom.group", "1")))
	}
	if l.Pids != 0 {
		errs = append(errs, write(dir, "pids.max", strconv.FormatInt(l.Pids, 10)))
	}
	if l.CPU != 0 {
		errs = append(errs, write(dir, "cpu.max", fmt.Sprintf("%d %d", l.CPU*cpuPeriod/1000, cpuPeriod)))
	}
	return errors.Join(errs...)
}

func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sweep removes the groups whose names begin with prefix, that have no
// processes any more and that keep does not want.
func (t *Tree) Sweep(prefix string, keep func(name string) bool) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if ok && e.IsDir() && !keep(name) {
			_ = Remove(filepath.Join(t.dir, e.Name())) // refused while it has processes
		}
	}
}
