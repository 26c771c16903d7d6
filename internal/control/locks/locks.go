package locks

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// Deps is what a Keeper stands on. All must be set.
type Deps struct {
	Store  *store.Store
	Audit  *audit.Log
	Logger *zap.Logger
}

// Keeper keeps locks for clients. Use New. It may be used by many goroutines at once.
type Keeper struct {
	db    *store.Store
	audit *audit.Log
	log   *zap.Logger
}

// New returns a Keeper.
func New(deps Deps) *Keeper { return &Keeper{db: deps.Store, audit: deps.Audit, log: deps.Logger} }

// vouch is how long a node may be at work with a session after it was seen to live,
// besides waiting.
const vouch = 5 * time.Second

// OpenLockSession opens a session. Holder is what the client says of itself: who is
// known to ask is told before it.
func (k *Keeper) OpenLockSession(ctx context.Context, holder string, ttl time.Duration) (api.LockSession, error) {
	var problems []job.Problem
	if holder == "" || len(holder) > 256 {
		problems = append(problems, job.Problem{Path: "holder", Message: "says who holds the lock, in 1 to 256 bytes"})
	}
	if ttl < api.MinLockTTL || ttl > api.MaxLockTTL {
		problems = append(problems, job.Problem{Path: "ttl", Message: fmt.Sprintf("%v is out of range; %v to %v are allowed", ttl, api.MinLockTTL, api.MaxLockTTL)})
	}
	if len(problems) > 0 {
		return api.LockSession{}, &job.InvalidError{Problems: problems}
	}
	gctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	grant, err := k.db.Client.Grant(gctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return api.LockSession{}, store.Error(ctx, "open lock session", err)
	}
	if c, _ := caller.From(ctx); c.Known() {
		holder = c.Name + ": " + holder
	}
	secret := rand.Text()
	sum := sha256.Sum256([]byte(secret))
	text, err := etcdkv.Encode(etcdkv.LockSession{
		Schema: etcdkv.Schema, Holder: holder, Since: k.db.Now().UTC(), Secret: hex.EncodeToString(sum[:]), TTL: grant.TTL,
	})
	if err != nil {
		return api.LockSession{}, err
	}
	if _, err := k.db.Do(ctx, "open lock session", nil, []clientv3.Op{
		clientv3.OpPut(k.db.Keys.LockSession(int64(grant.ID)), text, clientv3.WithLease(grant.ID)),
	}); err != nil {
		return api.LockSession{}, err
	}
	return api.LockSession{Session: strconv.FormatInt(int64(grant.ID), 16) + "." + secret, TTL: grant.TTL}, nil
}

// lockSession finds a session and the lease that it is.
func (k *Keeper) lockSession(ctx context.Context, session string) (clientv3.LeaseID, etcdkv.LockSession, error) {
	gone := fmt.Errorf("the lock session is not open, or no longer: %w", job.ErrNotFound)
	id, secret, _ := strings.Cut(session, ".")
	lease, err := strconv.ParseInt(id, 16, 64)
	if err != nil || lease == 0 {
		return 0, etcdkv.LockSession{}, gone
	}
	kv, err := k.db.Get(ctx, "read lock session", k.db.Keys.LockSession(lease))
	if err != nil {
		return 0, etcdkv.LockSession{}, err
	}
	if kv == nil {
		return 0, etcdkv.LockSession{}, gone
	}
	s, err := store.Decode[etcdkv.LockSession](kv)
	if err != nil {
		return 0, etcdkv.LockSession{}, err
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(s.Secret)) != 1 {
		return 0, etcdkv.LockSession{}, gone
	}
	return clientv3.LeaseID(lease), s, nil
}

// RenewLockSession keeps a session alive, and tells how the hold is that the
// client has of a lock. An empty place: none is asked about.
func (k *Keeper) RenewLockSession(ctx context.Context, session string, key job.Key, place string) (api.LockRenewal, error) {
	if place != "" {
		if err := checkLock(key); err != nil {
			return api.LockRenewal{}, err
		}
	}
	lease, _, err := k.lockSession(ctx, session)
	if err != nil {
		return api.LockRenewal{}, err
	}
	rctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	alive, err := k.db.Client.KeepAliveOnce(rctx, lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return api.LockRenewal{}, fmt.Errorf("the lock session has ended: %w", job.ErrNotFound)
	}
	if err != nil {
		return api.LockRenewal{}, store.Error(ctx, "renew lock session", err)
	}
	r := api.LockRenewal{TTL: alive.TTL}
	if place == "" {
		return r, nil
	}
	status, err := lock.Inspect(rctx, k.db.Client, k.db.Keys.Lock(key.Namespace, key.Name))
	if err != nil {
		return api.LockRenewal{}, store.Error(ctx, "look at lock "+key.String(), err)
	}
	for _, h := range status.Holders {
		if h.ID != place || h.Lease != lease {
			continue
		}
		r.Held = true
		for _, w := range status.Waiters {
			r.Preempted = r.Preempted || w.Preempt && w.Priority > h.Priority
		}
	}
	return r, nil
}

