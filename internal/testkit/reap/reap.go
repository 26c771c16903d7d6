// Package reap ends processes that a test has left behind on purpose: shims,
// which outlive their minion, and through them the commands.
package reap

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Dir kills the processes that have a path below dir in their arguments.
func Dir(dir string) {
	Matching(func(pid string) bool {
		args, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		return err == nil && strings.Contains(string(args), dir+"/")
	})
}

// Matching kills the processes that match, but for our own.
func Matching(match func(pid string) bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // then there is no way to find them, and they end when they are idle
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if match(e.Name()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
