package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/steps"
)

const (
	// spoolBytes is how much output of unacknowledged reports is kept in
	// memory and journal; beyond it results go without their output.
	spoolBytes = 64 << 20
	// farewell is how long a minion that stops tries to get rid of its reports.
	farewell = 3 * time.Second
)

// RunShim is the entry of the shim: a main calls it with what follows the
// hidden command "shim", and exits when it returns. It does not return where it
// is to run the steps of a task: their exit code is the process's then.
func RunShim(args []string) error {
	if len(args) > 0 && args[0] == stepsArg {
		os.Exit(steps.Main(args[1:], os.Stdout, os.Stderr))
	}
	return shim.Main(args)
}

// Minion is one minion. Its methods may be called from any goroutine. What it does
// its parts do.
type Minion struct {
	*base
	tasks       *tasks
	reporting   *reporting
	commands    *commands
	handlers    *handlers
	execution   *execution
	orphans     *orphans
	tests       *selfTests
	supervision *supervision
	facts       *hostFacts
	connection  *connection
	signing     *signing
	seen        *seen
	upkeep      *upkeep
	sharing     *sharing
}

// Status is what a minion is doing.
type Status struct {
	// Node is the node that the minion is connected to, empty when it is not.
	Node job.NodeID
	// Running tasks hold a place, Waiting ones are accepted and wait for one.
	Running, Waiting int
	// Handling tasks are run by handlers, or were until just now.
	Handling int
	// Unacked final reports wait for a node's acknowledgement.
	Unacked int
	// Shim: the supervising process is there.
	Shim bool
	// ClockSkew is how far this host's wall clock is ahead of the node's. Zero
	// also while no node has told its time.
	ClockSkew time.Duration
	// Trouble is what keeps the minion from working well, in words. Empty: nothing.
	Trouble []string
}

// New returns a minion. It touches nothing before Run. Errors: a
// *job.InvalidError with all problems, or ErrInsecure.
func New(cfg Config, deps Deps) (*Minion, error) {
	cfg.protected = deps.Transport != nil
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &base{cfg: cfg, deps: deps.filled(), instance: rand.Text(), boot: bootID(), failed: make(chan error, 1)}
	b.log = b.deps.Logger.Named("minion")
	m := &Minion{base: b, tasks: newTasks(b)}
	scripts, groups := &scripts{dir: cfg.path("scripts")}, &groups{}
	m.reporting = &reporting{base: b, tasks: m.tasks}
	m.sharing = newSharing(b, m.tasks)
	m.commands = &commands{base: b, scripts: scripts, groups: groups, sharing: m.sharing}
	m.handlers = newHandlers(b, m.tasks, m.reporting)
	m.handlers.share = m.sharing.ask
	m.execution = &execution{
		base: b, tasks: m.tasks, reporting: m.reporting, commands: m.commands, handlers: m.handlers, scripts: scripts,
		findable: make(chan struct{}, secretsAtOnce),
	}
	m.orphans = &orphans{base: b, tasks: m.tasks, reporting: m.reporting, groups: groups, wake: make(chan struct{}, 1)}
	m.tests = &selfTests{base: b, tasks: m.tasks, reporting: m.reporting, waiting: map[string]chan<- shim.Ended{}}
	m.supervision = &supervision{
		base: b, tasks: m.tasks, reporting: m.reporting, commands: m.commands, orphans: m.orphans, tests: m.tests,
	}
	wake := make(chan struct{}, 1)
	m.signing, m.seen = &signing{base: b, changed: wake}, &seen{base: b}
	m.facts = &hostFacts{base: b, groups: groups, signing: m.signing, wake: wake, changed: m.tasks.out.wake}
	m.connection = &connection{
		base: b, tasks: m.tasks, reporting: m.reporting, admission: &admission{base: b, tasks: m.tasks, reporting: m.reporting, signing: m.signing, seen: m.seen},
		execution: m.execution, facts: m.facts, seen: m.seen, sharing: m.sharing, status: m.Status,
	}
	m.upkeep = &upkeep{
		base: b, tasks: m.tasks, reporting: m.reporting, execution: m.execution, scripts: scripts, groups: groups,
	}
	if b.metrics, err = newMetrics(deps.Metrics, m); err != nil {
		return nil, fmt.Errorf("minion metrics: %w", err)
	}
	return m, nil
}

// filled returns the dependencies with what stands for those that are not given.
func (d Deps) filled() Deps {
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	if d.writeJournal == nil {
		d.writeJournal = (*os.File).WriteAt
	}
	if d.free == nil {
		d.free = freeBytes
	}
	if d.clock == nil {
		d.clock = boottime.Now
	}
	if d.endOrphans == nil {
		d.endOrphans = shim.EndOrphans
	}
	if d.Crash == nil {
		d.Crash = func(string) {}
	}
	return d
}

