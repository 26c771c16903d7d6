package lockexec

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is what is run under a lock.
type Command struct {
	// Args are the program and its arguments, Env its whole environment.
	Args []string
	Env  []string
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
	// Deadline is until when the lock may be relied on, by Now.
	Deadline time.Duration
	// Standard streams of the command.
	Stdin, Stdout, Stderr *os.File
}

// Keeper talks to the shim of a running command. Its methods may be called by
// many goroutines.
type Keeper struct {
	shim   *exec.Cmd
	orders *os.File
	result *os.File
}

// ErrNotStarted is returned by Wait when the command could not be started.
var ErrNotStarted = errors.New("the command could not be started")

// Start starts the shim, and it the command.
func Start(c Command) (*Keeper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own program: %w", err)
	}
	theirOrders, ourOrders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	ourResult, theirResult, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pipe: %w", err), theirOrders.Close(), ourOrders.Close())
	}
	args := append([]string{Arg, strconv.FormatInt(int64(c.Grace), 10), strconv.FormatInt(int64(c.Deadline), 10)}, c.Args...)
	cmd := exec.Command(self, args...) // ourselves; it outlives us on purpose
	cmd.Env = c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.ExtraFiles = []*os.File{theirOrders, theirResult}
	err = cmd.Start()
	_ = theirOrders.Close()
	_ = theirResult.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), ourOrders.Close(), ourResult.Close())
	}
	return &Keeper{shim: cmd, orders: ourOrders, result: ourResult}, nil
}

// Extend tells until when the lock may be relied on.
func (k *Keeper) Extend(deadline time.Duration) { k.say(wordDeadline, int64(deadline)) }

// Signal sends a signal to the command.
func (k *Keeper) Signal(s syscall.Signal) { k.say(wordSignal, int64(s)) }

// End has the command's tree ended.
func (k *Keeper) End() { k.say(wordEnd, 0) }

// say writes an order. A shim that has ended needs none.
func (k *Keeper) say(word string, n int64) { _, _ = fmt.Fprintln(k.orders, word, n) }

// Wait waits until the command's whole tree has ended and returns the exit
// code: 128 and the signal's number when one ended the command.
func (k *Keeper) Wait() (int, error) {
	lines := bufio.NewScanner(k.result)
	said := lines.Scan()
	err := k.shim.Wait()
	_ = k.orders.Close()
	_ = k.result.Close()
	if !said {
		return 0, fmt.Errorf("the shim ended without a word: %w", errors.Join(err, lines.Err()))
	}
	word, rest, _ := strings.Cut(lines.Text(), " ")
	if word == wordFailed {
		return 0, fmt.Errorf("%w: %s", ErrNotStarted, rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return 0, fmt.Errorf("the shim said %q", lines.Text())
	}
	if word == wordKilled {
		n += 128
	}
	return n, nil
}
