package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
)

// ErrInUse is returned by Run when another launcher works in the installation.
var ErrInUse = errors.New("installation is in use by another launcher")

// LauncherConfig says what a launcher starts. Zero values mean the defaults.
type LauncherConfig struct {
	// Args are the arguments that every program is started with, without its name.
	Args []string
	// Own is the program that runs while no release is installed. Default: this
	// process's own.
	Own string
	// OwnRelease is the number of Own. When it is above the floor, as after an
	// upgrade by a package, it runs instead of an older release that was
	// installed. Zero: unknown, and below every release.
	OwnRelease Number
	// Gate is how long a release on trial may take until it is healthy. Default: 60 s.
	Gate time.Duration
	// Grace is the time between SIGTERM and SIGKILL. Default: 10 s.
	Grace time.Duration
	// RestartMin and RestartMax bound the wait before a program that has ended
	// is started again. It doubles each time, and is RestartMin again after a
	// program has run for RestartMax. Default: 1 s and 30 s.
	RestartMin, RestartMax time.Duration
	// Stdout and Stderr are those of the programs. Default: this process's own.
	Stdout, Stderr *os.File
}

// LauncherDeps are what a launcher needs of its surroundings.
type LauncherDeps struct {
	// Installation is needed.
	Installation *Installation
	Logger       *zap.Logger
	// Signals are passed on to the program. Nil: none are. SIGTERM and SIGINT
	// should end the context of Run instead.
	Signals <-chan os.Signal

	// crash, if set, is called at the named places; tests kill the process there.
	crash func(point string)
	// sleep and gate, if set, stand in for waiting.
	sleep func(ctx context.Context, d time.Duration)
	gate  <-chan time.Time
}

// Launcher is the small parent process of a minion that updates itself.
type Launcher struct {
	cfg  LauncherConfig
	deps LauncherDeps
	in   *Installation
	log  *zap.Logger
	// verdict is on a trial that the state still calls one.
	verdict verdict
}

// verdict says why a trial has not been confirmed.
type verdict struct {
	reason string
	// interrupted: the release may be without fault.
	interrupted bool
}

// died is the verdict of a launcher that finds a trial which it did not begin.
func died() verdict { return verdict{"launcher ended before the release was confirmed", true} }

// NewLauncher returns a launcher. Nothing is started before Run.
func NewLauncher(cfg LauncherConfig, deps LauncherDeps) (*Launcher, error) {
	var errs []error
	if deps.Installation == nil {
		errs = append(errs, errors.New("installation is missing"))
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"gate", &cfg.Gate, time.Minute}, {"grace", &cfg.Grace, 10 * time.Second},
		{"restart min", &cfg.RestartMin, time.Second}, {"restart max", &cfg.RestartMax, 30 * time.Second},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: must not be negative", d.name, *d.value))
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if cfg.RestartMax < cfg.RestartMin {
		errs = append(errs, fmt.Errorf("restart max is %v: must not be below restart min, %v", cfg.RestartMax, cfg.RestartMin))
	}
	if cfg.Own == "" {
		own, err := os.Executable()
		if err != nil {
			errs = append(errs, fmt.Errorf("own program: %w", err))
		}
		cfg.Own = own
	}
	if cfg.Stdout == nil {
		cfg.Stdout = os.Stdout
	}
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	if deps.crash == nil {
		deps.crash = func(string) {}
	}
	if deps.sleep == nil {
		deps.sleep = func(ctx context.Context, d time.Duration) { backoff.Sleep(ctx, d) }
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("launcher: %w", err)
	}
	return &Launcher{cfg: cfg, deps: deps, in: deps.Installation, log: deps.Logger, verdict: died()}, nil
}

// outcome is what became of a request to try what is staged.
type outcome int

const (
	nothingStaged outcome = iota
	trialFailed
	trialConfirmed
)

// Run starts the minion, again and again, and tries the releases it stages,
// until ctx ends; then it ends the minion and returns nil. It returns an error,
// before anything is started, only if the installation cannot be read or is in use.
func (l *Launcher) Run(ctx context.Context) error {
	held, err := l.alone()
	if err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	defer unlock(held)
	state, err := l.in.State()
	if err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	if l.cfg.OwnRelease > state.Floor.Release {
		if err := l.in.adoptOwn(l.cfg.OwnRelease); err != nil {
			l.log.Error("own program is newer and cannot be made the current one", zap.Error(err))
		}
	}
	delay := l.cfg.RestartMin
	for {
		l.restore()
		ran, result := l.serve(ctx)
		if ctx.Err() != nil {
			l.restore()
			return nil
		}
		if result == trialFailed {
			continue // what was there before starts at once
		}
		if ran >= l.cfg.RestartMax {
			delay = l.cfg.RestartMin
		}
		l.log.Warn("minion has ended and will be started again", zap.Duration("after", delay))
		l.deps.sleep(ctx, delay)
		delay = min(2*delay, l.cfg.RestartMax)
	}
}

