package lockexec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/worker/shim"
)

// Arg is the hidden first argument by which the program runs as the shim.
const Arg = "lock-shim"

// The pipes of the shim, besides the standard ones, which are the command's.
const (
	ordersFD = 3 // from the keeper
	resultFD = 4 // to the keeper
)

// The words of the keeper, one order a line, and of the shim.
const (
	wordDeadline = "deadline" // NANOSECONDS of CLOCK_BOOTTIME
	wordSignal   = "signal"   // NUMBER, for the command
	wordEnd      = "end"      // end the tree now

	wordExit   = "exit"   // CODE
	wordKilled = "signal" // NUMBER that ended the command
	wordFailed = "failed" // MESSAGE: it could not be started
)

// Now returns the time of the clock that both processes share.
func Now() time.Duration { return boottime.Now() }

const (
	// lookEvery is how often the shim looks at the clock.
	lookEvery = 20 * time.Millisecond
	// patience is how long the shim goes on killing what does not die.
	patience = 10 * time.Second
)

// RunShim runs a command as args say: the grace in nanoseconds, the first
// deadline, and then the program and its arguments.
func RunShim(args []string) error {
	orders, result := os.NewFile(ordersFD, "orders"), os.NewFile(resultFD, "result")
	if len(args) < 3 || orders == nil || result == nil {
		return errors.New("lock shim: it is started by `carillon lock` only")
	}
	// They are the keeper's and ours, and what else is open is whoever's started
	// the keeper: none of it is the command's (X5).
	shim.KeepDescriptors()
	grace, err1 := strconv.ParseInt(args[0], 10, 64)
	deadline, err2 := strconv.ParseInt(args[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("lock shim: %w", err)
	}
	// The terminal's signals are for the command; others are for the keeper.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("lock shim: adopt orphans: %w", err)
	}
	s := &guard{grace: time.Duration(grace), deadline: time.Duration(deadline), orders: make(chan string), ended: make(chan error, 1)}
	return s.run(orders, result, args[2:])
}

// guard watches over one command.
type guard struct {
	grace    time.Duration
	deadline time.Duration
	orders   chan string // closed when the keeper is gone
	ended    chan error  // of the command itself
	cmd      *exec.Cmd
}

func (g *guard) run(orders io.Reader, result io.Writer, command []string) error {
	g.cmd = exec.Command(command[0], command[1:]...) // what the user asked for; it is ended as a tree
	g.cmd.Stdin, g.cmd.Stdout, g.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		_, werr := fmt.Fprintln(result, wordFailed, err)
		return werr
	}
	go func() { // ends with the pipe
		defer close(g.orders)
		for lines := bufio.NewScanner(orders); lines.Scan(); {
			g.orders <- lines.Text()
		}
	}()
	go func() { g.ended <- g.cmd.Wait() }() // ends with the command
	err := g.watch()
	g.endTree(g.deadline) // X3
	return report(result, g.cmd.ProcessState, err)
}

// watch returns when the command has ended, or has been ended.
func (g *guard) watch() error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-g.ended:
			return err
		case line, ok := <-g.orders:
			if !ok || g.obey(line) {
				return g.end()
			}
		case <-tick.C:
		}
		if Now() >= g.deadline-g.grace { // X1
			return g.end()
		}
	}
}

// obey does what a line says. It returns true when the tree is to be ended.
func (g *guard) obey(line string) bool {
	word, rest, _ := strings.Cut(line, " ")
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case word == wordEnd:
		return true
	case err != nil:
	case word == wordDeadline:
		g.deadline = max(g.deadline, time.Duration(n))
	case word == wordSignal:
		_ = g.cmd.Process.Signal(syscall.Signal(n)) // it may have ended this moment
	}
	return false
}

// end ends the tree and waits for the command.
func (g *guard) end() error {
	go func() { // X4: nothing that is said from now on counts
		for range g.orders {
			continue
		}
	}()
	g.endTree(g.deadline)
	return <-g.ended
}

// endTree sends SIGTERM to all that descends from us, and SIGKILL to what is
// left at the end of the grace, or at the deadline.
func (g *guard) endTree(deadline time.Duration) {
	me := os.Getpid()
	hard := min(Now()+g.grace, deadline)
	told := map[int]bool{}
	for begun := Now(); Now() < begun+g.grace+patience; {
		live := shim.Descendants(me)
		if len(live) == 0 {
			return
		}
		for _, pid := range live {
			switch {
			case Now() >= hard:
				_ = syscall.Kill(pid, syscall.SIGKILL)
			case !told[pid]:
				told[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM)
				_ = syscall.Kill(pid, syscall.SIGCONT) // or it would not hear it
			}
		}
		reapOrphans(g.cmd.Process.Pid)
		time.Sleep(lookEvery / 2)
	}
}

// reapOrphans takes note of adopted processes that have ended. The command
// itself is waited for elsewhere.
func reapOrphans(command int) {
	for _, pid := range shim.Zombies(os.Getpid()) {
		if pid != command {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// report tells the keeper how the command ended.
func report(result io.Writer, state *os.ProcessState, err error) error {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		_, werr := fmt.Fprintln(result, wordFailed, err)
		return werr
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		_, werr := fmt.Fprintln(result, wordKilled, int(status.Signal()))
		return ignorePipe(werr)
	}
	_, werr := fmt.Fprintln(result, wordExit, state.ExitCode())
	return ignorePipe(werr)
}

// ignorePipe: a keeper that is dead wants no answer.
func ignorePipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
