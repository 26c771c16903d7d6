package release

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a running minion.
type child struct {
	process *os.Process
	// done is closed when the process has ended; code and how are set then.
	done chan struct{}
	code int
	how  string
	// healthy is closed when it has said so; it never is for one that is not on trial.
	healthy chan struct{}
	began   time.Time
	// pipe and echo are the ends of the health pipe, or nil. judged is closed
	// when it is known what the child has said first, heard when nobody listens
	// any more.
	pipe, echo    *os.File
	judged, heard chan struct{}
}

// spawn starts a program. The kernel kills it when this process dies, so that
// a new launcher never meets a minion that an earlier one has started. The
// caller must call close when it has ended.
func (l *Launcher) spawn(path string, trial bool) (*child, error) {
	c := &child{done: make(chan struct{}), healthy: make(chan struct{}), judged: make(chan struct{}), heard: make(chan struct{})}
	env := []string{EnvLauncher + "=" + strconv.Itoa(os.Getpid())}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, EnvHealthFD+"=") && !strings.HasPrefix(e, EnvLauncher+"=") {
			env = append(env, e)
		}
	}
	var theirs []*os.File
	if trial {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", path, err)
		}
		c.pipe, c.echo, theirs = r, w, []*os.File{w}
		env = append(env, EnvHealthFD+"=3")
	}
	started := make(chan error, 1)
	go func() {
		// The kernel means the thread, and not the process, when it says parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd, err := l.begin(path, env, theirs)
		if err == nil {
			c.process, c.began = cmd.Process, time.Now()
		}
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the state tells
		c.code, c.how = cmd.ProcessState.ExitCode(), cmd.ProcessState.String()
		close(c.done)
	}()
	if err := <-started; err != nil {
		close(c.heard)
		c.close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	go c.listen()
	return c, nil
}

// begin starts the process. A program that was written a moment ago may be busy
// for as long as another process, forked meanwhile, has not closed it.
func (l *Launcher) begin(path string, env []string, extra []*os.File) (*exec.Cmd, error) {
	for tries := 0; ; tries++ {
		cmd := exec.Command(path, l.cfg.Args...)
		cmd.Env, cmd.ExtraFiles = env, extra
		cmd.Stdout, cmd.Stderr = l.cfg.Stdout, l.cfg.Stderr
		// A group of its own: a terminal's signals come through the launcher, once.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		if !errors.Is(err, syscall.ETXTBSY) || tries == 40 {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *child) listen() {
	defer close(c.heard)
	if c.pipe == nil {
		return
	}
	said := make([]byte, len(healthy))
	if _, err := io.ReadFull(c.pipe, said); err == nil && string(said) == healthy {
		close(c.healthy)
	}
	close(c.judged)
	_, _ = io.Copy(io.Discard, c.pipe) // until it is closed: nobody is to wait for us
}

// wasHealthy says whether a process on trial that has ended had said that it is
// healthy. The end of the pipe would not tell: what the process has started may
// hold it open. So we write to it ourselves, behind what the process has written.
func (c *child) wasHealthy() bool {
	_, _ = c.echo.Write(make([]byte, len(healthy))) // we read it, so it does not fail
	<-c.judged
	select {
	case <-c.healthy:
		return true
	default:
		return false
	}
}

// signal sends a signal to the process alone; its commands live in shims.
func (c *child) signal(sig os.Signal) {
	_ = c.process.Signal(sig) // it has ended, which done tells
}

// kill ends the process now.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.done
}

// close waits for what belongs to an ended process.
func (c *child) close() {
	for _, end := range []*os.File{c.pipe, c.echo} {
		if end != nil {
			_ = end.Close() // nothing is lost
		}
	}
	<-c.heard
}
