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

// readerWindow is how much of output may be on its way to a reader: the minion
// waits when it is used up, so that a slow reader slows its own output only.
const readerWindow = readerBytes / 2

// outputPatience is how long a session waits for a reader that has no room for
// more, when the minion is of a release that knows no windows; then it gives the
// reader up: its other frames matter more.
const outputPatience = time.Second

var (
	errSlowReader = errors.New("output was read too slowly")
	errMuchOutput = fmt.Errorf("the node holds %d MiB of output for slow readers and takes no more; try again: %w", outputBytes>>20, job.ErrUnavailable)
)

// readers are the readers of output on one session.
type readers struct {
	// all is the budget of all sessions; nil: there is none.
	all *budget

	mu sync.Mutex
	// mu guards what follows.
	byID   map[uint64]*reader
	failed error
}

// reader is one request for output. The mutex of its readers guards chunks, held
// and err.
type reader struct {
	of *readers
	// chunks wait for the reader; held is their size, at most readerBytes.
	chunks []*agentpb.OutputChunk
	held   int
	// more is signaled when there is a chunk or an end, room when one was taken.
	more, room chan struct{}
	// err is why no chunk will come any more, though the last one has not. shut:
	// nobody reads.
	err  error
	shut bool
}

func (o *readers) open(id uint64) *reader {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &reader{of: o, more: make(chan struct{}, 1), room: make(chan struct{}, 1), err: o.failed}
	if o.failed != nil {
		return r
	}
	if o.byID == nil {
		o.byID = map[uint64]*reader{}
	}
	o.byID[id] = r
	return r
}

// shut forgets a reader and reports whether the minion may still be sending.
func (o *readers) shut(id uint64, r *reader) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, open := o.byID[id]
	delete(o.byID, id)
	for _, c := range r.chunks {
		r.let(c)
	}
	r.chunks, r.shut = nil, true
	return open
}

// weigh is what a chunk takes in memory.
func weigh(c *agentpb.OutputChunk) int {
	return len(c.GetData()) + len(c.GetError()) + agentpb.ChunkWeight
}

// let gives back what a chunk takes. The mutex is held.
func (r *reader) let(c *agentpb.OutputChunk) {
	r.held -= weigh(c)
	if r.of.all != nil {
		r.of.all.give(weigh(c))
	}
}

// chunk takes a chunk from the minion.
func (o *readers) chunk(c *agentpb.OutputChunk) {
	o.mu.Lock()
	r := o.byID[c.GetId()]
	if c.GetEof() || c.GetError() != "" {
		delete(o.byID, c.GetId()) // nothing follows
	}
	full := r != nil && !r.put(c)
	o.mu.Unlock()
	if !full {
		return
	}
	patience := time.NewTimer(outputPatience)
	defer patience.Stop()
	for full {
		select {
		case <-r.room:
			o.mu.Lock()
			full = !r.put(c)
			o.mu.Unlock()
		case <-patience.C:
			o.mu.Lock()
			r.end(c.GetId(), errSlowReader)
			o.mu.Unlock()
			return
		}
	}
}

// put queues a chunk; it reports false when there is no room. The mutex is held.
func (r *reader) put(c *agentpb.OutputChunk) bool {
	if r.shut || r.err != nil {
		return true // nobody wants it
	}
	n := weigh(c)
	if r.held+n > readerBytes {
		return false
	}
	if r.of.all != nil && !r.of.all.take(n) {
		r.end(c.GetId(), errMuchOutput)
		return true
	}
	r.held += n
	r.chunks = append(r.chunks, c)
	signal(r.more)
	return true
}

// end says that no more chunks come. The mutex is held.
func (r *reader) end(id uint64, err error) {
	if r.err == nil {
		r.err = err
		delete(r.of.byID, id)
		signal(r.more)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// fail ends all readers, present and future.
func (o *readers) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return
	}
	o.failed = fmt.Errorf("%w: %w", job.ErrUnavailable, err)
	for id, r := range o.byID {
		r.end(id, o.failed)
	}
}

// take returns the next chunk; nil and no error: there is none yet.
func (r *reader) take() (*agentpb.OutputChunk, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if len(r.chunks) == 0 {
		return nil, r.err
	}
	c := r.chunks[0]
	r.chunks[0] = nil
	if r.chunks = r.chunks[1:]; len(r.chunks) == 0 {
		r.chunks = nil
	}
	r.let(c)
	signal(r.room)
	return c, nil
}

// read calls fn with chunks until the last one.
func (r *reader) read(ctx context.Context, fn func(*agentpb.OutputChunk) error) error {
	for {
		c, err := r.take()
		switch {
		case err != nil:
			return err
		case c == nil:
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-r.more:
			}
			continue
		case c.GetError() != "":
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
