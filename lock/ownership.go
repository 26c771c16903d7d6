package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Grant says what a session claims.
type Grant struct {
	// Key is owned by whoever's lease it lies on. Nothing but grants may ever
	// write it.
	Key string
	// Value must be unique to this claim, for by it a lost answer is resolved.
	Value string
	// If are further conditions.
	If []clientv3.Cmp
	// Then are done in the same transaction. They must not touch Key.
	Then []clientv3.Op
}

// Ownership is a granted key. It lasts until it is released or handed over,
// until its session ends, or until somebody else removes the key, which only
// the fence shows. Its methods may be called by many goroutines.
type Ownership struct {
	session *Session
	key     string
	token   Token
	// adopted: another owner handed the key over.
	adopted bool

	mu sync.Mutex
	// mu guards all below.
	over     bool // released, handed over, or found to be fenced
	released bool // Release was called
}

// Claim takes the key if nobody holds it: one transaction that puts the key on
// the session's lease and does what else the grant asks for.
//
// The error is a *HeldError if somebody holds the key, ErrConflict if only a
// condition of the caller failed, ErrLost or ErrClosed if the session ended.
// After any other error nothing is owned: what may have been put is removed,
// in the background if need be, but Then may have been done.
func (s *Session) Claim(ctx context.Context, g Grant) (*Ownership, error) {
	o, err := s.claim(ctx, &g)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", g.Key, err)
	}
	return o, nil
}

func (s *Session) claim(ctx context.Context, g *Grant) (*Ownership, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	out, err := s.commit(ctx, &write{
		key: g.Key, value: g.Value, lease: s.lease, undo: true,
		cmps: append([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(g.Key), "=", 0)}, g.If...),
		also: g.Then,
	})
	switch {
	case out.done:
		return s.own(g.Key, out.rev)
	case out.now != nil:
		return nil, heldBy(out.now)
	case errors.Is(err, rpctypes.ErrLeaseNotFound) && len(g.Then) == 0:
		return nil, s.leaseGone() // Then could have named another lease
	case err != nil:
		return nil, s.ended(err)
	}
	return nil, ErrConflict
}

// Seize takes the key from whoever holds it by the grant of revision rev: one
// transaction that puts the key on this session's lease and does what else the
// grant asks for. Whoever held it is not asked, and need not have stopped: only
// what compares its fence is safe from it. So this is for keys all of whose
// effects are fenced.
//
// The error is ErrFenced if the key is not at rev any more; else as with Claim.
func (s *Session) Seize(ctx context.Context, rev int64, g Grant) (*Ownership, error) {
	o, err := s.seize(ctx, rev, &g)
	if err != nil {
		return nil, fmt.Errorf("seize %s from revision %d: %w", g.Key, rev, err)
	}
	return o, nil
}

func (s *Session) seize(ctx context.Context, rev int64, g *Grant) (*Ownership, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	out, err := s.commit(ctx, &write{
		key: g.Key, value: g.Value, lease: s.lease, undo: true,
		cmps: append([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(g.Key), "=", rev)}, g.If...),
		also: g.Then,
	})
	switch {
	case out.done:
		return s.own(g.Key, out.rev)
	case out.read && (out.now == nil || out.now.ModRevision != rev):
		return nil, ErrFenced
	case errors.Is(err, rpctypes.ErrLeaseNotFound) && len(g.Then) == 0:
		return nil, s.leaseGone()
	case err != nil:
		return nil, s.ended(err)
	}
	return nil, ErrConflict
}

// own makes an ownership of a grant, unless the session ended meanwhile.
func (s *Session) own(key string, rev int64) (*Ownership, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	return &Ownership{session: s, key: key, token: Token{Epoch: s.cfg.Epoch, Revision: rev}}, nil
}

func heldBy(kv *mvccpb.KeyValue) error {
	return &HeldError{
		Key: string(kv.Key), Value: string(kv.Value),
		Revision: kv.ModRevision, Lease: clientv3.LeaseID(kv.Lease),
	}
}

// Adopt takes over a key that another owner has put on this session's lease at
// revision rev, as Handover does. It proves that by a transaction. The error is
// ErrFenced if the key is not, or no longer, at rev on this lease.
func (s *Session) Adopt(ctx context.Context, key string, rev int64) (*Ownership, error) {
	o, err := s.adopt(ctx, key, rev)
	if err != nil {
		return nil, fmt.Errorf("adopt %s at revision %d: %w", key, rev, err)
	}
	return o, nil
}

func (s *Session) adopt(ctx context.Context, key string, rev int64) (*Ownership, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	held, err := s.prove(ctx, clientv3.Compare(clientv3.ModRevision(key), "=", rev),
		clientv3.Compare(clientv3.LeaseValue(key), "=", s.lease))
	switch {
	case err != nil:
		return nil, s.ended(err)
	case !held:
		return nil, ErrFenced
	}
	o, err := s.own(key, rev)
	if err == nil {
		o.adopted = true
	}
	return o, err
}

