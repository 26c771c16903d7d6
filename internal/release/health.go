package release

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// ExitUpdate is the exit code by which a minion asks its launcher to try the
// release that it has staged. It should end so only when no task is between
// accepted and started.
const ExitUpdate = 75

const (
	// EnvLauncher is set for children of a launcher, to the launcher's process id.
	EnvLauncher = "CARILLON_LAUNCHER_PID"
	// EnvHealthFD is set for a child on trial, to the number of the file
	// descriptor on which it says that it is healthy.
	EnvHealthFD = "CARILLON_HEALTH_FD"
)

// healthy is what a child on trial says.
const healthy = "healthy\n"

// Launched says whether a launcher is the parent of this process. A command
// that merely inherited the environment of a minion is no such child.
func Launched() bool { return os.Getenv(EnvLauncher) == strconv.Itoa(os.Getppid()) }

// Health is the child's end of the pipe to its launcher. Its methods may be
// called from any goroutine.
type Health struct {
	mu   sync.Mutex
	pipe *os.File
}

// InheritHealth takes what the launcher has handed to this process. It must be
// called before the process starts any other, because it keeps the pipe, and
// the environment that names it, from them. Without a launcher, or when this is
// no trial, Healthy does nothing. The error says that the environment names no pipe.
func InheritHealth() (*Health, error) {
	value, ok := os.LookupEnv(EnvHealthFD)
	if !ok || !Launched() {
		return &Health{}, nil
	}
	if err := os.Unsetenv(EnvHealthFD); err != nil {
		return nil, fmt.Errorf("environment %s: %w", EnvHealthFD, err)
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("environment %s is %q: must be the number of a pipe, from 3", EnvHealthFD, value)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("environment %s is %d: %w", EnvHealthFD, fd, err)
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("environment %s is %d: must be a pipe", EnvHealthFD, fd)
	}
	syscall.CloseOnExec(fd)
	return &Health{pipe: os.NewFile(uintptr(fd), "health")}, nil
}

// Trial says whether the launcher waits for Healthy.
func (h *Health) Trial() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pipe != nil
}

// Healthy tells the launcher that this process works: that it has connected to
// a node and has passed its self-test. Only the first call does anything.
func (h *Health) Healthy() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pipe == nil {
		return nil
	}
	_, err := h.pipe.WriteString(healthy)
	err = errors.Join(err, h.pipe.Close())
	h.pipe = nil
	if err != nil {
		return fmt.Errorf("tell the launcher: %w", err)
	}
	return nil
}
