package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/reap"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/test/fault/faults"
)

const (
	// hostCount is how many hosts a scenario with hosts has.
	hostCount = 5
	// hostDisk is the size of a host's disk. A minion with less than 64 MiB of
	// room calls its disk full.
	hostDisk = 160 << 20
)

// host is where one minion is alone: it has a network namespace, a small disk
// and a name for its boot, which it shares with nobody.
type host struct {
	*process

	id     job.MinionID
	number int    // of its network namespace
	dir    string // its disk
	made   bool
	path   string
	args   []string
}

// hostScript is what a host's process does before it becomes the worker: it has
// the host's own boot id in place of the kernel's. $0 is the file with it.
const hostScript = `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`

// newHost lays out host i below dir; worker is the program.
func newHost(i int, dir, worker string, servers []string, n *network) *host {
	h := &host{id: job.MinionID(fmt.Sprintf("h%d", i+1)), number: schedulerMost + i}
	h.dir = filepath.Join(dir, string(h.id))
	h.path = "nsenter"
	h.args = append([]string{
		"--net=/run/netns/" + n.space(h.number), "unshare", "--mount", "/bin/sh", "-c", hostScript, h.bootFile(),
		worker, "--id", string(h.id), "--data-dir", h.data(), "--servers",
	}, strings.Join(servers, ","))
	return h
}

func (h *host) data() string     { return filepath.Join(h.dir, "data") }
func (h *host) bootFile() string { return filepath.Join(h.dir, "boot") }
func (h *host) filler() string   { return filepath.Join(h.dir, "filler") }

// make makes the host's network namespace, its disk and its boot id.
func (h *host) make(ctx context.Context, n *network) error {
	if err := n.add(ctx, h.number); err != nil {
		return err
	}
	if err := os.Mkdir(h.dir, 0o755); err != nil { // commands of others start below it
		return fmt.Errorf("host %s: %w", h.id, err)
	}
	if err := syscall.Mount("tmpfs", h.dir, "tmpfs", 0, "mode=0755,size="+strconv.Itoa(hostDisk)); err != nil {
		return fmt.Errorf("disk of host %s (needs root): %w", h.id, err)
	}
	h.made = true
	return h.newBoot()
}

// newBoot gives the host another name for its boot.
func (h *host) newBoot() error {
	id, err := job.NewUID()
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.bootFile(), []byte(id.String()+"\n"), 0o444); err != nil { // as the kernel's
		return fmt.Errorf("boot id of host %s: %w", h.id, err)
	}
	return nil
}

// remove takes the host's disk away. Nothing runs on it any more.
func (h *host) remove() {
	if h.made {
		_ = syscall.Unmount(h.dir, syscall.MNT_DETACH)
	}
}

// reboot ends all that runs on the host, at once and without a word, and starts
// its minion in another boot.
func (h *host) reboot(marks string) error {
	if _, err := h.stop(syscall.SIGKILL); err != nil {
		return err
	}
	h.reap(marks)
	if err := h.newBoot(); err != nil {
		return err
	}
	return h.start()
}

// reap ends the host's shims, and the commands of its minion that got marks in
// their environment.
func (h *host) reap(marks string) {
	reap.Dir(h.dir)
	reap.Matching(func(pid string) bool {
		env, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
		return err == nil && bytes.Contains(env, []byte(marksVariable+"="+marks+"\x00")) &&
			bytes.Contains(env, []byte("CARILLON_MINION="+string(h.id)+"\x00"))
	})
}

// crashAt starts the minion so that it kills itself when it comes to a place of
// the protocol for the nth time.
func (h *host) crashAt(point string, nth int) error {
	h.mortal, h.env = true, append(h.usualEnv(), fmt.Sprintf("%s=%s:%d", faults.CrashEnv, point, nth))
	return h.start()
}

// again starts the minion as usual.
func (h *host) again() error {
	h.mortal, h.env = false, h.usualEnv()
	return h.start()
}

// usualEnv returns the minion's environment, without what has it crash.
func (h *host) usualEnv() []string {
	return slices.DeleteFunc(slices.Clone(h.env), func(v string) bool { return strings.HasPrefix(v, faults.CrashEnv+"=") })
}

// fillDisk leaves no room on the host's disk. It may be called again: a minion
// that finds its disk full makes room.
func (h *host) fillDisk() error {
	f, err := os.OpenFile(h.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk of host %s: %w", h.id, err)
	}
	defer func() { _ = f.Close() }()
	for block := make([]byte, 1<<20); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil // what fitted of the last block was written
		} else if err != nil {
			return fmt.Errorf("fill the disk of host %s: %w", h.id, err)
		}
	}
}

// freeDisk takes away what fillDisk has written.
func (h *host) freeDisk() error { return os.Remove(h.filler()) }

// cut cuts the host off; mend mends that.
func (h *host) cut(ctx context.Context, n *network) error {
	return n.ip(ctx, n.cuts(h.number)[0].do...)
}

func (h *host) mend(ctx context.Context, n *network) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return n.ip(ctx, n.cuts(h.number)[0].mend...)
}

// clone starts another worker with the host's id, on a copy of its data.
func (h *host) clone(ctx context.Context, dir, log string) (*process, error) {
	if out, err := exec.CommandContext(ctx, "cp", "-a", h.data(), dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("clone of host %s: %w: %s", h.id, err, bytes.TrimSpace(out))
	}
	args := append([]string(nil), h.args...)
	for i, a := range args {
		if a == h.data() {
			args[i] = dir
		}
	}
	p := &process{name: string(h.id) + "-clone", path: h.path, args: args, log: log, mortal: true}
	return p, p.start()
}
