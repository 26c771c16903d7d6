package lock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Mutex is a fair lock: of those who wait, the one of the highest priority gets
// it next, and of several the one who has waited longest. Everybody who uses the
// same prefix contends for it. Unless it is reentrant, a second Lock waits for
// the first hold, be it of the same session. A Mutex may be used by many
// goroutines; each call is a contender of its own.
type Mutex struct {
	session *Session
	lock    layout
	kind    kind
	opts    MutexOptions
	// busy: the lock was not free the last time.
	busy atomic.Bool
}

// NewMutex returns the mutex at prefix, which must hold nothing else. The error
// tells all that is wrong with the prefix and the options.
func NewMutex(s *Session, prefix string, opts MutexOptions) (*Mutex, error) {
	if err := opts.check(prefix); err != nil {
		return nil, fmt.Errorf("lock %q: %w", prefix, err)
	}
	return &Mutex{
		session: s, lock: layout(strings.TrimSuffix(prefix, "/")), kind: kindOf(opts.Shared, opts.Limit), opts: opts,
	}, nil
}

// Lock waits for the lock until ctx ends, or the session. A contender that
// gives up leaves nothing behind: its place is removed in the background,
// unless the options keep it. The error is ErrLost or ErrClosed if the session
// ended, ErrFenced if somebody removed the contender's place, ErrLimit if the
// lock is in use with another limit, or ctx's cause.
func (m *Mutex) Lock(ctx context.Context) (*Hold, error) { return m.get(ctx, false) }

// TryLock takes the lock if nobody is in the way. The error is a *HeldError
// otherwise. It takes no place unless it gets the lock.
func (m *Mutex) TryLock(ctx context.Context) (*Hold, error) { return m.get(ctx, true) }

func (m *Mutex) get(ctx context.Context, try bool) (*Hold, error) {
	s := m.session
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", m.lock, err)
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	var h *Hold
	var err error
	if m.opts.Reentrant {
		h, err = m.reenter(ctx, try)
	} else {
		h, err = m.acquire(ctx, try)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", m.lock, err)
	}
	return h, nil
}

// acquire gets the lock as a new contender, or resumes one.
func (m *Mutex) acquire(ctx context.Context, try bool) (*Hold, error) {
	c := m.contender()
	kv, err := c.get(ctx, try)
	if err != nil {
		return nil, m.failed(ctx, err)
	}
	return c.granted(kv) // if that fails, the key goes with the lease
}

// get returns the contender's hold.
func (c *contender) get(ctx context.Context, try bool) (*mvccpb.KeyValue, error) {
	get := c.enterOrQueue
	if try {
		get = c.enterOrTell
	}
	got, err := get(ctx)
	switch {
	case err != nil:
		if !errors.As(err, new(*lostAnswer)) { // otherwise it is given up in the background
			c.finish()
		}
		return nil, err
	case got.hold != nil:
		return got.hold, c.own(got.hold)
	case got.place == nil:
		return nil, fmt.Errorf("%w: the contender was removed while it came", ErrConflict)
	}
	if err := c.own(got.place); err != nil {
		return nil, err
	}
	kv, err := c.wait(ctx, got.place, got.view)
	if err == nil {
		return kv, c.own(kv)
	}
	if !c.m.opts.KeepPlace || errors.Is(err, ErrLimit) {
		c.s.background(func() {
			c.s.persist("leave a queue", func(ctx context.Context) error { return c.leave(ctx, "") })
		})
	}
	return nil, err
}

// enterOrQueue takes the lock or a place. Where the lock was free the last time,
// it sends a small request first.
func (c *contender) enterOrQueue(ctx context.Context) (entered, error) {
	if c.name >= 0 && !c.m.busy.Load() {
		if got, err := c.enter(ctx, orElse); err != nil || got.hold != nil {
			return got, err
		}
	}
	got, err := c.enter(ctx, orQueue)
	c.m.busy.Store(got.place != nil)
	return got, err
}

// enterOrTell tries to take the lock until it is known that it is not free.
func (c *contender) enterOrTell(ctx context.Context) (entered, error) {
	for {
		got, err := c.enter(ctx, orTell)
		if err != nil || got.hold != nil {
			return got, err
		}
		if got.view == nil { // the answer was lost; nothing was done
			return got, ErrHeld
		}
		taken := make(map[string]*mvccpb.KeyValue, len(got.view.taken))
		for _, kv := range got.view.taken {
			taken[string(kv.Key)] = kv
		}
		if err := c.checkLimit(got.view); err != nil {
			return got, err
		}
		if got.place != nil { // taken by an earlier call with the same ID
			return c.takeOnce(ctx, got)
		}
		if got.view.ahead == nil && c.chooseSlot(taken) {
			continue // only the permit that we guessed is taken
		}
		for _, guard := range c.orphans(taken) {
			c.s.background(func() { c.s.letGuardExpire(guard) })
		}
		return got, got.view.heldBy()
	}
}

// takeOnce takes the lock if it is the place's turn.
func (c *contender) takeOnce(ctx context.Context, got entered) (entered, error) {
	if err := c.own(got.place); err != nil {
		return got, err
	}
	w := &waiter{contender: c, mod: got.place.ModRevision, since: got.place.CreateRevision}
	v, err := w.take(ctx)
	switch {
	case err != nil:
		return got, err
	case v.hold == nil:
		return got, v.heldBy()
	}
	return entered{hold: v.hold}, nil
}

// own returns an error if a key of the contender lies on another lease: an ID
// that somebody else uses.
func (c *contender) own(kv *mvccpb.KeyValue) error {
	if kv.Lease == int64(c.s.lease) {
		return nil
	}
	return fmt.Errorf("%w: the id %q is in use on another lease", ErrConflict, c.id)
}

// failed says why the lock was not got.
func (m *Mutex) failed(ctx context.Context, err error) error {
	s := m.session
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return s.leaseGone()
	case errors.Is(err, ErrHeld), errors.Is(err, ErrLimit), errors.Is(err, ErrConflict):
		return err
	case ctx.Err() != nil:
		return s.ended(context.Cause(ctx))
	}
	return s.ended(err)
}

// Abandon removes the contender that the options' ID names, its place or its
// hold; the lock is handed over as by Unlock. It does nothing if there is
// neither. It must not be called while a Lock with that ID goes on. Who used
// the lock must have stopped.
func (m *Mutex) Abandon(ctx context.Context) error {
	if m.opts.ID == "" {
		return fmt.Errorf("abandon a place in %s: no id names it", m.lock)
	}
	c := m.contender()
	var err error
	for try := 1; try <= resolveTries; try++ {
		if err = c.leave(ctx, ""); err == nil {
			return nil
		}
		if !ambiguous(err) || !pause(ctx, try) {
			break
		}
	}
	return fmt.Errorf("abandon a place in %s: %w", m.lock, err)
}