// ID returns the minion's name.
func (m *Minion) ID() job.MinionID { return m.cfg.ID }

// Status tells what the minion is doing.
func (m *Minion) Status() Status {
	t := m.tasks
	t.mu.Lock()
	s := Status{
		Running: t.places.active, Waiting: t.places.inLine(), Shim: t.client != nil,
		Handling: int(m.handlers.open.Load()), Unacked: t.journal.unacked, ClockSkew: t.clock.skew(time.Now()), Trouble: m.troubles.list(),
	}
	t.mu.Unlock()
	m.connection.mu.Lock()
	defer m.connection.mu.Unlock()
	s.Node = m.connection.node
	return s
}

// Run runs the minion until ctx is done; then it takes no more orders, leaves
// running commands to the shim, sends what it can within a few seconds and
// returns nil. Other errors: ErrInUse, or why it cannot work at all.
func (m *Minion) Run(ctx context.Context) error {
	if err := m.makeDirs(); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(m.cfg.path("lock"))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := m.signing.open(); err != nil {
		return err
	}
	j, err := openJournal(m.cfg.path("journal"), &m.cfg, &m.deps, m.log)
	if err != nil {
		return err
	}
	defer func() {
		if err := j.log.Close(); err != nil {
			m.log.Error("journal close failed", zap.Error(err))
		}
	}()
	if err := m.seen.open(j.tokens); err != nil {
		return err
	}
	m.tasks.mu.Lock()
	m.tasks.journal = j
	m.facts.memory = j.memory
	for _, e := range j.live {
		if e.final != nil {
			m.tasks.out.spooled += outputSize(e.final)
		}
	}
	m.tasks.mu.Unlock()
	m.sharing.listen()
	groups := m.commands.groups
	if *groups = openGroups(&m.cfg); groups.why != nil {
		m.log.Info("commands have no control groups, so jobs with limits are rejected", zap.Error(groups.why))
	}
	client, err := m.supervision.attach(ctx)
	if err != nil {
		return err
	}
	return m.work(ctx, client)
}

// makeDirs makes the data directory. Root's lets others pass, because commands
// of other users start below it; they can list nothing.
func (m *Minion) makeDirs() error {
	if err := datadir.MakeMinion(m.cfg.DataDir, m.log); err != nil {
		return err
	}
	pass := datadir.OfMinion()
	for dir, mode := range map[string]os.FileMode{
		"output": datadir.Private, "scripts": datadir.Private, "shim": datadir.Private, stepsDir: pass, "work": pass,
	} {
		if err := datadir.Make(m.cfg.path(dir), mode, m.log); err != nil {
			return err
		}
	}
	return nil
}

// work runs the minion's goroutines until ctx is done or the journal fails.
func (m *Minion) work(ctx context.Context, client *shim.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The starter outlives the sessions, and the shim's news the starter:
	// what was promised to a node is handed over, and what ends meanwhile is told.
	starting, stopStarter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStarter()
	following, stopFollower := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFollower()

	var first, second, third sync.WaitGroup
	known := make(chan struct{})
	first.Go(func() { m.facts.run(ctx, known) })
	first.Go(func() {
		<-known
		m.connection.run(ctx)
	})
	first.Go(func() { m.upkeep.run(ctx) })
	if m.sharing.server != nil {
		first.Go(func() { m.sharing.server.Run(ctx) })
	}
	first.Go(func() { m.orphans.run(ctx) })
	second.Go(func() { m.execution.run(starting) })
	third.Go(func() { m.supervision.run(following, client) })
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		m.handlers.settle()
	}()

	var err error
	select {
	case <-ctx.Done():
		m.log.Info("minion stops; running commands go on", zap.Int("running", m.Status().Running))
	case err = <-m.failed:
		cancel(err)
	}
	m.tasks.mu.Lock()
	m.tasks.stopping = true
	m.tasks.mu.Unlock()
	m.handlers.interrupt()
	first.Wait()
	stopStarter()
	second.Wait()
	m.handlers.end()
	select {
	case <-settled:
	case <-time.After(time.Second): // some handlers do not end
	}
	stopFollower()
	third.Wait()
	return err
}

// lockDir makes sure that one minion uses the data directory.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, fmt.Errorf("%w: another minion (process %s) uses %s; stop it, or give each minion its own --data-dir",
			ErrInUse, strings.TrimSpace(string(pid)), strings.TrimSuffix(path, "/lock"))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory: lock: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