// CloseLockSession ends a session and frees all that it holds.
func (k *Keeper) CloseLockSession(ctx context.Context, session string) error {
	lease, _, err := k.lockSession(ctx, session)
	if err != nil {
		return err
	}
	rctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	if _, err := k.db.Client.Revoke(rctx, lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return store.Error(ctx, "close lock session", err)
	}
	return nil
}

// AcquireLock gets a lock, or waits for it for a while.
func (k *Keeper) AcquireLock(ctx context.Context, key job.Key, req api.LockRequest) (api.LockAnswer, error) {
	wait := time.Duration(req.Wait)
	if wait < 0 || wait > api.MaxLockWait {
		return api.LockAnswer{}, apiview.Invalid("wait", fmt.Sprintf("%v is out of range; 0s to %v are allowed", wait, api.MaxLockWait))
	}
	if req.Place == "" {
		return api.LockAnswer{}, apiview.Invalid("place", "is empty; give an id of your own, such as a UUID")
	}
	m, done, err := k.mutex(ctx, key, req, wait)
	if err != nil {
		return api.LockAnswer{}, err
	}
	defer done()
	waiting, cancel := context.WithTimeout(ctx, wait+k.db.Timeout/10)
	defer cancel()
	var h *lock.Hold
	if req.Try {
		h, err = m.TryLock(waiting)
	} else {
		h, err = m.Lock(waiting)
	}
	switch {
	case err == nil:
		return api.LockAnswer{Held: true, Token: h.Token()}, nil
	case errors.Is(err, lock.ErrLost):
		return api.LockAnswer{}, fmt.Errorf("the lock session has ended: %w", job.ErrNotFound)
	case errors.Is(err, lock.ErrHeld), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		view, err := k.Lock(ctx, key)
		if err != nil && !errors.Is(err, job.ErrNotFound) {
			return api.LockAnswer{}, err
		}
		return api.LockAnswer{Status: &view}, nil
	case errors.Is(err, lock.ErrLimit), errors.Is(err, lock.ErrConflict), errors.Is(err, lock.ErrFenced):
		return api.LockAnswer{}, fmt.Errorf("%w: %w", err, job.ErrConflict)
	}
	return api.LockAnswer{}, store.Error(ctx, "lock "+key.String(), err)
}

// ReleaseLock frees a lock, or gives the place in its queue up. It does nothing
// when there is neither.
func (k *Keeper) ReleaseLock(ctx context.Context, key job.Key, req api.LockRequest) error {
	m, done, err := k.mutex(ctx, key, req, 0)
	if err != nil {
		return err
	}
	defer done()
	rctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	return store.Error(ctx, "release lock "+key.String(), m.Abandon(rctx))
}

// mutex returns the client's mutex, on its session's lease.
func (k *Keeper) mutex(ctx context.Context, key job.Key, req api.LockRequest, wait time.Duration) (*lock.Mutex, func(), error) {
	if err := checkLock(key); err != nil {
		return nil, nil, err
	}
	lease, s, err := k.lockSession(ctx, req.Session)
	if err != nil {
		return nil, nil, err
	}
	sess, err := lock.Borrow(lock.SessionConfig{Holder: s.Holder, Epoch: k.db.Meta.Epoch, Marks: k.db.Keys.Marks()},
		lock.Deps{Client: k.db.Client, Logger: k.log}, lease, wait+vouch)
	if err != nil {
		return nil, nil, fmt.Errorf("lock %s: %w", key, err)
	}
	done := func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), vouch)
		defer cancel()
		_ = sess.Close(bounded) // what lies on the lease stays
	}
	m, err := lock.NewMutex(sess, k.db.Keys.Lock(key.Namespace, key.Name), lock.MutexOptions{
		Purpose: req.Purpose, Shared: req.Shared, Limit: req.Limit, Priority: req.Priority, Preempt: req.Preempt,
		Grace: time.Duration(req.Grace), MaxHold: time.Duration(req.MaxHold), LockDelay: time.Duration(req.LockDelay),
		ID: req.Place, KeepPlace: true,
	})
	if err != nil {
		done()
		var problems []job.Problem
		for line := range strings.SplitSeq(err.Error(), "\n") {
			problems = append(problems, job.Problem{Message: line})
		}
		return nil, nil, &job.InvalidError{Problems: problems}
	}
	return m, done, nil
}
