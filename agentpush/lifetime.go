package agentpush

import (
	"context"
	"sync"
)

// lifetime is that of a hub's goroutines: those that it starts, and those that
// serve a stream.
type lifetime struct {
	// ctx ends with Run: it is the lifetime of every goroutine that the hub
	// starts on demand.
	ctx  context.Context
	stop context.CancelCauseFunc

	// atEnd is called once all goroutines have ended.
	atEnd func()

	running sync.WaitGroup
	gate    sync.RWMutex
	// gate guards closed: no goroutine starts once it is set.
	closed bool
}

func newLifetime() *lifetime {
	l := &lifetime{atEnd: func() {}}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	return l
}

// end ends what lives, and returns when all goroutines have ended.
func (l *lifetime) end(cause error) {
	l.stop(cause)
	l.gate.Lock()
	l.closed = true
	l.gate.Unlock()
	l.running.Wait()
	l.atEnd()
}

// enter counts a goroutine that is not the hub's own; it reports false when the
// hub has stopped. The caller calls running.Done when it is through.
func (l *lifetime) enter() bool {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if l.closed {
		return false
	}
	l.running.Add(1)
	return true
}

// spawn runs f in a goroutine that Run waits for; it reports false, and does
// not run f, when the hub has stopped.
func (l *lifetime) spawn(f func()) bool {
	if !l.enter() {
		return false
	}
	go func() {
		defer l.running.Done()
		f()
	}()
	return true
}
