package guarded

import (
	"context"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// needLock decides about a lock. Taking one, and giving it back, is editing it.
func (c *Control) needLock(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Locks, key.Namespace, none, hidden("lock", key))
}

// needSession decides about a session to hold locks by: it is for who may take locks in
// some namespace. A session that is open is known to who opened it alone.
func (c *Control) needSession(ctx context.Context) error {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Sees(rights.Edit, rights.Locks, "") {
		return err
	}
	return c.whole(ctx, rights.Edit, rights.Locks)
}

// OpenLockSession opens a session to hold locks by.
func (c *Control) OpenLockSession(ctx context.Context, holder string, ttl time.Duration) (api.LockSession, error) {
	if err := c.needSession(ctx); err != nil {
		return api.LockSession{}, err
	}
	return c.behind.OpenLockSession(ctx, holder, ttl)
}

// RenewLockSession keeps a session alive, and tells of one lock.
func (c *Control) RenewLockSession(ctx context.Context, session string, key job.Key, place string) (api.LockRenewal, error) {
	err := c.needSession(ctx)
	if err == nil && key != (job.Key{}) {
		err = c.needLock(ctx, rights.Edit, key)
	}
	if err != nil {
		return api.LockRenewal{}, err
	}
	return c.behind.RenewLockSession(ctx, session, key, place)
}

// CloseLockSession ends a session.
func (c *Control) CloseLockSession(ctx context.Context, session string) error {
	if err := c.needSession(ctx); err != nil {
		return err
	}
	return c.behind.CloseLockSession(ctx, session)
}

// AcquireLock takes a lock, or waits for it.
func (c *Control) AcquireLock(ctx context.Context, key job.Key, req api.LockRequest) (api.LockAnswer, error) {
	if err := c.needLock(ctx, rights.Edit, key); err != nil {
		return api.LockAnswer{}, err
	}
	return c.behind.AcquireLock(ctx, key, req)
}

// ReleaseLock gives a lock back.
func (c *Control) ReleaseLock(ctx context.Context, key job.Key, req api.LockRequest) error {
	if err := c.needLock(ctx, rights.Edit, key); err != nil {
		return err
	}
	return c.behind.ReleaseLock(ctx, key, req)
}

// Locks lists the locks that the caller may read.
func (c *Control) Locks(ctx context.Context, namespace string) ([]api.Lock, error) {
	all, err := c.behind.Locks(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Locks, all, func(l *api.Lock) (string, map[string]string) { return l.Namespace, nil })
}

// Lock shows a lock.
func (c *Control) Lock(ctx context.Context, key job.Key) (api.Lock, error) {
	if err := c.needLock(ctx, rights.Read, key); err != nil {
		return api.Lock{}, err
	}
	return c.behind.Lock(ctx, key)
}

// BreakLock takes a lock away from who holds it.
func (c *Control) BreakLock(ctx context.Context, key job.Key, token job.Token, o api.Order) error {
	if err := c.needLock(ctx, rights.Operate, key); err != nil {
		return err
	}
	return c.behind.BreakLock(ctx, key, token, o)
}