// prove reports whether cmps hold. A transaction that only reads is answered
// from a member's memory, which a stalled member may do too late; one that
// could write goes through raft. So it deletes a key that nobody ever puts.
func (s *Session) prove(ctx context.Context, cmps ...clientv3.Cmp) (bool, error) {
	for try := 1; ; try++ {
		tryCtx, cancel := context.WithTimeout(ctx, tryTimeout)
		r, err := s.client.Txn(tryCtx).If(cmps...).Then(clientv3.OpDelete(s.cfg.Marks + "none")).Commit()
		cancel()
		if err == nil {
			return r.Succeeded, nil
		}
		if try == resolveTries || !ambiguous(err) || !pause(ctx, try) {
			return false, err
		}
	}
}

// Key returns the key that is owned.
func (o *Ownership) Key() string { return o.key }

// Token returns the fencing token of the grant: the session's epoch and the
// revision of the write that granted the key.
func (o *Ownership) Token() Token { return o.token }

// HandedOver reports whether another owner handed the key over; otherwise it
// was claimed or seized.
func (o *Ownership) HandedOver() bool { return o.adopted }

// Fence returns the condition that every write made under this ownership must
// compare.
func (o *Ownership) Fence() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(o.key), "=", o.token.Revision)
}

// Held reports whether the ownership may be relied on at this moment, as far
// as this process knows. It reads the clock. Writes still compare Fence.
func (o *Ownership) Held() bool {
	o.mu.Lock()
	over := o.over
	o.mu.Unlock()
	return !over && o.session.Held()
}

// HeldUntil returns when the session ends that the key lies on, as its method of
// that name.
func (o *Ownership) HeldUntil() time.Duration { return o.session.HeldUntil() }

// Handover gives the key to the session that has the lease to: one transaction
// that puts the key with a new value, unique to this call, on that lease, and
// does also. The key is never without an owner. It returns the revision that
// the successor adopts. The caller must have stopped acting as the owner.
//
// The error is ErrFenced if the key is no longer this grant's, ErrNoSuccessor
// if the lease does not exist. After ErrNoSuccessor, and whenever Held still
// holds, nothing has changed and the caller is still the owner.
// If it stays unknown what happened, Held is false: the successor has it, or
// the key stays on this session's lease until Release or the session's end.
func (o *Ownership) Handover(ctx context.Context, to clientv3.LeaseID, value string, also ...clientv3.Op) (int64, error) {
	rev, err := o.handover(ctx, to, value, also)
	if err != nil {
		return 0, fmt.Errorf("hand %s over: %w", o.key, err)
	}
	return rev, nil
}

func (o *Ownership) handover(ctx context.Context, to clientv3.LeaseID, value string, also []clientv3.Op) (int64, error) {
	o.mu.Lock()
	over := o.over
	o.mu.Unlock()
	if over {
		return 0, ErrFenced
	}
	s := o.session
	if err := s.Err(); err != nil {
		return 0, err
	}
	ctx, cancel := s.Context(ctx)
	defer cancel()
	out, err := s.commit(ctx, &write{
		key: o.key, value: value, lease: to, cmps: []clientv3.Cmp{o.Fence()}, also: also,
	})
	switch {
	case out.done:
		o.finish()
		return out.rev, nil
	case out.unknown:
		o.finish()
		return 0, s.ended(err)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return 0, fmt.Errorf("%w: lease %s", ErrNoSuccessor, leaseText(to))
	case out.read && (out.now == nil || out.now.ModRevision != o.token.Revision):
		o.finish()
		return 0, ErrFenced
	}
	return 0, s.ended(err) // nothing has changed
}

// Passed notes that a transaction of the caller, which compared Fence, has put
// the key on another lease: Held is false from now on, and Release does nothing.
func (o *Ownership) Passed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.released, o.over = true, true
}

// Release gives the key up and does also in the same transaction. Only this
// grant is released, never a newer one. The error is ErrFenced if the key was
// not this grant's any more; also was not done then. Another call does nothing.
// If the answer is lost, it is tried again in the background until the lease
// has ended, and the error says so. The caller must have stopped acting as the
// owner.
func (o *Ownership) Release(ctx context.Context, also ...clientv3.Op) error {
	o.mu.Lock()
	again := o.released
	o.released, o.over = true, true
	o.mu.Unlock()
	if again {
		return nil
	}
	gone, err := o.session.remove(ctx, o.key, o.token.Revision, also)
	if err == nil && gone {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", o.key, err)
	}
	return nil
}

// finish notes that the key is no longer this grant's.
func (o *Ownership) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}
