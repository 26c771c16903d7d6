package etcdtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest/member"
)

// ProgramVariable is the environment variable with the path of the program ./server.
// Where it is set, servers are processes of their own; else they are part of the test.
const ProgramVariable = "CARILLON_TEST_ETCD"

// running is a server that runs.
type running interface {
	// addr is host:port of its listener for clients.
	addr() string
	// stop stops it, and returns when it has ended.
	stop()
}

// run starts a server: the program, or, where it is empty, in this process.
func run(program, dir, addr string) (running, error) {
	if program == "" {
		e, err := member.Start(dir, addr)
		if err != nil {
			return nil, err
		}
		return inside{e}, nil
	}
	p := &process{cmd: exec.Command(program, dir, addr)}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, errors.New(strings.TrimSpace(p.stderr.String()))
	}
	p.at = strings.TrimSpace(line)
	return p, nil
}

// inside is a server in this process.
type inside struct{ etcd *embed.Etcd }

func (i inside) addr() string { return i.etcd.Clients[0].Addr().String() }
func (i inside) stop()        { i.etcd.Close() }

// process is a server in a process of its own, which ends with its input, and so with
// us as well.
type process struct {
	cmd    *exec.Cmd
	in     io.Closer
	at     string
	stderr bytes.Buffer
}

func (p *process) addr() string { return p.at }

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait() // that it has ended is what counts
}
