package agentpush

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// outputChunks is how many chunks wait for one reader of output; when they are
// full, the session waits for the reader for outputPatience and then gives it
// up: its other frames matter more.
const (
	outputChunks   = 1024
	outputPatience = time.Second
)

var errSlowReader = errors.New("output was read too slowly")

// outputs are the readers of output on one session. The zero value is ready.
type outputs struct {
	mu sync.Mutex
	// mu guards what follows.
	readers map[uint64]*reader
	failed  error
}

// reader is one request for output.
type reader struct {
	// chunks is bounded by outputChunks.
	chunks chan *agentpb.OutputChunk
	// done is closed when no chunk will come any more, though the last one has
	// not; err says why, and may be read then.
	done chan struct{}
	err  error
}

func (o *outputs) open(id uint64) *reader {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &reader{chunks: make(chan *agentpb.OutputChunk, outputChunks), done: make(chan struct{})}
	if o.failed != nil {
		r.err = o.failed
		close(r.done)
		return r
	}
	if o.readers == nil {
		o.readers = map[uint64]*reader{}
	}
	o.readers[id] = r
	return r
}

// shut forgets a reader and reports whether the minion may still be sending.
func (o *outputs) shut(id uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, open := o.readers[id]
	delete(o.readers, id)
	return open
}

// chunk takes a chunk from the minion.
func (o *outputs) chunk(c *agentpb.OutputChunk) {
	o.mu.Lock()
	r := o.readers[c.GetId()]
	if c.GetEof() || c.GetError() != "" {
		delete(o.readers, c.GetId()) // nothing follows
	}
	o.mu.Unlock()
	if r == nil {
		return
	}
	select {
	case r.chunks <- c:
		return
	default:
	}
	patience := time.NewTimer(outputPatience)
	defer patience.Stop()
	select {
	case r.chunks <- c:
	case <-patience.C:
		o.mu.Lock()
		defer o.mu.Unlock()
		if r.err == nil {
			delete(o.readers, c.GetId())
			r.err = errSlowReader
			close(r.done)
		}
	}
}

// fail ends all readers, present and future.
func (o *outputs) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return
	}
	o.failed = fmt.Errorf("%w: %w", job.ErrUnavailable, err)
	for id, r := range o.readers {
		r.err = o.failed
		close(r.done)
		delete(o.readers, id)
	}
}

// read calls fn with chunks until the last one.
func (r *reader) read(ctx context.Context, fn func(*agentpb.OutputChunk) error) error {
	for {
		var c *agentpb.OutputChunk
		select {
		case c = <-r.chunks:
		default:
			select {
			case c = <-r.chunks:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-r.done:
				return r.err
			}
		}
		if c.GetError() != "" {
			return errors.New(c.GetError())
		}
		if len(c.GetData()) > 0 || c.GetDropped() > 0 {
			if err := fn(&agentpb.OutputChunk{Stream: c.GetStream(), Data: c.GetData(), Dropped: c.GetDropped()}); err != nil {
				return err
			}
		}
		if c.GetEof() {
			return nil
		}
	}
}
