package shim

import (
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/worker/cgroup"
)

const (
	// PipeGrace is how long output is awaited after a command has ended.
	PipeGrace = 2 * time.Second
	// DefaultGrace is the time between SIGTERM and SIGKILL.
	DefaultGrace = 2 * time.Second
)

// errLate: the command's StartBy has passed.
var errLate = errors.New("it is too late")

// process is a running command.
type process struct {
	spec  Spec
	pid   int
	ticks uint64
	at    time.Time

	out     *capture
	pipes   [2]*os.File
	readers sync.WaitGroup

	// stop carries the first wish to end the command.
	stop chan Kill
	// exited is closed once the leader was reaped; status and usage are set then.
	exited chan struct{}
	status syscall.WaitStatus
	usage  syscall.Rusage
}

// spawner starts processes and reaps them. Everything that is started comes
// from one locked thread, because the parent death signal follows the thread.
type spawner struct {
	null   *os.File
	specs  chan birth
	starts *startLog

	mu sync.Mutex
	// mu guards leaders, and is held from fork to registration and from
	// reaping to removal: a number in leaders always means our process.
	leaders map[int]*process
}

type birth struct {
	spec Spec
	done func(*process, error)
}

func newSpawner(starts *startLog) (*spawner, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &spawner{null: null, specs: make(chan birth), starts: starts, leaders: map[int]*process{}}, nil
}

// run starts what arrives in specs, for the life of the process: the thread
// must not end before the process does.
func (n *spawner) run() {
	runtime.LockOSThread()
	for b := range n.specs {
		b.done(n.start(b.spec))
	}
	select {}
}

