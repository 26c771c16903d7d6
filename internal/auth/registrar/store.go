package registrar

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

// entry is a record as it was read.
type entry[T any] struct {
	key    string
	value  T
	raw    []byte // nil: there is none
	create int64
	mod    int64 // 0: there is none
}

func (e *entry[T]) exists() bool { return e.mod != 0 }

// unchanged compares that the record is still what was read.
func (e *entry[T]) unchanged() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(e.key), "=", e.mod)
}

// put writes the next value, and keeps what a newer release has added.
func (e *entry[T]) put(next T) (clientv3.Op, error) {
	text, err := etcdkv.MergeUnknown(e.raw, next)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(e.key, text), nil
}

func (e *entry[T]) remove() clientv3.Op { return clientv3.OpDelete(e.key) }

// entryOf returns the record of a key as it was read; there may be none.
func entryOf[T any](key string, kvs []*mvccpb.KeyValue) (entry[T], error) {
	e := entry[T]{key: key}
	if len(kvs) == 0 {
		return e, nil
	}
	v, err := etcdkv.Decode[T](key, kvs[0].Value)
	if err != nil {
		return e, err
	}
	e.value, e.raw, e.create, e.mod = v, kvs[0].Value, kvs[0].CreateRevision, kvs[0].ModRevision
	return e, nil
}

// view is all that is stored about a minion, at one revision.
type view struct {
	minion  entry[etcdkv.Enrollment]
	request entry[etcdkv.JoinRequest]
	revoked entry[etcdkv.Revocation]
	token   entry[etcdkv.JoinToken]
	// requests is how many minions wait for an operator.
	requests int64
}

// enrolled reports whether the minion has a key that is not revoked.
func (v *view) enrolled() bool { return v.minion.exists() && v.minion.value.RevokedAt.IsZero() }

// look reads what is stored about a minion, and a token; empty: none.
func (r *Registrar) look(ctx context.Context, id job.MinionID, token string) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, q, v, t := r.keys.AuthMinion(id), r.keys.AuthRequest(id), r.keys.AuthRevocation(id), r.keys.AuthToken(token)
	ops := []clientv3.Op{
		clientv3.OpGet(m), clientv3.OpGet(q), clientv3.OpGet(v),
		clientv3.OpGet(r.keys.AuthRequests(), clientv3.WithPrefix(), clientv3.WithCountOnly()),
	}
	if token != "" {
		ops = append(ops, clientv3.OpGet(t))
	}
	got, err := r.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read minion %s: %w", id, etcdkv.Unavailable(err))
	}
	kvs := func(i int) []*mvccpb.KeyValue { return got.Responses[i].GetResponseRange().Kvs }
	var w view
	if w.minion, err = entryOf[etcdkv.Enrollment](m, kvs(0)); err != nil {
		return nil, err
	}
	if w.request, err = entryOf[etcdkv.JoinRequest](q, kvs(1)); err != nil {
		return nil, err
	}
	if w.revoked, err = entryOf[etcdkv.Revocation](v, kvs(2)); err != nil {
		return nil, err
	}
	w.requests = got.Responses[3].GetResponseRange().Count
	if token != "" {
		if w.token, err = r.token(t, kvs(4)); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// token returns the join token of a key as it was read; there may be none.
func (r *Registrar) token(key string, kvs []*mvccpb.KeyValue) (entry[etcdkv.JoinToken], error) {
	kvs, err := sealing.Opened(r.seal, kvs)
	if err != nil {
		return entry[etcdkv.JoinToken]{}, err
	}
	return entryOf[etcdkv.JoinToken](key, kvs)
}

// txn does ops if all of cmps hold, else elses. What is secret in what is put is sealed.
func (r *Registrar) txn(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op, elses ...clientv3.Op) (*clientv3.TxnResponse, error) {
	return sealing.Commit(ctx, r.seal, r.client, cmps, ops, elses)
}

// commit writes what was decided from a view, and reports whether it was still
// true.
func (r *Registrar) commit(ctx context.Context, v *view, ops []clientv3.Op) (bool, error) {
	if len(ops) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cmps := []clientv3.Cmp{v.minion.unchanged(), v.request.unchanged(), v.revoked.unchanged()}
	if v.token.key != "" {
		cmps = append(cmps, v.token.unchanged())
	}
	done, err := r.txn(ctx, cmps, ops)
	if err != nil {
		return false, fmt.Errorf("write: %w", etcdkv.Unavailable(err))
	}
	return done.Succeeded, nil
}

// listPage is how many keys one request of a listing asks for.
const listPage = 1000

// list reads all records under a prefix, at one revision. What cannot be read
// is an error that names it.
func list[T any](ctx context.Context, c *clientv3.Client, prefix string) ([]T, error) {
	entries, err := listEntries[T](ctx, c, prefix)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(entries))
	for i := range entries {
		out[i] = entries[i].value
	}
	return out, nil
}

func listEntries[T any](ctx context.Context, c *clientv3.Client, prefix string) ([]entry[T], error) {
	var out []entry[T]
	from, end, rev := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(0)
	for {
		got, err := page(ctx, c, from, end, rev)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, etcdkv.Unavailable(err))
		}
		rev = got.Header.Revision
		for i, kv := range got.Kvs {
			e, err := entryOf[T](string(kv.Key), got.Kvs[i:i+1])
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		if !got.More || len(got.Kvs) == 0 {
			return out, nil
		}
		from = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
	}
}

func page(ctx context.Context, c *clientv3.Client, from, end string, rev int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(rev))
}
