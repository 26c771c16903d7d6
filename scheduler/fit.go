package scheduler

import (
	"context"
	"errors"
	"time"
)

// errTimeMoved ends a shard whose times were reckoned by a clock that was wrong.
var errTimeMoved = errors.New("the time was set right")

// fit reports whether the shard may go on by the time that it has. What it has
// reckoned by a time that has been moved since is reckoned anew.
func (s *shard) fit() bool {
	t := s.deps.Time
	if t == nil {
		return true
	}
	ok := t.Fit()
	if t.Epoch() != s.epoch {
		s.err = errTimeMoved
		return false
	}
	return ok
}

// awaitFit waits until the shard may go on. It may be passed on meanwhile.
func (s *shard) awaitFit(ctx context.Context) error {
	for !s.fit() {
		if err := s.readMail(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.knock:
		case <-time.After(unfitPause):
		}
	}
	return nil
}