// alone takes the launcher's lock. What an earlier launcher was forking when it
// was killed may hold it for a moment longer.
func (l *Launcher) alone() (*os.File, error) {
	for tries := 0; ; tries++ {
		held, err := l.in.lock("launcher.lock", syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return held, err
		}
		if tries == 40 {
			return nil, fmt.Errorf("%w: %s", ErrInUse, l.in.Dir())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// serve runs the confirmed program, and the releases it has tried, until one
// ends otherwise than for an update. It returns how long the last one ran.
func (l *Launcher) serve(ctx context.Context) (ran time.Duration, result outcome) {
	if ctx.Err() != nil {
		return 0, nothingStaged
	}
	path, err := l.confirmed()
	var c *child
	if err == nil {
		c, err = l.spawn(path, false)
	}
	if err != nil {
		l.log.Error("minion cannot be started", zap.Error(err))
		return 0, nothingStaged
	}
	for {
		l.attend(ctx, c)
		l.log.Info("minion has ended", zap.String("how", c.how))
		ran = time.Since(c.began)
		c.close()
		if c.code != ExitUpdate || ctx.Err() != nil {
			return ran, nothingStaged
		}
		next, result := l.try(ctx)
		if result != trialConfirmed {
			return ran, result
		}
		c = next
	}
}

// confirmed returns the path of the program that may run without a trial. It is
// told by the state and not by the link, which may be behind.
func (l *Launcher) confirmed() (string, error) {
	s, err := l.in.State()
	if err != nil {
		return "", err
	}
	if s.Current.Release == 0 {
		return l.cfg.Own, nil
	}
	return l.in.worker(s.Current.Release), nil
}

// attend waits for the end of the process, passes signals on, and ends it when ctx ends.
func (l *Launcher) attend(ctx context.Context, c *child) {
	for {
		select {
		case <-c.done:
			return
		case sig, ok := <-l.deps.Signals:
			l.pass(c, sig, ok)
		case <-ctx.Done():
			l.stop(c)
			return
		}
	}
}

// try runs what is staged on trial. It returns the process if the release was
// confirmed; otherwise the process has ended, and restore has to follow.
func (l *Launcher) try(ctx context.Context) (*child, outcome) {
	p, err := l.in.beginTrial()
	if err != nil {
		l.log.Error("trial cannot begin", zap.Error(err))
		return nil, nothingStaged
	}
	if p.Release == 0 {
		l.log.Warn("minion asks for an update, and nothing is staged")
		return nil, nothingStaged
	}
	log := l.log.With(zap.Int64("release", int64(p.Manifest)), zap.String("version", p.Version))
	l.deps.crash("recorded")
	if err := l.in.flip(p.Release); err != nil {
		log.Error("trial cannot begin", zap.Error(err))
		l.verdict = verdict{err.Error(), true}
		return nil, trialFailed
	}
	l.deps.crash("flipped")
	c, v := l.trial(ctx, p)
	if c != nil {
		log.Info("release is confirmed")
		return c, trialConfirmed
	}
	log.Error("release has failed its trial, the former one is started", zap.String("reason", v.reason))
	l.verdict = v
	l.deps.crash("failed")
	return nil, trialFailed
}

// trial starts the release and confirms it, or ends it and says why.
func (l *Launcher) trial(ctx context.Context, p Program) (*child, verdict) {
	c, err := l.spawn(l.in.worker(p.Release), true)
	if err != nil {
		return nil, verdict{err.Error(), false}
	}
	l.deps.crash("started")
	v := l.judge(ctx, c)
	if v.reason == "" {
		l.deps.crash("healthy")
		if err := l.in.confirm(); err != nil {
			v = verdict{err.Error(), true}
		}
	}
	if v.reason != "" {
		c.kill()
		c.close()
		return nil, v
	}
	l.deps.crash("confirmed")
	if err := l.in.prune(); err != nil {
		l.log.Warn("old releases cannot be removed", zap.Error(err))
	}
	return c, v
}

// judge waits until the process is healthy, and returns no reason, or until it
// has failed or ctx ends.
func (l *Launcher) judge(ctx context.Context, c *child) verdict {
	timer := time.NewTimer(l.cfg.Gate)
	defer timer.Stop()
	gate := timer.C
	if l.deps.gate != nil {
		gate = l.deps.gate
	}
	for {
		select {
		case <-c.healthy:
			select {
			case <-c.done:
				return lastWords(c)
			default:
				return verdict{}
			}
		case <-c.done:
			return lastWords(c)
		case <-gate:
			return verdict{fmt.Sprintf("was not healthy within %v", l.cfg.Gate), false}
		case sig, ok := <-l.deps.Signals:
			l.pass(c, sig, ok)
		case <-ctx.Done():
			l.stop(c)
			return verdict{"launcher was stopped before the release was confirmed", true}
		}
	}
}

// lastWords judges a process on trial that has ended. What was healthy and asks
// for the next update works; what ends otherwise does not, whatever it has said.
func lastWords(c *child) verdict {
	switch {
	case !c.wasHealthy():
		return verdict{"ended before it was healthy: " + c.how, false}
	case c.code != ExitUpdate:
		return verdict{"ended as soon as it was healthy: " + c.how, false}
	}
	return verdict{}
}

// restore puts the confirmed release in its place again: it makes the link name
// what is current, and then writes down the end of a trial, if there is one.
// What cannot be written now is written by the next restore, and nothing that
// starts depends on it.
func (l *Launcher) restore() {
	s, err := l.in.State()
	if err == nil {
		err = l.in.point(s.Current.Release)
	}
	if err == nil && s.Trial.Release != 0 {
		l.deps.crash("flipped back")
		err = l.in.fail(l.verdict.reason, l.verdict.interrupted, time.Now())
	}
	if err == nil {
		l.verdict = died()
		err = l.in.prune()
	}
	if err != nil {
		l.log.Error("installation cannot be put in order", zap.Error(err))
	}
}

func (l *Launcher) pass(c *child, sig os.Signal, ok bool) {
	if !ok {
		l.deps.Signals = nil
		return
	}
	c.signal(sig)
}

// stop ends the process: SIGTERM, and SIGKILL after the grace.
func (l *Launcher) stop(c *child) {
	c.signal(syscall.SIGTERM)
	grace := time.NewTimer(l.cfg.Grace)
	defer grace.Stop()
	select {
	case <-c.done:
	case <-grace.C:
		l.log.Warn("minion does not end and is killed", zap.Duration("grace", l.cfg.Grace))
		c.kill()
	}
}
