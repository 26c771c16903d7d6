package attack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/reap"
)

// program is how a process is started.
type program struct {
	// name is that of a binary in bin, or a path.
	name string
	args []string
	env  []string // besides our own
	// as is the account; nil: ours.
	as *account
	// dir is the working directory. Empty: ours, or the account's own.
	dir   string
	stdin string
	// files is how many files it may have open; 0: as many as we.
	files int
}

// command makes the command; Cancel and limits are the caller's.
func (p *program) command() *exec.Cmd {
	path := p.name
	if !strings.ContainsRune(path, filepath.Separator) {
		path = filepath.Join(bin, path)
	}
	args := p.args
	if p.files > 0 {
		path, args = "/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, p.files), path}, args...)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir = p.dir
	cmd.Stdin = strings.NewReader(p.stdin)
	// Nothing survives us, whatever we die of.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if p.as != nil {
		p.as.takeOver(cmd)
	}
	return cmd
}

// result is what came of a program that has ended.
type result struct {
	stdout, stderr string
	code           int // -1: a signal ended it
}

// run runs a program to its end, and again where etcd was slower than a node waits, as
// on a busy machine.
func run(t testing.TB, p program) result {
	t.Helper()
	for {
		var stdout, stderr bytes.Buffer
		cmd := p.command()
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
		if r.code != exitUnavailable || !strings.Contains(r.stderr, "context deadline exceeded") {
			return r
		}
		t.Logf("%s %q: %s", p.name, p.args, strings.TrimSpace(r.stderr))
	}
}

// exitUnavailable is the exit code of a command that nobody could do at the time.
const exitUnavailable = 6

// must returns what a program prints, and fails the test unless it succeeds.
func (r result) must(t testing.TB) string {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// process is a program that runs until it is stopped, or its test ends.
type process struct {
	cmd   *exec.Cmd
	log   string // file with all that it printed
	ended chan struct{}
}

// start starts a program. What it printed is shown if the test fails.
func start(t testing.TB, p program) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(p.name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has its own
	c := &process{cmd: p.command(), log: log.Name(), ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // its end is what counts
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("%s %q printed:\n%s", p.name, p.args, tail(c.output(), 16<<10))
		}
	})
	return c
}

// kill ends the process at once, with what is in its process group.
func (c *process) kill() { c.end(syscall.SIGKILL) }

// end sends a signal and waits until the process has ended.
func (c *process) end(sig syscall.Signal) {
	if c.runs() {
		_ = syscall.Kill(-c.cmd.Process.Pid, sig) // it may have ended by itself
	}
	<-c.ended
}

// runs reports whether the process runs.
func (c *process) runs() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// output returns what the process has printed so far.
func (c *process) output() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// openDir returns a directory that every account may enter, and read, which the
// test's own are not. What runs in it is killed when the test ends.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carillon-attack-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		reap.Dir(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // it is meant to be entered
		t.Fatal(err)
	}
	return dir
}
