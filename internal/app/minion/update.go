package minion

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/worker"
	"github.com/carillon-cron/carillon/worker/facts"
)

// ErrUpdate is returned by Run when a release is staged: the process should end
// with ExitUpdate.
var ErrUpdate = errors.New("a release is staged")

// ExitUpdate is the exit code by which a minion asks its launcher to try what is
// staged.
const ExitUpdate = release.ExitUpdate

const (
	// stageWithin bounds one try to fetch a release.
	stageWithin = 10 * time.Minute
	// retryMin and retryMax bound the wait after one that may succeed later.
	retryMin = 5 * time.Second
	retryMax = time.Minute
	// quietWithin is how long a staged release waits for a moment at which no
	// accepted task waits for its start. After that those tasks are left to the
	// release, or to the former one: they are durable.
	quietWithin = 2 * time.Minute
	// askAgain is how long a minion works that finds a staged release when it
	// starts: whatever kept the launcher from trying it may do so again.
	askAgain = time.Minute
	// testWithin bounds one self-test; one that fails is made again every testEvery.
	testWithin = 15 * time.Second
	testEvery  = time.Second
	// look is how often what nobody announces is looked at.
	look = 100 * time.Millisecond
)

// updater brings this minion to the releases that nodes tell of.
type updater struct {
	cfg    Update
	in     *release.Installation // nil: it does not update itself
	health *release.Health
	fetch  release.Fetch
	log    *zap.Logger
	// givenUp counts what was given up before it was tried.
	givenUp prometheus.Counter
	// offers holds the newest release that was told and not looked at yet.
	offers chan offer

	mu sync.Mutex
	// mu guards refused: what was given up before it was tried.
	refused failure
}

// offer is a release that a node has told of.
type offer struct {
	number release.Number
	signed []byte
}

// failure is a release that was given up here, and why.
type failure struct {
	number release.Number
	reason string
	at     time.Time
}

// newUpdater returns an updater; it must be called before any process is started.
func newUpdater(cfg Update, log *zap.Logger) (*updater, error) {
	u := &updater{cfg: cfg, fetch: release.NewFetch(nil), log: log.Named("update"), givenUp: newGivenUp(), offers: make(chan offer, 1)}
	if !cfg.On {
		return u, nil
	}
	var err error
	if u.health, err = release.InheritHealth(); err != nil {
		return nil, err
	}
	u.in, err = release.Open(cfg.Dir)
	return u, err
}

// facts tell of the releases here.
func (u *updater) facts() map[string]string {
	f := release.Facts{On: u.in != nil, Release: u.cfg.Own}
	if !f.On {
		return f.Map()
	}
	s, err := u.in.State()
	if err != nil {
		u.log.Error("state of releases cannot be read", zap.Error(err))
		return f.Map()
	}
	f.Release = u.release(&s)
	last := u.failed(&s)
	f.Failed, f.Reason = last.number, last.reason
	return f.Map()
}

// release is the manifest that was confirmed last, or the own program's number.
func (u *updater) release(s *release.State) release.Number {
	switch {
	case s.Current.Release != 0:
		return s.Current.Manifest
	case s.Trial.Release != 0:
		return s.Floor.Release // the own number counts once it is confirmed
	}
	return u.cfg.Own
}

// failed returns what was given up last.
func (u *updater) failed(s *release.State) failure {
	u.mu.Lock()
	last := u.refused
	u.mu.Unlock()
	for _, f := range s.Failures {
		if f.Final && f.At.After(last.at) {
			last = failure{f.Program.Manifest, facts.Text(f.Reason), f.At}
		}
	}
	return last
}

// offer takes what a node tells; only the newest counts.
func (u *updater) offer(number int64, signed []byte) {
	o := offer{release.Number(number), signed}
	for {
		select {
		case u.offers <- o:
			return
		default:
		}
		select {
		case <-u.offers:
		default:
		}
	}
}

