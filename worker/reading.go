package worker

import (
	"context"
	"sync"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// reading is a request for output that is being answered. A reader that is slow
// has the sending wait, as much as its window says, and nothing else.
type reading struct {
	id     uint64
	cancel context.CancelFunc
	// window is how much may be on its way; 0: any amount.
	window int64
	// more is signaled when there is room again.
	more chan struct{}

	mu sync.Mutex
	// mu guards left: how much of the window is not used.
	left int64
}

func newReading(cancel context.CancelFunc, q *agentpb.OutputRequest) *reading {
	w := max(q.GetWindow(), 0)
	return &reading{id: q.GetId(), cancel: cancel, window: w, left: w, more: make(chan struct{}, 1)}
}

// pass waits until there is room for n in the window, and uses it up; one chunk
// always has room in a window of which nothing is used. It reports false when ctx
// has ended.
func (r *reading) pass(ctx context.Context, n int64) bool {
	if r.window == 0 {
		return ctx.Err() == nil
	}
	for {
		r.mu.Lock()
		room := r.left >= n || r.left == r.window
		if room {
			r.left -= n
		}
		r.mu.Unlock()
		if room {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-r.more:
		}
	}
}

// add tells that the reader has taken so much.
func (r *reading) add(taken int64) {
	r.mu.Lock()
	r.left = min(r.left+max(taken, 0), r.window)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}
