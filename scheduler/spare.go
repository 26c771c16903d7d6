package scheduler

import (
	"context"
	"sync"
)

// spare runs short tasks beside the shards, a few at a time.
type spare struct {
	ctx   context.Context //nolint:containedctx // the lifetime of what it runs
	slots chan struct{}
	wg    sync.WaitGroup
}

const spareWorkers = 8

func newSpare(ctx context.Context) *spare {
	return &spare{ctx: ctx, slots: make(chan struct{}, spareWorkers)}
}

// do runs fn, unless all workers are busy: then fn is dropped, and do reports
// false. What is given to it comes again by itself.
func (s *spare) do(fn func(ctx context.Context)) bool {
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
