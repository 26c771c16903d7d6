package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/cli"
	"github.com/carillon-cron/carillon/worker"
)

// roles are what this program does in processes of its own, by its first
// argument: so their memory and processor time are not counted as ours.
func roles() map[string]func(args []string) error {
	return map[string]func(args []string) error{
		shimRole:        worker.RunShim,
		app.WatchdogArg: runWatchdog,
		"carillon":      runCarillon,
		"etcd":          told(runEtcd),
		"node":          told(runNode),
		"engine":        told(runEngine),
		"bare-engine":   told(runBareEngine),
		"minion":        told(runMinion),
		"fleet":         told(runFleet),
		"swarm":         told(runSwarm),
		"echo":          told(runEcho),
	}
}

// runCarillon is the command line.
func runCarillon(args []string) error {
	code := cli.Main(context.Background(), cli.Options{Args: args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}

// runWatchdog watches a node. That the lease of one is over already is no matter.
func runWatchdog([]string) error {
	err := app.RunWatchdog(os.Stdin)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

// shimRole is the supervisor of a minion's commands.
const shimRole = "shim"

// roleOf returns what the arguments ask for; nil where that is no role.
func roleOf(args []string) func() error {
	if len(args) == 0 || roles()[args[0]] == nil {
		return nil
	}
	return func() error { return roles()[args[0]](args[1:]) }
}

// told runs a role that reads a specification from its input, and then lines
// that ask something of it. It ends when its input does, as it does when the
// process that started it is gone.
func told[Spec any](role func(ctx context.Context, spec Spec, lines <-chan string) error) func([]string) error {
	return func([]string) error {
		in := bufio.NewReader(os.Stdin)
		text, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read the specification: %w", err)
		}
		var spec Spec
		if err := json.Unmarshal(text, &spec); err != nil {
			return fmt.Errorf("read the specification: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		lines := make(chan string)
		go func() {
			// Whoever started it may be gone, and so may be what it needs to end well.
			defer time.AfterFunc(stopTimeout, func() { os.Exit(1) })
			defer cancel()
			defer close(lines)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				lines <- strings.TrimSpace(line)
			}
		}()
		if err := role(ctx, spec, lines); err != nil && ctx.Err() == nil {
			return err
		}
		return nil // what it was told to end fails no more
	}
}

// stopTimeout is how long a role may take to end once its input has.
const stopTimeout = 20 * time.Second

// answer prints what a role was asked for.
func answer(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// process is this program in one of its roles.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string
}

// start starts a process. What it says on its output comes as lines.
func start(ctx context.Context, role string, spec any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, role), out: make(chan string, 16)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.out)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			p.out <- strings.TrimSpace(line)
		}
	}()
	if err := json.NewEncoder(p.in).Encode(spec); err != nil {
		p.kill()
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return p, nil
}

// line waits for the process's next line.
func (p *process) line(ctx context.Context, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case line, ok := <-p.out:
		if !ok {
			return "", errors.New("the process has ended")
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// say gives the process a line.
func (p *process) say(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// ask asks the process a question; the answer comes as JSON.
func (p *process) ask(ctx context.Context, question string, limit time.Duration, into any) error {
	err := p.say(question)
	if err == nil {
		err = p.hear(ctx, limit, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", question, err)
	}
	return nil
}

// hear reads the next line of the process as JSON.
func (p *process) hear(ctx context.Context, limit time.Duration, into any) error {
	line, err := p.line(ctx, limit)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(line), into)
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

// stop has the process end in good order.
func (p *process) stop() {
	_ = p.in.Close()
	timer := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	p.wait()
}

func (p *process) wait() {
	if p.cmd.ProcessState != nil {
		return // it has been waited for
	}
	for line := range p.out { // Wait may be called once everything is read
		_ = line
	}
	_ = p.cmd.Wait()
}

// resident returns the memory of the process in bytes.
func (p *process) resident() (int64, error) { return residentOf(strconv.Itoa(p.cmd.Process.Pid)) }

// ticksPerSecond is the unit of processor time in /proc.
const ticksPerSecond = 100

// processorTime returns the seconds of processor time that processes have used.
func processorTime(all ...*process) (float64, error) {
	ticks := 0.0
	for _, p := range all {
		path := fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid)
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		// The name, in parentheses, may hold anything; two fields of time are the
		// 12th and 13th after it.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 13 {
			return 0, errors.New(path + " is not understood")
		}
		for _, f := range fields[11:13] {
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			ticks += n
		}
	}
	return ticks / ticksPerSecond, nil
}

// residentOf returns the memory of a process in bytes.
func residentOf(pid string) (int64, error) {
	path := "/proc/" + pid + "/statm"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, errors.New(path + " is not understood")
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// cpuTime returns the processor time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
