package lock

import (
	"context"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lookEvery is about how often a waiter looks by itself, should its watch have
// missed something.
const lookEvery = 15 * time.Second

// first reports whether key is the first of what was read.
func first(read *etcdserverpb.ResponseOp, key string) bool {
	kvs := read.GetResponseRange().GetKvs()
	return len(kvs) > 0 && string(kvs[0].Key) == key
}

// view is what a waiter sees when it is not first.
type view struct {
	first bool
	// gone: the place is not there any more.
	gone bool
	// ahead is the key right before ours.
	ahead string
	rev   int64
}

// wait returns nil when the place at key, taken at rev, is the first.
func (m *Mutex) wait(ctx context.Context, key string, rev int64) error {
	for failures := 0; ; {
		v, err := m.look(ctx, key, rev)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !ambiguous(err):
			return err
		case err == nil && v.first:
			return nil
		case err == nil && v.gone:
			return m.session.whyGone(ctx)
		case err == nil && m.watch(ctx, v, key):
			failures = 0
		default:
			failures++
			if !pause(ctx, failures) {
				return context.Cause(ctx)
			}
		}
	}
}

// whyGone tells why a key that lay on the lease is gone: with the lease, which
// we may not know yet, or because somebody removed it.
func (s *Session) whyGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if r, err := s.client.TimeToLive(ctx, s.lease); err == nil && r.TTL <= 0 {
		return s.leaseGone()
	}
	return s.ended(ErrFenced)
}

// look finds out whether the place is the first: whether it exists and nothing
// in the queue is older. That is proven by a transaction, and one that could
// write, for one that only reads need not go through raft.
func (m *Mutex) look(ctx context.Context, key string, rev int64) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	older := append(clientv3.WithLastCreate(), clientv3.WithPrefix(), clientv3.WithMaxCreateRev(rev-1), clientv3.WithKeysOnly())
	r, err := m.session.client.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(key), "=", rev),
		clientv3.Compare(clientv3.CreateRevision(m.queue), ">", rev-1).WithPrefix(),
	).Then(
		clientv3.OpDelete(m.session.cfg.Marks+"none"),
	).Else(
		clientv3.OpGet(key, clientv3.WithKeysOnly()),
		clientv3.OpGet(m.queue, older...),
	).Commit()
	if err != nil {
		return view{}, err
	}
	v := view{first: r.Succeeded, rev: r.Header.Revision}
	if v.first {
		return v, nil
	}
	own, ahead := r.Responses[0].GetResponseRange().GetKvs(), r.Responses[1].GetResponseRange().GetKvs()
	if len(own) == 0 || own[0].ModRevision != rev || len(ahead) == 0 {
		v.gone = true
		return v, nil
	}
	v.ahead = string(ahead[0].Key)
	return v, nil
}

// watch waits until the key ahead or the waiter's own is deleted, for both on
// one stream. It returns false when the watch itself has failed.
func (m *Mutex) watch(ctx context.Context, v view, key string) bool {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel() // ends the watches
	opts := []clientv3.OpOption{clientv3.WithRev(v.rev + 1), clientv3.WithFilterPut()}
	ahead := m.session.client.Watch(ctx, v.ahead, opts...)
	own := m.session.client.Watch(ctx, key, opts...)
	t := time.NewTimer(lookEvery + rand.N(lookEvery)) //nolint:gosec // not a secret
	defer t.Stop()
	for {
		var r clientv3.WatchResponse
		var ok bool
		select {
		case r, ok = <-ahead:
		case r, ok = <-own:
		case <-t.C:
			return true
		case <-ctx.Done():
			return true
		}
		switch {
		case !ok, r.Err() != nil:
			return false
		case len(r.Events) > 0:
			return true
		}
	}
}