// run runs the minion until ctx is done, or until it should end for a release.
func (u *updater) run(ctx context.Context, m *worker.Minion) error {
	if u.in == nil {
		return m.Run(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	staged := make(chan bool, 1)
	go func() {
		ready := u.follow(ctx, m)
		if ready {
			cancel()
		}
		staged <- ready
	}()
	err := m.Run(ctx)
	cancel()
	if ready := <-staged; ready && err == nil {
		return ErrUpdate
	}
	return err
}

// follow says that this process works, if it is on trial, and then deals with
// what nodes tell, until ctx ends. It returns true when a release is staged and
// the minion has retired.
func (u *updater) follow(ctx context.Context, m *worker.Minion) bool {
	u.prove(ctx, m)
	var again <-chan time.Time
	if s, err := u.in.State(); err == nil && s.Staged.Release != 0 {
		again = time.After(askAgain)
	}
	var retry <-chan time.Time
	var last offer
	tries := backoff.Backoff{Least: retryMin, Most: retryMax}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return u.retire(ctx, m)
		case last = <-u.offers:
			tries.Reset()
		case <-retry:
		}
		retry = nil
		switch err := u.stage(ctx, last); {
		case ctx.Err() != nil:
			return false
		case err == nil:
			return u.retire(ctx, m)
		case errors.Is(err, release.ErrInstalled), errors.Is(err, release.ErrFailed):
			m.RefreshFacts() // the state says it all
		case permanent(err):
			u.log.Error("release is given up", zap.Int64("release", int64(last.number)), zap.Error(err))
			u.mu.Lock()
			u.refused = failure{last.number, facts.Text(err.Error()), time.Now()}
			u.mu.Unlock()
			u.givenUp.Inc()
			m.RefreshFacts()
		default:
			wait := tries.Next()
			u.log.Warn("release is not staged yet", zap.Int64("release", int64(last.number)), zap.Duration("again_in", wait), zap.Error(err))
			retry = time.After(wait)
		}
	}
}

// permanent: another try would end in the same way.
func permanent(err error) bool {
	for _, target := range []error{
		release.ErrSignature, release.ErrInvalid, release.ErrExpired, release.ErrOlder,
		release.ErrNoArtifact, release.ErrMismatch, errOther,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// errOther: the node has told another number than was signed.
var errOther = errors.New("manifest is not that of the release")

// stage verifies a release and brings it to disk.
func (u *updater) stage(ctx context.Context, o offer) error {
	signed, err := release.ParseSigned(o.signed)
	if err != nil {
		return fmt.Errorf("%w: %w", release.ErrInvalid, err)
	}
	s, err := u.in.State()
	if err != nil {
		return err
	}
	if s.Current.Release != 0 && s.Current.Manifest == o.number {
		return release.ErrInstalled // whatever the manifest says by now, as that it has expired
	}
	v, err := signed.Verify(u.cfg.Keys, u.cfg.Threshold, time.Now(), s.Floor)
	if err != nil {
		return err
	}
	if got := v.Manifest().Release; got != o.number {
		return fmt.Errorf("%w: it is signed for %d, and the node says %d", errOther, got, o.number)
	}
	u.log.Info("release is fetched", zap.Int64("release", int64(o.number)), zap.String("version", v.Manifest().Version))
	ctx, cancel := context.WithTimeout(ctx, stageWithin)
	defer cancel()
	return u.in.Stage(ctx, u.fetch, v)
}

// retire waits for a moment at which the minion may end. It returns false when
// ctx ends first.
func (u *updater) retire(ctx context.Context, m *worker.Minion) bool {
	bounded, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()
	if err := m.Retire(bounded); err != nil && ctx.Err() == nil {
		u.log.Warn("accepted tasks wait for their start all the time; the release starts them", zap.Duration("waited", quietWithin))
	}
	return ctx.Err() == nil
}

// prove tells the launcher that this process works, once it is connected and has
// passed its self-test, and waits until the release is confirmed.
func (u *updater) prove(ctx context.Context, m *worker.Minion) {
	if !u.health.Trial() {
		return
	}
	connected := func() bool { return m.Status().Node != "" }
	works := func() bool {
		bounded, cancel := context.WithTimeout(ctx, testWithin)
		defer cancel()
		if err := m.SelfTest(bounded); err != nil {
			u.log.Error("release does not work", zap.Error(err))
			return false
		}
		return true
	}
	confirmed := func() bool {
		s, err := u.in.State()
		return err == nil && s.Trial.Release == 0
	}
	if !poll(ctx, look, connected) || !poll(ctx, testEvery, works) {
		return
	}
	if err := u.health.Healthy(); err != nil {
		u.log.Error("launcher is not told that the release works", zap.Error(err))
	}
	if poll(ctx, look, confirmed) {
		m.RefreshFacts()
	}
}

// poll waits until cond is true, and returns false when ctx ends first.
func poll(ctx context.Context, every time.Duration, cond func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
