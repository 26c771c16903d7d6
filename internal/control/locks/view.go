package locks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

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

// Locks returns the locks of a namespace, or of all, that somebody holds or
// waits for.
func (k *Keeper) Locks(ctx context.Context, namespace string) ([]api.Lock, error) {
	lctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	all, err := lock.List(lctx, k.db.Client, strings.TrimSuffix(k.db.Keys.Locks(), "/"))
	if err != nil {
		return nil, store.Error(ctx, "list locks", err)
	}
	views := []api.Lock{}
	for i := range all {
		v, ok := k.lockView(&all[i])
		if ok && (namespace == "" || v.Namespace == namespace) {
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b api.Lock) int { return a.Key().Compare(b.Key()) })
	return views, nil
}

// Lock returns a lock that somebody holds or waits for.
func (k *Keeper) Lock(ctx context.Context, key job.Key) (api.Lock, error) {
	if err := checkLock(key); err != nil {
		return api.Lock{}, err
	}
	lctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	status, err := lock.Inspect(lctx, k.db.Client, k.db.Keys.Lock(key.Namespace, key.Name))
	if err != nil {
		return api.Lock{}, store.Error(ctx, "look at lock "+key.String(), err)
	}
	v, _ := k.lockView(&status)
	v.Namespace, v.Name = key.Namespace, key.Name
	if len(v.Holders)+len(v.Waiters)+v.Delayed == 0 {
		return v, fmt.Errorf("nobody holds lock %s, or waits for it: %w", key, job.ErrNotFound)
	}
	return v, nil
}

func (k *Keeper) lockView(s *lock.Status) (api.Lock, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(s.Prefix, "/")+"/", k.db.Keys.Locks())
	ns, name, ok2 := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	v := api.Lock{Namespace: ns, Name: name, Holders: []api.LockContender{}, Waiters: []api.LockContender{}, Delayed: len(s.Delayed)}
	for i := range s.Holders {
		v.Holders = append(v.Holders, contenderView(&s.Holders[i]))
	}
	for i := range s.Waiters {
		v.Waiters = append(v.Waiters, contenderView(&s.Waiters[i]))
	}
	return v, ok && ok2
}

func contenderView(c *lock.Contender) api.LockContender {
	v := api.LockContender{
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
func (k *Keeper) BreakLock(ctx context.Context, key job.Key, token job.Token, o api.Order) error {
	view, err := k.Lock(ctx, key)
	if err != nil {
		return err
	}
	before := ""
	for _, h := range view.Holders {
		if h.Token == token {
			before = h.Holder + " " + h.Purpose
		}
	}
	rec := k.audit.Record(ctx, "lock.break", key.String()+" token "+token.String(), o)
	rec.Before = strings.TrimSpace(before)
	audit, err := k.audit.Op(rec)
	if err != nil {
		return err
	}
	bctx, cancel := k.db.Bounded(ctx)
	defer cancel()
	err = lock.Break(bctx, k.db.Client, k.db.Keys.Lock(key.Namespace, key.Name), token.Revision, audit)
	var changed *lock.BreakError
	if errors.As(err, &changed) {
		now := "nobody holds it now"
		if len(changed.Holders) > 0 {
			h := slices.MaxFunc(changed.Holders, func(a, b lock.Contender) int { return cmp.Compare(a.Revision, b.Revision) })
			now = fmt.Sprintf("%s holds it now, by token %s", h.Holder, h.Token)
		}
		return fmt.Errorf("break lock %s: it is not held by token %s; %s: %w", key, token, now, job.ErrConflict)
	}
	return store.Error(ctx, "break lock "+key.String(), err)
}
