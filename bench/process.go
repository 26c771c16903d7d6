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
	"time"
)

// roles are what this program does in processes of its own: each gets a
// specification, and the lines that follow it on its input. It ends when they
// do.
var roles = map[string]func(ctx context.Context, spec json.RawMessage, lines <-chan string) error{
	"node": runNode, "swarm": runSwarm, "echo": runEcho, "fleet": runFleet,
}

// runRole runs what the arguments ask for. It reports false where that is
// none of the roles.
func runRole(args []string) (bool, error) {
	if len(args) != 3 || args[1] != "role" || roles[args[2]] == nil {
		return false, nil
	}
	in := bufio.NewReader(os.Stdin)
	spec, err := in.ReadBytes('\n')
	if err != nil {
		return true, fmt.Errorf("read the specification: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := make(chan string)
	go func() {
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
	return true, roles[args[2]](ctx, spec, lines)
}

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
	p := &process{cmd: exec.CommandContext(ctx, self, "role", role), out: make(chan string, 16)} //nolint:gosec // ourselves
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
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.out <- lines.Text()
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

// number asks the process for a figure.
func (p *process) number(ctx context.Context, question string, limit time.Duration) (float64, error) {
	if err := p.say(question); err != nil {
		return 0, err
	}
	line, err := p.line(ctx, limit)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", question, err)
	}
	return strconv.ParseFloat(line, 64)
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

// stop has the process end in good order.
func (p *process) stop() {
	_ = p.in.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
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
		text, err := os.ReadFile(path) //nolint:gosec // of our own child
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
