package sweep

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/definitions"
)

const (
	// every is how often is looked for what has come to its end.
	every = time.Minute
	// textsEvery is how many of these looks pass between two for texts of scripts
	// that nothing names: no order is on its way for so long.
	textsEvery = 60
	// hooksEvery is as textsEvery, for calls of webhooks.
	hooksEvery = 10
)

// Rooms are those that know what of theirs has come to its end. Each method removes
// it once.
type (
	Texts interface {
		SweepTexts(ctx context.Context, known *definitions.ScriptTexts) error
	}
	Starts interface {
		SweepBackfills(ctx context.Context) error
		SweepPassing(ctx context.Context) error
		SweepHooks(ctx context.Context) error
	}
	Pauses interface {
		SweepPauses(ctx context.Context) error
	}
	Tokens interface {
		SweepTokens(ctx context.Context) error
	}
)

// Deps is what a Sweeper stands on. All must be set.
type Deps struct {
	Texts  Texts
	Starts Starts
	Pauses Pauses
	Tokens Tokens
	Logger *zap.Logger
}

// Sweeper removes what has come to its end. Use New.
type Sweeper struct {
	deps Deps
}

// New returns a Sweeper.
func New(deps Deps) *Sweeper { return &Sweeper{deps: deps} }

// Sweep removes what has come to its end, again and again until ctx ends. It does so
// only while mine reports true: one node is enough.
func (s *Sweeper) Sweep(ctx context.Context, mine func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var texts definitions.ScriptTexts
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !mine() {
			texts.Idle = nil
			continue
		}
		if n%textsEvery == 0 {
			s.done(ctx, "tokens that have expired are not removed yet", s.deps.Tokens.SweepTokens(ctx))
			s.done(ctx, "texts of scripts are not removed yet", s.deps.Texts.SweepTexts(ctx, &texts))
		}
		if n%hooksEvery == 0 {
			s.done(ctx, "calls of webhooks are not forgotten yet", s.deps.Starts.SweepHooks(ctx))
		}
		s.done(ctx, "backfills are not cleaned up yet", s.deps.Starts.SweepBackfills(ctx))
		s.done(ctx, "commands that were run are not removed yet", s.deps.Starts.SweepPassing(ctx))
		s.done(ctx, "pauses that have ended are not removed yet", s.deps.Pauses.SweepPauses(ctx))
	}
}

// done tells what could not be removed: the next time is soon.
func (s *Sweeper) done(ctx context.Context, otherwise string, err error) {
	if err != nil && ctx.Err() == nil {
		s.deps.Logger.Warn(otherwise, zap.Error(err))
	}
}
