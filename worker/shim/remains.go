package shim

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/worker/cgroup"
)

// Orphan is a command whose shim has died: the kernel has killed it, and not what
// it had started.
type Orphan struct {
	Key string
	// Marks are the entries of its environment by which its processes are known.
	Marks []string
	// Leader is the process that it was, zero if that is not known, with its start
	// time. Fresh: it was alive just now, so that its number means nobody else.
	Leader int
	Ticks  uint64
	Fresh  bool
	// Cgroup is its own control group; empty: it had none.
	Cgroup string
}

// Remains is what was found of a command, and what became of it.
type Remains struct {
	// Ended is how many processes were found and have ended; Left are those that
	// could not be.
	Ended int
	Left  []int
	// Whole: it had a control group that has no processes now, so none was missed.
	Whole bool
}

// EndOrphans ends what is left of commands whose shim has died. It is tried for as
// long as within, and until ctx is done. The answer has an entry for each key.
func EndOrphans(ctx context.Context, orphans []Orphan, within time.Duration) map[string]Remains {
	found := make([]map[int]uint64, len(orphans)) // start times by number
	grouped := make([]bool, len(orphans))
	for i := range orphans {
		found[i] = map[int]uint64{}
		grouped[i] = orphans[i].Cgroup != "" && isDir(orphans[i].Cgroup)
	}
	end := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left := false
		for i, live := range membersOf(orphans) {
			for pid, ticks := range live {
				found[i][pid], left = ticks, true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if grouped[i] && cgroup.Populated(orphans[i].Cgroup) {
				left = true
				_ = cgroup.Kill(orphans[i].Cgroup)
			}
		}
		if !left || !time.Now().Before(end) || ctx.Err() != nil {
			break
		}
		time.Sleep(pause)
	}
	out := make(map[string]Remains, len(orphans))
	for i := range orphans {
		var r Remains
		for pid, ticks := range found[i] {
			if p, ok := readProc(pid); ok && p.ticks == ticks && !p.zombie {
				r.Left = append(r.Left, pid)
			} else {
				r.Ended++
			}
		}
		slices.Sort(r.Left)
		if grouped[i] {
			r.Whole = !cgroup.Populated(orphans[i].Cgroup) && len(r.Left) == 0
			_ = cgroup.Remove(orphans[i].Cgroup)
		}
		out[orphans[i].Key] = r
	}
	return out
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// membersOf returns the living processes of each command, with their start times.
//
// A process belongs to a command by its control group or by the marks in its
// environment; so does its whole session, since nobody comes into a session but
// by being born there, and what its members have started. The session of a leader
// that has gone counts when nobody else can have got its number.
func membersOf(orphans []Orphan) []map[int]uint64 {
	all := processes()
	delete(all, os.Getpid())
	delete(all, 1)
	byMark := map[string][]int{}
	in := make([]map[int]bool, len(orphans))
	for i := range orphans {
		o := &orphans[i]
		in[i] = map[int]bool{}
		if len(o.Marks) > 0 {
			byMark[o.Marks[0]] = append(byMark[o.Marks[0]], i)
		}
		if o.Cgroup != "" {
			for _, pid := range cgroup.Pids(o.Cgroup) {
				in[i][pid] = true
			}
		}
		if lead, ok := all[o.Leader]; ok && o.Leader != 0 && lead.ticks == o.Ticks {
			in[i][o.Leader] = true
		}
	}
	for pid := range all {
		vars := environ(pid)
		for v := range vars {
			for _, i := range byMark[v] {
				if !slices.ContainsFunc(orphans[i].Marks, func(m string) bool { return !vars[m] }) {
					in[i][pid] = true
				}
			}
		}
	}
	out := make([]map[int]uint64, len(orphans))
	for i := range orphans {
		out[i] = complete(all, in[i], &orphans[i])
	}
	return out
}

// complete adds the sessions and the children of a command's processes.
func complete(all map[int]proc, in map[int]bool, o *Orphan) map[int]uint64 {
	self, _ := readProc(os.Getpid())
	sessions := map[int]bool{}
	if _, reused := all[o.Leader]; o.Leader != 0 && o.Fresh && (!reused || in[o.Leader]) {
		sessions[o.Leader] = true
	}
	for grown := true; grown; {
		grown = false
		for pid := range in {
			if p, ok := all[pid]; ok && p.sid != self.sid && !sessions[p.sid] {
				sessions[p.sid], grown = true, true
			}
		}
		for pid, p := range all {
			if !in[pid] && (sessions[p.sid] || in[p.ppid]) {
				in[pid], grown = true, true
			}
		}
	}
	live := map[int]uint64{}
	for pid := range in {
		if p, ok := all[pid]; ok && !p.zombie {
			live[pid] = p.ticks
		}
	}
	return live
}

// environ returns the entries of the environment that a process was started with;
// none if it cannot be read.
func environ(pid int) map[string]bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return nil
	}
	vars := map[string]bool{}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		vars[string(v)] = true
	}
	return vars
}
