package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// LockView is who holds a lock and who waits for it.
type LockView struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Holders   []LockContender `json:"holders"`
	Waiters   []LockContender `json:"waiters"`
	// Delayed is how many were lost without unlocking and keep others out for
	// their lock delay.
	Delayed int `json:"delayed,omitempty"`
}

// Key returns the lock's address.
func (v *LockView) Key() job.Key { return job.Key{Namespace: v.Namespace, Name: v.Name} }

// checkLock tells what is wrong with the name of a lock, as *job.InvalidError.
func checkLock(key job.Key) error {
	var problems []job.Problem
	for path, name := range map[string]string{"namespace": key.Namespace, "name": key.Name} {
		if err := job.CheckName(name); err != nil {
			problems = append(problems, job.Problem{Path: path, Message: err.Error()})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.SortFunc(problems, func(a, b job.Problem) int { return cmp.Compare(a.Path, b.Path) })
	return &job.InvalidError{Problems: problems}
}

// LockContender holds a lock, or waits for it.
type LockContender struct {
	Holder  string `json:"holder"`
	Purpose string `json:"purpose,omitempty"`
	// Since is when the lock was got; of a waiter, when it came.
	Since time.Time `json:"since"`
	// Token is the fencing token of a holder.
	Token    job.Token    `json:"token"`
	Shared   bool         `json:"shared,omitempty"`
	Limit    int          `json:"limit,omitempty"`
	Priority int          `json:"priority,omitempty"`
	MaxHold  job.Duration `json:"maxHold,omitempty"`
}

// Locks returns the locks of a namespace, or of all, that somebody holds or
// waits for.
func (c *Control) Locks(ctx context.Context, namespace string) ([]LockView, error) {
	lctx, cancel := c.asked(ctx)
	defer cancel()
	all, err := lock.List(lctx, c.client, strings.TrimSuffix(c.cfg.Keys.Locks(), "/"))
	if err != nil {
		return nil, etcdError(ctx, "list locks", err)
	}
	views := []LockView{}
	for i := range all {
		v, ok := c.lockView(&all[i])
		if ok && (namespace == "" || v.Namespace == namespace) {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b LockView) int { return a.Key().Compare(b.Key()) })
	return views, nil
}

// Lock returns a lock that somebody holds or waits for.
func (c *Control) Lock(ctx context.Context, key job.Key) (LockView, error) {
	if err := checkLock(key); err != nil {
		return LockView{}, err
	}
	lctx, cancel := c.asked(ctx)
	defer cancel()
	status, err := lock.Inspect(lctx, c.client, c.cfg.Keys.Lock(key.Namespace, key.Name))
	if err != nil {
		return LockView{}, etcdError(ctx, "look at lock "+key.String(), err)
	}
	v, _ := c.lockView(&status)
	v.Namespace, v.Name = key.Namespace, key.Name
	if len(v.Holders)+len(v.Waiters)+v.Delayed == 0 {
		return v, fmt.Errorf("nobody holds lock %s, or waits for it: %w", key, job.ErrNotFound)
	}
	return v, nil
}

func (c *Control) lockView(s *lock.Status) (LockView, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(s.Prefix, "/")+"/", c.cfg.Keys.Locks())
	ns, name, ok2 := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	v := LockView{Namespace: ns, Name: name, Holders: []LockContender{}, Waiters: []LockContender{}, Delayed: len(s.Delayed)}
	for i := range s.Holders {
		v.Holders = append(v.Holders, contenderView(&s.Holders[i]))
	}
	for i := range s.Waiters {
		v.Waiters = append(v.Waiters, contenderView(&s.Waiters[i]))
	}
	return v, ok && ok2
}

func contenderView(c *lock.Contender) LockContender {
	v := LockContender{
		Holder: c.Holder, Purpose: c.Purpose, Since: c.Since, Token: c.Token,
		Shared: c.Shared, Priority: c.Priority, MaxHold: job.Duration(c.MaxHold),
	}
	if c.Limit > 1 {
		v.Limit = c.Limit
	}
	if !c.HeldSince.IsZero() {
		v.Since = c.HeldSince
	}
	return v
}

// BreakLock takes a lock away from who holds it by a token. It is refused when
// the lock has changed hands meanwhile.
func (c *Control) BreakLock(ctx context.Context, key job.Key, token job.Token, o Order) error {
	view, err := c.Lock(ctx, key)
	if err != nil {
		return err
	}
	before := ""
	for _, h := range view.Holders {
		if h.Token == token {
			before = h.Holder + " " + h.Purpose
		}
	}
	rec := c.auditOf(ctx, "lock.break", key.String()+" token "+token.String(), o)
	rec.Before = strings.TrimSpace(before)
	audit, err := c.auditOp(rec)
	if err != nil {
		return err
	}
	bctx, cancel := c.asked(ctx)
	defer cancel()
	err = lock.Break(bctx, c.client, c.cfg.Keys.Lock(key.Namespace, key.Name), token.Revision, audit)
	var changed *lock.BreakError
	if errors.As(err, &changed) {
		now := "nobody holds it now"
		if len(changed.Holders) > 0 {
			h := slices.MaxFunc(changed.Holders, func(a, b lock.Contender) int { return cmp.Compare(a.Revision, b.Revision) })
			now = fmt.Sprintf("%s holds it now, by token %s", h.Holder, h.Token)
		}
		return fmt.Errorf("break lock %s: it is not held by token %s; %s: %w", key, token, now, job.ErrConflict)
	}
	return etcdError(ctx, "break lock "+key.String(), err)
}