func (n *spawner) start(spec Spec) (*process, error) {
	p := &process{
		spec: spec, out: newCapture(spec.Output, spec.OutputCap).masking(spec.Mask),
		stop: make(chan Kill, 1), exited: make(chan struct{}),
	}
	var write [2]int
	for i := range p.pipes {
		var fds [2]int
		if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
			p.closePipes(write[:i])
			return nil, fmt.Errorf("pipe: %w", err)
		}
		if err := syscall.SetNonblock(fds[0], true); err != nil {
			p.closePipes(write[:i])
			return nil, fmt.Errorf("pipe: %w", err)
		}
		// Only the reading end is non-blocking: the command gets a plain pipe.
		p.pipes[i], write[i] = os.NewFile(uintptr(fds[0]), "pipe"), fds[1]
	}
	attr := &syscall.ProcAttr{
		Dir: spec.Dir, Env: spec.Env,
		Files: []uintptr{n.null.Fd(), uintptr(write[0]), uintptr(write[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if u := spec.User; u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	begun := n.starts.begin(spec.Key)
	n.mu.Lock()
	p.at = time.Now()
	pid, err := 0, errLate
	if spec.StartBy == 0 || boottime.Now() <= spec.StartBy {
		if err = begun; err == nil {
			pid, err = forkExec(&p.spec, attr)
		}
	}
	if err == nil {
		p.pid = pid
		n.leaders[pid] = p
		if st, ok := readProc(pid); ok {
			p.ticks = st.ticks // not reaped yet, so the number is still its own
		}
	}
	n.mu.Unlock()
	if err != nil {
		p.closePipes(write[:])
		p.removeGroup()
		if errors.Is(err, syscall.E2BIG) {
			return nil, fmt.Errorf("start %s: its arguments and environment come to %d bytes, more than Linux takes with this limit of the stack: %w", spec.Path, bytesOf(spec.Args)+bytesOf(spec.Env), err)
		}
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	for i := range write {
		_ = syscall.Close(write[i])
		p.readers.Go(func() { p.read(i) })
	}
	return p, nil
}

// bytesOf is how much the strings come to, each with its end.
func bytesOf(list []string) int {
	n := 0
	for _, s := range list {
		n += len(s) + 1
	}
	return n
}

// forkExec starts the program inside of its control group. When that cannot be
// done, and the group has no limits, it is started without the group.
func forkExec(spec *Spec, attr *syscall.ProcAttr) (int, error) {
	if spec.Identity != nil {
		if err := spec.Identity.Check(spec.Path); err != nil {
			return 0, err
		}
	}
	if spec.Cgroup == "" {
		return syscall.ForkExec(spec.Path, spec.Args, attr)
	}
	dir, err := os.Open(spec.Cgroup)
	if err == nil {
		defer func() { _ = dir.Close() }()
		inside := *attr.Sys
		inside.UseCgroupFD, inside.CgroupFD = true, int(dir.Fd())
		var pid int
		pid, err = syscall.ForkExec(spec.Path, spec.Args, &syscall.ProcAttr{Dir: attr.Dir, Env: attr.Env, Files: attr.Files, Sys: &inside})
		if err == nil {
			return pid, nil
		}
	}
	if spec.Bounded {
		return 0, fmt.Errorf("in control group %s: %w", spec.Cgroup, err)
	}
	// Nothing of the command has run: the program is the last thing that fails.
	_ = cgroup.Remove(spec.Cgroup)
	spec.Cgroup = ""
	return syscall.ForkExec(spec.Path, spec.Args, attr)
}

// removeGroup removes the command's control group, unless processes are left
// in it; the agent looks after those.
func (p *process) removeGroup() {
	if p.spec.Cgroup != "" {
		_ = cgroup.Remove(p.spec.Cgroup)
	}
}

func (p *process) closePipes(write []int) {
	for i := range write {
		_ = syscall.Close(write[i])
	}
	for _, f := range p.pipes {
		if f != nil {
			_ = f.Close()
		}
	}
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// read takes output from one pipe until it is at its end or closed.
func (p *process) read(i int) {
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for {
		n, err := p.pipes[i].Read(*buf)
		if n > 0 {
			p.out.write(Stdout+i, (*buf)[:n])
		}
		if err != nil {
			return
		}
	}
}

// reap collects all processes that have ended, our own and orphans.
func (n *spawner) reap() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := n.leaders[pid]; p != nil {
			delete(n.leaders, pid)
			p.status, p.usage = status, usage
			close(p.exited)
		}
	}
}

// signalGroup signals the command's group, unless its leader was reaped: the
// number may mean another group then.
func (n *spawner) signalGroup(p *process, sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leaders[p.pid] == p {
		_ = syscall.Kill(-p.pid, sig)
	}
}

// end kills the whole tree of p: SIGTERM to the group, then after the grace
// SIGKILL to everybody who is left. It returns once the leader has gone.
func (n *spawner) end(p *process) {
	t := &tree{leader: p.pid, ticks: p.ticks, marks: p.spec.Marks, known: map[int]uint64{}}
	self := os.Getpid()
	t.members(self) // who belongs to it is best seen while all parents live
	n.signalGroup(p, syscall.SIGTERM)

	grace := p.spec.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	over := time.NewTimer(grace)
	defer over.Stop()
	exited := p.exited
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
wait:
	for {
		select {
		case <-over.C:
			break wait
		case <-exited:
			exited = nil
		case <-poll.C:
			if exited != nil {
				continue // no need to look while the leader lives
			}
		}
		if len(t.members(self)) == 0 && !p.grouped() {
			break
		}
	}
	n.signalGroup(p, syscall.SIGKILL)
	if p.spec.Cgroup != "" {
		if err := cgroup.Kill(p.spec.Cgroup); err != nil {
			log.Printf("kill of a control group: %v", err) // the rounds below are left
		}
	}
	// A process that cannot be killed (it waits for a dead disk) must not hold
	// up the report for ever, so the rounds are bounded.
	for pause := time.Millisecond; pause < 2*time.Second; pause *= 2 {
		live := t.members(self)
		if len(live) == 0 && !p.grouped() {
			break
		}
		for _, pid := range live {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
	<-p.exited
}

// grouped reports whether processes are left in the command's control group.
func (p *process) grouped() bool { return p.spec.Cgroup != "" && cgroup.Populated(p.spec.Cgroup) }

// collect waits for the output, but not long, and returns the exit record.
func (p *process) collect(cause Kill, why Cause) Ended {
	ended := time.Now()
	done := make(chan struct{})
	go func() { p.readers.Wait(); close(done) }()
	grace := time.NewTimer(PipeGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
	for _, f := range p.pipes {
		_ = f.Close() // ends a reader that still waits
	}
	<-done
	e := Ended{
		Key: p.spec.Key, Cause: why, Reason: cause.Reason,
		StartedAt: p.at.UnixNano(), EndedAt: ended.UnixNano(),
		UserCPU:   time.Duration(p.usage.Utime.Nano()),
		SystemCPU: time.Duration(p.usage.Stime.Nano()),
		MaxRSS:    p.usage.Maxrss << 10,
	}
	e.Stdout, e.Stderr = p.out.close()
	if p.spec.Cgroup != "" {
		e.OOM = cgroup.OOMKilled(p.spec.Cgroup)
		p.removeGroup()
	}
	if p.status.Signaled() {
		e.Code, e.Signal = -1, signalName(p.status.Signal())
	} else {
		e.Code = p.status.ExitStatus()
	}
	return e
}
