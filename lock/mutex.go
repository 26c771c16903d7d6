package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// MutexOptions says how a mutex is used.
type MutexOptions struct {
	// Purpose is shown to people beside the holder.
	Purpose string
}

// Place is the value of a key in a mutex's queue: who waits or holds, and why.
type Place struct {
	Schema  int    `json:"schema"`
	Holder  string `json:"holder"`
	Purpose string `json:"purpose,omitempty"`
	// Since is when the place was taken, by the clock of the holder's host.
	Since time.Time `json:"since"`
}

const placeSchema = 1

// Mutex is a fair lock: who waits longest gets it next. Everybody who uses the
// same prefix contends for it. It is not re-entrant: a second Lock waits for
// the first hold, be it of the same session. A Mutex may be used by many
// goroutines; each call is a contender of its own.
type Mutex struct {
	session *Session
	name    string // prefix, for errors
	queue   string // key prefix of the places
	opts    MutexOptions
}

// NewMutex returns the mutex at prefix, which must hold nothing else.
func NewMutex(s *Session, prefix string, opts MutexOptions) *Mutex {
	prefix = strings.TrimSuffix(prefix, "/")
	return &Mutex{session: s, name: prefix, queue: prefix + "/w/", opts: opts}
}

// Lock waits for the lock until ctx ends, or the session. A contender that
// gives up leaves nothing behind: its place is removed in the background. The
// error is ErrLost or ErrClosed if the session ended, ErrFenced if somebody
// removed the contender's place, or ctx's cause.
func (m *Mutex) Lock(ctx context.Context) (*Hold, error) {
	h, err := m.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", m.name, err)
	}
	return h, nil
}

func (m *Mutex) lock(ctx context.Context) (*Hold, error) {
	s := m.session
	if err := s.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	w, err := m.place(clientv3.OpGet(m.queue, append(clientv3.WithFirstCreate(), clientv3.WithPrefix(), clientv3.WithKeysOnly())...))
	if err != nil {
		return nil, err
	}
	out, err := s.commit(ctx, w)
	if err != nil || !out.done {
		return nil, m.failed(ctx, err)
	}
	// The transaction that took the place has read, through raft, who is first.
	if len(out.reads) == 0 || !first(out.reads[0], w.key) {
		if err := m.wait(ctx, w.key, out.rev); err != nil {
			s.removeLater(w.key, out.rev, nil)
			return nil, s.ended(err)
		}
	}
	return m.hold(w.key, out.rev)
}

// TryLock takes the lock if nobody holds it or waits for it. The error is a
// *HeldError otherwise. It takes no place unless it gets the lock.
func (m *Mutex) TryLock(ctx context.Context) (*Hold, error) {
	h, err := m.tryLock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", m.name, err)
	}
	return h, nil
}

func (m *Mutex) tryLock(ctx context.Context) (*Hold, error) {
	s := m.session
	if err := s.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	w, err := m.place()
	if err != nil {
		return nil, err
	}
	// An empty range compares like a key that does not exist.
	w.cmps = append(w.cmps, clientv3.Compare(clientv3.CreateRevision(m.queue), "=", 0).WithPrefix())
	w.orElse = []clientv3.Op{clientv3.OpGet(m.queue, append(clientv3.WithFirstCreate(), clientv3.WithPrefix())...)}
	out, err := s.commit(ctx, w)
	if out.done {
		return m.hold(w.key, out.rev)
	}
	if err == nil && len(out.reads) > 0 {
		if kvs := out.reads[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			return nil, heldBy(kvs[0])
		}
	}
	return nil, m.failed(ctx, err)
}

// failed says why no place was taken.
func (m *Mutex) failed(ctx context.Context, err error) error {
	s := m.session
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return s.leaseGone()
	case err == nil:
		return ErrConflict // not possible: no other write names our key
	case ctx.Err() != nil:
		return s.ended(context.Cause(ctx))
	}
	return s.ended(err)
}

// place returns the write that takes a new place in the queue.
func (m *Mutex) place(also ...clientv3.Op) (*write, error) {
	value, err := json.Marshal(Place{
		Schema: placeSchema, Holder: m.session.cfg.Holder, Purpose: m.opts.Purpose, Since: time.Now().UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode place: %w", err)
	}
	key := m.queue + leaseText(m.session.lease) + "-" + uuid.NewString()
	return &write{
		key: key, value: string(value), lease: m.session.lease, also: also, undo: true,
		cmps: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
	}, nil
}

func (m *Mutex) hold(key string, rev int64) (*Hold, error) {
	o, err := m.session.own(key, rev)
	if err != nil {
		return nil, err // the key goes with the lease
	}
	h := &Hold{owner: o}
	h.life, h.end = context.WithCancelCause(m.session.life)
	return h, nil
}

// Hold is a lock that is held. It is a lifetime: it ends when it is unlocked,
// or with its session. Its methods may be called by many goroutines.
type Hold struct {
	owner *Ownership
	life  context.Context
	end   context.CancelCauseFunc
}

// Token returns the fencing token of the hold. Tokens of one mutex rise
// strictly from hold to hold.
func (h *Hold) Token() Token { return h.owner.Token() }

// Key returns the hold's key in etcd.
func (h *Hold) Key() string { return h.owner.Key() }

// Fence returns the condition that a write to the same etcd must compare to be
// safe from a hold that is over.
func (h *Hold) Fence() clientv3.Cmp { return h.owner.Fence() }

// Held reports whether the hold may be relied on at this moment. It reads the
// clock.
func (h *Hold) Held() bool { return h.owner.Held() }

// Context returns a context that ends with parent or with the hold; its cause
// is then ErrLost or ErrClosed. The cancel function frees its resources.
func (h *Hold) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return within(parent, h.life)
}

// Unlock ends the hold and frees the lock; never a newer hold's. The error is
// ErrFenced if the lock was lost before. Another call does nothing. If the
// answer is lost, freeing goes on in the background until the lease has ended,
// and the error says so. Who used the lock must have stopped.
func (h *Hold) Unlock(ctx context.Context) error {
	h.end(ErrClosed)
	return h.owner.Release(ctx)
}
