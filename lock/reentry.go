package lock

import (
	"context"
	"errors"
	"fmt"
)

// reentry is one session's use of one lock by reentrant mutexes.
type reentry struct {
	// turn is taken by who asks for the lock, so that the session has one
	// contender at a time.
	turn chan struct{}

	// The rest is guarded by turn.

	kind  kind
	grant *grant // nil: none

	users int // guarded by the session's mu: calls that go on, and grants
}

// reenter returns a hold of the grant that the session has, or gets one.
func (m *Mutex) reenter(ctx context.Context, try bool) (*Hold, error) {
	s := m.session
	e := s.useReentry(m.lock)
	defer s.dropReentry(m.lock, e)
	if err := e.take(ctx, try); err != nil {
		return nil, err
	}
	defer func() { <-e.turn }()
	if e.grant != nil {
		if h := e.grant.hold(); h != nil {
			if e.kind == m.kind || e.kind == exclusive && m.kind == sharing {
				return h, nil
			}
			err := fmt.Errorf("%w: the session has the lock as %s and asks for it as %s, which would wait for itself",
				ErrConflict, e.kind, m.kind)
			return nil, errors.Join(err, h.Unlock(ctx)) // it may be the last by now
		}
	}
	h, err := m.acquire(ctx, try)
	if err != nil {
		return nil, err
	}
	s.useReentry(m.lock)
	h.grant.done = func() { s.dropReentry(m.lock, e) }
	e.grant, e.kind = h.grant, m.kind
	return h, nil
}

func (e *reentry) take(ctx context.Context, try bool) error {
	if try {
		select {
		case e.turn <- struct{}{}:
			return nil
		default:
			return fmt.Errorf("%w: the same session waits for it", ErrHeld)
		}
	}
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Session) useReentry(l layout) *reentry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.reentries[l]
	if !ok {
		e = &reentry{turn: make(chan struct{}, 1)}
		if s.reentries == nil {
			s.reentries = make(map[layout]*reentry)
		}
		s.reentries[l] = e
	}
	e.users++
	return e
}

func (s *Session) dropReentry(l layout, e *reentry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(s.reentries, l)
	}
}
