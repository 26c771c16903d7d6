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
	"github.com/carillon-cron/carillon/worker/wal"
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

// Minion is one minion. Its methods may be called from any goroutine.
type Minion struct {
	cfg      Config
	deps     Deps
	log      *zap.Logger
	metrics  *metrics
	instance string
	boot     string
	accounts accounts
	scripts  scripts
	handlers *handlers
	groups   groups
	troubles troubles
	// startWake tells the starter that there is a place or a task.
	startWake chan struct{}
	// orphanWake tells that there are orphans.
	orphanWake chan struct{}
	// factsWake asks for the facts to be found out anew.
	factsWake chan struct{}
	// failed carries the error that ends Run.
	failed chan error

	mu sync.Mutex
	// mu guards the following.
	journal *journal
	out     outbox
	clock   serverClock
	// active is how many tasks hold a place; waiting are accepted tasks
	// without one, ready those whose intent is durable, held those that an
	// earlier process accepted and that wait for the servers' time.
	active         int
	waiting, ready taskLine
	held           []*entry
	// renewals are the tasks that were given back at their turn.
	renewals renewals
	// unsettled are last reports that could not be written to the journal.
	unsettled []*job.Report
	spooled   int
	texts     texts
	// orphans are tasks whose shim has died; shimLost is when the last one did that
	// this process had.
	orphans  []*entry
	shimLost time.Time
	client   *shim.Client
	shimID   string
	node     job.NodeID
	// session is the highest that a node has given.
	session  int64
	stopping bool
	// tests are the self-tests that wait for the end of their command, by key.
	tests map[string]chan<- shim.Ended
	// facts are replaced, and never changed; factsEdition counts that.
	facts        map[string]string
	factsEdition uint64
}

// Status is what a minion is doing.
type Status struct {
	// Node is the node that the minion is connected to, empty when it is not.
	Node job.NodeID
	// Running tasks hold a place, Waiting ones are accepted and wait for one.
	Running, Waiting int
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
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if deps.writeJournal == nil {
		deps.writeJournal = (*os.File).WriteAt
	}
	if deps.free == nil {
		deps.free = freeBytes
	}
	if deps.clock == nil {
		deps.clock = boottime.Now
	}
	if deps.endOrphans == nil {
		deps.endOrphans = shim.EndOrphans
	}
	if deps.Crash == nil {
		deps.Crash = func(string) {}
	}
	m := &Minion{
		cfg: cfg, deps: deps, log: deps.Logger.Named("minion"),
		renewals: renewals{asked: map[taskKey]time.Time{}},
		instance: rand.Text(), boot: bootID(),
		startWake: make(chan struct{}, 1), orphanWake: make(chan struct{}, 1), factsWake: make(chan struct{}, 1), failed: make(chan error, 1),
		tests: map[string]chan<- shim.Ended{},
		out:   newOutbox(), journal: &journal{ledger: newLedger()}, handlers: newHandlers(deps.Handlers),
	}
	m.scripts.dir = cfg.path("scripts")
	if m.metrics, err = newMetrics(deps.Metrics, m); err != nil {
		return nil, fmt.Errorf("minion metrics: %w", err)
	}
	return m, nil
}

// ID returns the minion's name.
func (m *Minion) ID() job.MinionID { return m.cfg.ID }

// Status tells what the minion is doing.
func (m *Minion) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{
		Node: m.node, Running: m.active, Waiting: m.waiting.len() + len(m.held) + m.renewals.line.len(), Shim: m.client != nil,
		Unacked: m.journal.unacked, ClockSkew: m.clock.skew(time.Now()), Trouble: m.troubles.list(),
	}
	return s
}

func (m *Minion) crash(point string) { m.deps.Crash(point) }

// fail ends Run when the journal cannot be used any more.
func (m *Minion) fail(err error) {
	if !fatal(err) {
		m.troubles.journalFailed(err)
		m.log.Error("journal write failed", zap.Error(err))
		return
	}
	select {
	case m.failed <- err:
	default:
	}
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
	j, err := openJournal(m.cfg.path("journal"), &m.cfg, &m.deps, m.log)
	if err != nil {
		return err
	}
	defer func() {
		if err := j.log.Close(); err != nil {
			m.log.Error("journal close failed", zap.Error(err))
		}
	}()
	m.mu.Lock()
	m.journal = j
	for _, e := range j.live {
		if e.final != nil {
			m.spooled += outputSize(e.final)
		}
	}
	m.mu.Unlock()
	if m.groups = openGroups(&m.cfg); m.groups.why != nil {
		m.log.Info("commands have no control groups, so jobs with limits are rejected", zap.Error(m.groups.why))
	}
	client, err := m.attach(ctx)
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
	first.Go(func() { m.factsLoop(ctx, known) })
	first.Go(func() {
		<-known
		m.serveSessions(ctx)
	})
	first.Go(func() { m.housekeep(ctx) })
	first.Go(func() { m.orphanLoop(ctx) })
	second.Go(func() { m.startLoop(starting) })
	third.Go(func() { m.shimLoop(following, client) })
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		m.settleHandled()
	}()

	var err error
	select {
	case <-ctx.Done():
		m.log.Info("minion stops; running commands go on", zap.Int("running", m.Status().Running))
	case err = <-m.failed:
		cancel(err)
	}
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
	first.Wait()
	stopStarter()
	second.Wait()
	m.stopHandlers()
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
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a file descriptor
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

// sync makes a batch of the journal durable.
func (m *Minion) sync(b wal.Batch) error {
	if b == 0 {
		return nil
	}
	begin := time.Now()
	err := m.journal.sync(b)
	m.metrics.syncTime.Observe(time.Since(begin).Seconds())
	return err
}

// housekeep does what is done now and then.
func (m *Minion) housekeep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	clean := time.NewTicker(time.Minute)
	defer clean.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	m.lookAtDisk(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-clean.C:
			m.cleanOutput(time.Now(), 0)
			m.scripts.clean(time.Now())
			m.cleanSteps(time.Now())
			m.cleanGroups()
		case <-look.C:
			m.lookAtDisk(time.Now())
		case now := <-tick.C:
			notify(m.startWake) // tasks that were given back may not have come again
			m.expireTexts()
			m.mu.Lock()
			m.out.resend(m.journal.ledger, now)
			again := m.unsettled
			m.unsettled = nil
			did, err := m.journal.compact(now)
			m.mu.Unlock()
			if err != nil {
				m.fail(err)
			} else if did {
				m.log.Info("journal compacted", zap.Int64("bytes", m.journal.log.Size()))
			}
			if len(again) > 0 {
				m.settle(again)
			}
			m.probeJournal()
		}
	}
}

// serverClock tells the servers' time, by the monotonic clock, so that a step
// of this host's clock decides nothing.
type serverClock struct {
	base, at time.Time
}

// set takes the time that a server has told in answer to something that was sent
// at sent. It was told in between, so half the way back is how far it may be off.
func (c *serverClock) set(server, sent, received time.Time) {
	c.base, c.at = server, sent.Add(received.Sub(sent)/2)
}

// skew returns how far this host's wall clock, which says now, is ahead of the
// server's. Zero: no server has told its time yet.
func (c *serverClock) skew(now time.Time) time.Duration {
	if !c.valid() {
		return 0
	}
	return now.Round(0).Sub(c.base.Add(now.Sub(c.at)))
}

// valid reports whether a server has told its time yet.
func (c *serverClock) valid() bool { return !c.at.IsZero() }

func (c *serverClock) now() time.Time {
	if !c.valid() {
		return time.Now().UTC()
	}
	return c.base.Add(time.Since(c.at))
}
