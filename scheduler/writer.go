package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// writer has the writes of a shard written, under one token, until their outcome is
// known. Any goroutine may use it.
type writer struct {
	own     *lock.Ownership
	client  *clientv3.Client
	keys    etcdkv.Keys
	id      job.ShardID
	retries prometheus.Counter
	log     *zap.Logger
}

// commitTimeout bounds one try of a commit.
const commitTimeout = 2 * time.Second

// txn returns the operations of a write.
func (o *writer) txn(w *write) ([]clientv3.Op, error) {
	out := make([]clientv3.Op, 0, w.size())
	if w.state != nil {
		text, err := etcdkv.Encode(w.state)
		if err != nil {
			return nil, err
		}
		out = append(out, clientv3.OpPut(o.keys.State(o.id), text))
	}
	return append(append(out, w.planned...), w.ops...), nil
}

// write commits w and returns the revision of the state it wrote. It tries until
// the outcome is known or the shard is lost: an ambiguous answer is resolved by
// the next try, which finds the claim id of the first, or not (I1, I3).
func (o *writer) write(ctx context.Context, fence []clientv3.Cmp, ops []clientv3.Op, w *write) (int64, error) {
	for try := 0; ; try++ {
		rev, err := o.tryWrite(ctx, fence, ops, w)
		if err == nil || errors.Is(err, lock.ErrFenced) || asBehind(err) != nil {
			return rev, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if !o.own.Held() {
			return 0, lock.ErrLost
		}
		if errors.Is(err, rpctypes.ErrDuplicateKey) {
			return 0, fmt.Errorf("commit of shard %d: %w", o.id, err) // no try of it ever succeeds: the shard begins anew
		}
		o.retries.Inc()
		o.log.Warn("commit not confirmed, trying again", zap.Int("try", try+1), zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Duration(try+1)*20*time.Millisecond, 500*time.Millisecond)):
		}
	}
}

func (o *writer) tryWrite(ctx context.Context, fence []clientv3.Cmp, ops []clientv3.Op, w *write) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	stateKey := o.keys.State(o.id)
	resp, err := o.client.Txn(ctx).If(fence...).Then(ops...).Else(clientv3.OpGet(stateKey)).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && w.passed {
		return 0, fmt.Errorf("the node next in line has left: %w", lock.ErrFenced)
	}
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	// The condition on the successor may be what failed: the shard starts again
	// from what is stored, and its lock is still this node's.
	if w.state != nil && len(resp.Responses) == 1 {
		for _, kv := range resp.Responses[0].GetResponseRange().GetKvs() {
			st, err := etcdkv.Decode[etcdkv.ShardState](stateKey, kv.Value)
			if err == nil && st.Claim == w.state.Claim {
				return kv.ModRevision, nil // an earlier try went through
			}
		}
	}
	if w.view != nil {
		switch need, err := o.edits(ctx, *w.view); {
		case err != nil:
			return 0, err
		case w.view.isBehind(need):
			return 0, &errBehind{need}
		}
	}
	return 0, fmt.Errorf("commit of shard %d under token %v: %w", o.id, o.own.Token(), lock.ErrFenced)
}

// editKey is a key of edits, and the revision of what it is about in a view.
type editKey struct {
	key string
	rev *int64
}

// editKeys are the keys of edits that bear on a plan that was made from a view: of
// the shard's jobs, of pauses, of groups, and of calendars.
func (o *writer) editKeys(v *view) []editKey {
	keys := []editKey{{o.keys.Edits(o.id), &v.jobs}, {o.keys.PauseEdits(), &v.pauses}}
	if o.id.IsGroup() {
		keys = append(keys, editKey{o.keys.GroupEdits(), &v.groups})
	}
	if v.calendars != never {
		keys = append(keys, editKey{o.keys.CalendarEdits(), &v.calendars})
	}
	return keys
}

// notNewer are the conditions that nothing was edited that a view lacks.
func (o *writer) notNewer(v view) []clientv3.Cmp {
	var out []clientv3.Cmp
	for _, k := range o.editKeys(&v) {
		out = append(out, clientv3.Compare(clientv3.ModRevision(k.key), "<", *k.rev+1))
	}
	return out
}

// edits reads which view is needed, in the place of one that a plan was made from.
func (o *writer) edits(ctx context.Context, v view) (view, error) {
	need := view{calendars: v.calendars}
	keys := o.editKeys(&need)
	gets := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		gets[i] = clientv3.OpGet(k.key, clientv3.WithKeysOnly())
	}
	resp, err := o.client.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return view{}, err
	}
	if need.calendars = 0; len(resp.Responses) != len(keys) {
		return view{}, fmt.Errorf("%d answers to %d questions", len(resp.Responses), len(keys))
	}
	for i, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			*keys[i].rev = kv.ModRevision
		}
	}
	return need, nil
}
