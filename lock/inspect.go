package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Status is who holds a lock and who waits for it, at one revision of etcd.
type Status struct {
	// Prefix is the lock's.
	Prefix string
	// Revision is when this was so.
	Revision int64
	// Holders are in the order in which they got the lock.
	Holders []Contender
	// Waiters are in the order in which they will be served.
	Waiters []Contender
	// Delayed are the former holders that were lost without Unlock and whose
	// lock delay keeps others out. Of their places only LockDelay is known.
	Delayed []Contender
}

// Contender is who holds a lock, or waits for it.
type Contender struct {
	Place

	// ID is the contender's, as in MutexOptions.
	ID  string
	Key string
	// Token is the fencing token of a holder. Of a waiter it is zero.
	Token Token
	// Revision is when the key was written; a hold is broken by it.
	Revision int64
	// Lease is what the key lies on; zero: it lies on none.
	Lease clientv3.LeaseID
	// HeldSince is when the lock was granted, by the clock of the host that did
	// so. Of a waiter it is zero.
	HeldSince time.Time
}

// Inspect returns who holds the lock at prefix and who waits for it. It reads
// only, so it proves nothing: what it tells may be over.
func Inspect(ctx context.Context, client *clientv3.Client, prefix string) (Status, error) {
	if err := checkPrefix(prefix); err != nil {
		return Status{}, fmt.Errorf("inspect lock: %w", err)
	}
	l := layout(strings.TrimSuffix(prefix, "/"))
	// Guards, holds and the queue lie between them; a lock has no other keys.
	r, err := client.Get(ctx, l.guards(), clientv3.WithRange(after(l.queue())))
	if err != nil {
		return Status{}, fmt.Errorf("inspect lock %s: %w", prefix, err)
	}
	for _, s := range statuses(r.Header.Revision, r.Kvs) {
		if s.Prefix == string(l) {
			return s, nil
		}
	}
	return Status{Prefix: string(l), Revision: r.Header.Revision}, nil
}

// List returns all locks under prefix that somebody holds or waits for, by
// their prefixes. It reads all of them at once.
func List(ctx context.Context, client *clientv3.Client, prefix string) ([]Status, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	prefix = strings.TrimSuffix(prefix, "/") + "/"
	r, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list locks under %s: %w", prefix, err)
	}
	return statuses(r.Header.Revision, r.Kvs), nil
}

// statuses sorts keys by the lock that they belong to.
func statuses(rev int64, kvs []*mvccpb.KeyValue) []Status {
	byLock := make(map[layout][]*mvccpb.KeyValue)
	for _, kv := range kvs {
		if at, ok := locate(string(kv.Key)); ok {
			byLock[at.lock] = append(byLock[at.lock], kv)
		}
	}
	all := make([]Status, 0, len(byLock))
	for l, kvs := range byLock {
		all = append(all, statusOf(l, rev, kvs))
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Prefix, b.Prefix) })
	return all
}

func statusOf(l layout, rev int64, kvs []*mvccpb.KeyValue) Status {
	s := Status{Prefix: string(l), Revision: rev}
	held := make(map[string]bool)
	var queue []*mvccpb.KeyValue
	var guards []*mvccpb.KeyValue
	for _, kv := range kvs {
		switch at, _ := locate(string(kv.Key)); at.what {
		case 'h':
			held[string(kv.Key)] = true
			s.Holders = append(s.Holders, contenderOf(at, kv))
		case 'w':
			queue = append(queue, kv)
		case 'g':
			guards = append(guards, kv)
		}
	}
	slices.SortFunc(s.Holders, func(a, b Contender) int { return a.Token.Compare(b.Token) })
	for _, w := range inOrder(queue) {
		s.Waiters = append(s.Waiters, contenderOf(w.located, w.kv))
	}
	for _, kv := range guards {
		g, ok := guardOf(kv)
		if !ok || held[g.Hold] {
			continue
		}
		at, _ := locate(g.Hold)
		s.Delayed = append(s.Delayed, Contender{
			Place: Place{Shared: at.kind == sharing, Limit: at.kind.limit(), LockDelay: g.Delay},
			ID:    at.id, Key: string(kv.Key), Revision: kv.ModRevision, Lease: clientv3.LeaseID(kv.Lease),
		})
	}
	return s
}

