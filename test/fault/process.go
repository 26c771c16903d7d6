package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started, ended and started again, one after
// another. Its output is appended to one log.
type process struct {
	name string // of the node, minion or server
	path string
	args []string
	env  []string // besides our own
	log  string
	// died is called when it ends and nobody told it to.
	died func(error)
	// mortal: the process that is started next may end by itself. It must not be
	// changed while one runs.
	mortal bool

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd  // nil when it does not run
	ending bool
	ended  chan struct{}
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	// Nothing of the cluster survives us, whatever we die of.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.ending, p.ended = cmd, false, make(chan struct{})
	p.ending = p.mortal
	go p.wait(cmd, p.ended)
	return nil
}

func (p *process) wait(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	ending := p.ending
	p.cmd = nil
	p.mu.Unlock()
	close(ended)
	if !ending {
		p.died(fmt.Errorf("%s ended by itself: %w; see %s", p.name, errors.Join(err, errUnasked), p.log))
	}
}

var errUnasked = errors.New("nobody told it to")

// runs reports whether the process runs.
func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// signal sends a signal to the process, which must run.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	if err := cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// stop sends the signal and waits until the process has ended. It returns the
// exit code, or -1 when a signal ended it. One that does not run is fine.
func (p *process) stop(sig syscall.Signal) (int, error) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.ending = true
	p.mu.Unlock()
	if cmd == nil {
		return 0, nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("signal %s: %w", p.name, err)
	}
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), nil
	case <-time.After(hangLimit):
		_ = cmd.Process.Kill()
		return 0, fmt.Errorf("%s hangs: it did not end within %v of %v; see %s", p.name, hangLimit, sig, p.log)
	}
}
