package shim

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	socketName = protocolVersion + ".sock"
	// stageVar marks the second, detached stage of a shim's start.
	stageVar = "CARILLON_SHIM_STAGE"
)

// Main is the shim's entry; args are what follows the hidden command. The
// first stage takes the lock, listens, starts the second stage in a session of
// its own and returns, so that whoever waits for it can connect at once. The
// second stage serves and returns when the shim has no reason to live.
func Main(args []string) error {
	fs := flag.NewFlagSet("shim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	dir := fs.String("dir", "", "directory of the socket, the lock and the exit log")
	idle := fs.Duration("idle", time.Minute, "time without task and agent after which the shim ends")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	if *dir == "" {
		return errors.New("shim: --dir is missing; the shim is started by the worker, not by hand")
	}
	if os.Getenv(stageVar) != "" {
		return runStage(*dir, *idle)
	}
	return startStage(*dir, args)
}

// startStage is the first stage.
func startStage(dir string, args []string) error {
	if err := os.Chdir(dir); err != nil { // the socket's path must be short
		return fmt.Errorf("shim: %w", err)
	}
	lock, err := takeLock("lock", 5*time.Second)
	if err != nil {
		return fmt.Errorf("shim: lock %s: %w", dir, err)
	}
	defer func() { _ = lock.Close() }()
	if err := os.Remove(socketName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("shim: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketName, Net: "unix"})
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	file, err := l.File()
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	defer func() { _ = file.Close() }()

	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	out, err := openLogFile("log")
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	defer func() { _ = out.Close() }()
	// The second stage gets the first one's arguments: they name this command.
	lead := len(os.Args) - len(args)
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Args = append(append([]string{}, os.Args[:lead]...), args...)
	cmd.Env = append(os.Environ(), stageVar+"=run")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock, file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	return cmd.Process.Release()
}

// runStage is the second stage: descriptor 3 is the lock, 4 the socket.
func runStage(dir string, idle time.Duration) error {
	_ = os.Unsetenv(stageVar)
	log.SetFlags(log.LstdFlags | log.LUTC)
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	KeepDescriptors()
	lock, file := os.NewFile(3, "lock"), os.NewFile(4, socketName)
	defer func() { _ = lock.Close() }()
	fl, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	_ = file.Close()
	l, ok := fl.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("shim: descriptor 4 is no unix socket")
	}
	l.SetUnlinkOnClose(true)
	if err := serve(l, idle); err != nil {
		log.Printf("shim: %v", err)
		return err
	}
	return nil
}

// takeLock locks the file for this process and those that inherit it.
func takeLock(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			_ = f.Close()
			return nil, err
		}
	}
}

// openLogFile opens the shim's log for appending, emptied when it is large.
func openLogFile(path string) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if st, err := os.Stat(path); err == nil && st.Size() > 1<<20 {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(filepath.Clean(path), flags, 0o600)
}
