package registrar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
)

const (
	// ticketLife is how long a key of session tickets makes new ones, and
	// ticketsKept how many read old ones.
	ticketLife  = 24 * time.Hour
	ticketsKept = 3
	// requestLife is how long a request, or what was decided on it, is kept. A
	// minion that still waits asks again.
	requestLife = 24 * time.Hour
	// waitLife is how long a request is kept that waits for an operator, and
	// that nobody has come back for; seenEvery is how often it is noted that
	// somebody has.
	waitLife  = time.Hour
	seenEvery = 10 * time.Minute
)

// rotate makes a new key of session tickets where there is none, or the newest
// one is old. Any node may: the transaction lets one do it.
func (r *Registrar) rotate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := r.keys.AuthTickets()
	got, err := r.client.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, etcdkv.Unavailable(err))
	}
	e, err := r.tickets(got.Kvs)
	if err != nil {
		return err
	}
	if keys := e.value.Keys; len(keys) > 0 && r.now().Sub(keys[0].CreatedAt) < ticketLife {
		return r.useTickets(e.value)
	}
	fresh := etcdkv.TicketKey{Key: make([]byte, 32), CreatedAt: r.now().UTC()}
	if _, err := rand.Read(fresh.Key); err != nil {
		return fmt.Errorf("new key: %w", err)
	}
	next := etcdkv.Tickets{Schema: etcdkv.Schema, Keys: append([]etcdkv.TicketKey{fresh}, e.value.Keys...)}
	next.Keys = next.Keys[:min(len(next.Keys), ticketsKept)]
	put, err := e.put(next)
	if err != nil {
		return err
	}
	done, err := r.txn(ctx, []clientv3.Cmp{e.unchanged()}, []clientv3.Op{put}, clientv3.OpGet(key))
	if err != nil {
		return fmt.Errorf("write %s: %w", key, etcdkv.Unavailable(err))
	}
	if done.Succeeded {
		return r.useTickets(next)
	}
	theirs, err := r.tickets(done.Responses[0].GetResponseRange().Kvs)
	if err != nil {
		return err
	}
	return r.useTickets(theirs.value)
}

// tickets returns the keys of session tickets as they were read; there may be none.
func (r *Registrar) tickets(kvs []*mvccpb.KeyValue) (entry[etcdkv.Tickets], error) {
	kvs, err := sealing.Opened(r.seal, kvs)
	if err != nil {
		return entry[etcdkv.Tickets]{}, err
	}
	return entryOf[etcdkv.Tickets](r.keys.AuthTickets(), kvs)
}

// applyTickets follows what is stored.
func (r *Registrar) applyTickets(b etcdkv.Batch) error {
	for _, e := range b.Events {
		if e.Value == nil || e.Key != r.keys.AuthTickets() {
			continue
		}
		t, err := r.tickets([]*mvccpb.KeyValue{{Key: []byte(e.Key), Value: e.Value}})
		if err == nil {
			err = r.useTickets(t.value)
		}
		if err != nil {
			r.log.Warn("keys of session tickets were left out; sessions begin anew", zap.Error(err))
		}
	}
	return nil
}

func (r *Registrar) useTickets(v etcdkv.Tickets) error {
	keys := make([][32]byte, 0, len(v.Keys))
	for _, k := range v.Keys {
		if len(k.Key) != 32 {
			return fmt.Errorf("a key of session tickets has %d bytes, not 32", len(k.Key))
		}
		keys = append(keys, [32]byte(k.Key))
	}
	return r.tls.SetTickets(keys)
}

// sweep removes tokens that have expired, and requests that nobody has decided
// on, or that nobody has come back for.
func (r *Registrar) sweep(ctx context.Context) error {
	now := r.now()
	tokens, err1 := listEntries[etcdkv.JoinToken](ctx, r.client, r.keys.AuthTokens())
	for _, t := range tokens {
		if !now.Before(t.value.ExpiresAt) {
			err1 = errors.Join(err1, removeUnchanged(ctx, r.client, &t))
		}
	}
	requests, err2 := listEntries[etcdkv.JoinRequest](ctx, r.client, r.keys.AuthRequests())
	for _, q := range requests {
		life := requestLife
		if !slices.ContainsFunc(q.value.Keys, func(k etcdkv.RequestedKey) bool { return !k.ApprovedAt.IsZero() || !k.RejectedAt.IsZero() }) {
			life = waitLife
		}
		if now.Sub(lastTouched(q.value)) >= life {
			err2 = errors.Join(err2, removeUnchanged(ctx, r.client, &q))
		}
	}
	return errors.Join(err1, err2)
}

func lastTouched(q etcdkv.JoinRequest) time.Time {
	var last time.Time
	for _, k := range q.Keys {
		for _, t := range []time.Time{k.At, k.Seen, k.ApprovedAt, k.RejectedAt} {
			if t.After(last) {
				last = t
			}
		}
	}
	return last
}

// removeUnchanged removes a record, unless it is another one by now.
func removeUnchanged[T any](ctx context.Context, c *clientv3.Client, e *entry[T]) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := c.Txn(ctx).If(e.unchanged()).Then(e.remove()).Commit(); err != nil {
		return fmt.Errorf("remove %s: %w", e.key, etcdkv.Unavailable(err))
	}
	return nil
}