// contenderOf reads a hold or a place. Of one that cannot be read, what the key
// tells is returned.
func contenderOf(at located, kv *mvccpb.KeyValue) Contender {
	c := Contender{ID: at.id, Key: string(kv.Key), Revision: kv.ModRevision, Lease: clientv3.LeaseID(kv.Lease)}
	rec, err := decodeRecord(kv.Value)
	if err != nil {
		rec.Place = Place{Holder: "unknown: " + err.Error(), Priority: priorityOf(at.class)}
	}
	c.Place = rec.Place
	c.Shared, c.Limit = at.kind == sharing, at.kind.limit()
	if at.what == 'h' {
		c.Token, c.HeldSince = Token{Epoch: rec.Epoch, Revision: kv.ModRevision}, rec.Held
	}
	return c
}

// BreakError is the error of Break when nobody holds the lock by the grant that
// was to be broken. errors.Is(err, ErrFenced) is true for it.
type BreakError struct {
	Prefix   string
	Revision int64
	// Holders hold the lock instead; there may be none.
	Holders []Contender
}

func (e *BreakError) Error() string {
	if len(e.Holders) == 0 {
		return fmt.Sprintf("%s is not held since revision %d: nobody holds it", e.Prefix, e.Revision)
	}
	var who []string
	for _, h := range e.Holders {
		who = append(who, fmt.Sprintf("%s since revision %d", h.Holder, h.Revision))
	}
	return fmt.Sprintf("%s is not held since revision %d: it is held by %s", e.Prefix, e.Revision, strings.Join(who, ", "))
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *BreakError) Is(target error) bool { return target == ErrFenced }

// Break takes a lock away from who holds it by the grant of revision rev: one
// transaction that deletes the hold and does also, such as an audit record. The
// holder is told by its watch, but may be at work still; so if it has a lock
// delay, others wait for that. Only what is fenced is safe from it.
//
// The error is a *BreakError if the lock has changed hands meanwhile; nothing
// has changed then. After an error that is not, it may have happened: Inspect.
func Break(ctx context.Context, client *clientv3.Client, prefix string, rev int64, also ...clientv3.Op) error {
	status, err := Inspect(ctx, client, prefix)
	if err != nil {
		return fmt.Errorf("break: %w", err)
	}
	i := slices.IndexFunc(status.Holders, func(c Contender) bool { return c.Revision == rev })
	if i < 0 {
		return fmt.Errorf("break: %w", &BreakError{Prefix: status.Prefix, Revision: rev, Holders: status.Holders})
	}
	hold := status.Holders[i]
	done, err := breakHold(ctx, client, hold.Key, rev, also)
	if err != nil {
		return fmt.Errorf("break %s at revision %d: %w", status.Prefix, rev, err)
	}
	if done {
		return nil
	}
	now, err := Inspect(ctx, client, prefix)
	return fmt.Errorf("break: %w", errors.Join(&BreakError{Prefix: status.Prefix, Revision: rev, Holders: now.Holders}, err))
}

// breakHold deletes the hold at the key if it is at rev, with its guard unless
// that is to outlive it, and does also.
func breakHold(ctx context.Context, client *clientv3.Client, key string, rev int64, also []clientv3.Op) (bool, error) {
	r, err := client.Get(ctx, key)
	if err != nil || len(r.Kvs) == 0 {
		return false, err
	}
	h, ok := holdingOf(r.Kvs[0])
	if !ok {
		h = holding{located: located{kind: exclusive}} // unreadable: no guard that we know of
		h.located, _ = locate(key)
	}
	ops := append(endOps(h.lock, h.kind, h.id, &h.rec, false), also...)
	t, err := client.Txn(ctx).If(unchanged(key, rev)).Then(ops...).Commit()
	if err != nil {
		return false, err
	}
	return t.Succeeded, nil
}
