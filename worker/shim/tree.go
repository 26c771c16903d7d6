package shim

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// proc is one process as /proc shows it.
type proc struct {
	pid, ppid, pgid, sid int
	ticks                uint64
	zombie               bool
}

// parseStat reads a line of /proc/PID/stat. The command's name is in brackets
// and may hold anything, so fields count from the last bracket.
func parseStat(line string) (proc, bool) {
	open, end := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ')')
	if open < 0 || end < 0 {
		return proc{}, false
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 {
		return proc{}, false
	}
	var p proc
	var err [5]error
	p.pid, err[0] = strconv.Atoi(line[:open])
	p.zombie = f[0] == "Z" || f[0] == "X"
	p.ppid, err[1] = strconv.Atoi(f[1])
	p.pgid, err[2] = strconv.Atoi(f[2])
	p.sid, err[3] = strconv.Atoi(f[3])
	p.ticks, err[4] = strconv.ParseUint(f[19], 10, 64)
	for _, e := range err {
		if e != nil {
			return proc{}, false
		}
	}
	return p, true
}

// readProc returns the process, and false when it is gone.
func readProc(pid int) (proc, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	return parseStat(string(b))
}

// processes returns all processes of the host.
func processes() map[int]proc {
	all := map[int]proc{}
	dir, err := os.Open("/proc")
	if err != nil {
		return all
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := readProc(pid); ok {
			all[pid] = p
		}
	}
	return all
}

// descendants returns all processes below root.
func descendants(root int) map[int]proc {
	all := processes()
	for pid := range all {
		if !below(all, pid, root) {
			delete(all, pid)
		}
	}
	return all
}

// Descendants returns the living processes below root. Those whose parent has
// died are below the nearest ancestor that is a child subreaper.
func Descendants(root int) []int {
	var live []int
	for pid, p := range descendants(root) {
		if !p.zombie {
			live = append(live, pid)
		}
	}
	slices.Sort(live)
	return live
}

// Zombies returns the processes below root that have ended and wait to be
// reaped by it.
func Zombies(root int) []int {
	var dead []int
	for pid, p := range descendants(root) {
		if p.zombie && p.ppid == root {
			dead = append(dead, pid)
		}
	}
	return dead
}

// below reports whether root is an ancestor of pid.
func below(all map[int]proc, pid, root int) bool {
	for range len(all) {
		p, ok := all[pid]
		if !ok {
			return false
		}
		if p.ppid == root {
			return true
		}
		pid = p.ppid
	}
	return false
}

// tree follows the processes of one command.
type tree struct {
	leader int
	ticks  uint64 // of the leader
	marks  []string
	// known are members seen earlier, with their start time.
	known map[int]uint64
}

// members returns the living processes of the tree, the leader included.
// Once seen, a process stays a member, so a child whose parent dies between
// two calls is not lost.
func (t *tree) members(shim int) []int {
	all := descendants(shim)
	lead, found := readProc(t.leader)
	// When the leader's number has passed to another process, then the whole
	// group is gone, and group and session numbers mean somebody else.
	reused := found && lead.ticks != t.ticks
	in := map[int]bool{}
	for pid, p := range all {
		switch {
		case t.known[pid] == p.ticks:
			in[pid] = true
		case !reused && (p.sid == t.leader || p.pgid == t.leader):
			in[pid] = true
		case p.ppid == shim:
			in[pid] = t.marked(pid) // lost its parent, or leads another command
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, p := range all {
			if !in[pid] && in[p.ppid] {
				in[pid], grown = true, true
			}
		}
	}
	var live []int
	for pid, yes := range in {
		if yes {
			t.known[pid] = all[pid].ticks
			if !all[pid].zombie {
				live = append(live, pid)
			}
		}
	}
	slices.Sort(live)
	return live
}

// marked reports whether the environment that the process was started with
// has all marks of the tree.
func (t *tree) marked(pid int) bool {
	if len(t.marks) == 0 {
		return false
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	vars := bytes.Split(env, []byte{0})
	for _, m := range t.marks {
		if !slices.ContainsFunc(vars, func(v []byte) bool { return string(v) == m }) {
			return false
		}
	}
	return true
}
