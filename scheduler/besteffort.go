package scheduler

import (
	"context"
	"sync"
)

// bestEffort runs short tasks beside the shards, a few at a time.
type bestEffort struct {
	ctx   context.Context // the lifetime of what it runs
	slots chan struct{}
	wg    sync.WaitGroup
}

const bestEffortWorkers = 8

func newBestEffort(ctx context.Context) *bestEffort {
	return &bestEffort{ctx: ctx, slots: make(chan struct{}, bestEffortWorkers)}
}

// do runs fn, unless all workers are busy: then fn is dropped, and do reports false.
// So it is for what the caller tries again, or can do without.
func (s *bestEffort) do(fn func(ctx context.Context)) bool {
	select {
	case s.slots <- struct{}{}:
	default:
		return false
	}
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		fn(s.ctx)
	})
	return true
}
