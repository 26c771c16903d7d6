package roster

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// callTimeout bounds one request to etcd.
const callTimeout = 5 * time.Second

// Quota is how large the data of a member may become.
const Quota = 8 << 30

// ChangeTime bounds one change: its lock ends then.
const ChangeTime = 15 * time.Second

// ErrChanging is returned while another change is being made.
var ErrChanging = errors.New("one change at a time")

// Change does a change under the lock of changes. The lock keeps nodes from being in
// one another's way; that no two changes are open at once is etcd's own rule.
func Change(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, rec etcdkv.EtcdChange, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, ChangeTime)
	defer cancel()
	rec.Schema, rec.Since = etcdkv.Schema, time.Now().UTC()
	value, err := etcdkv.Encode(rec)
	if err != nil {
		return err
	}
	lease, err := c.Grant(ctx, int64((ChangeTime+callTimeout)/time.Second))
	if err != nil {
		return fmt.Errorf("lock of changes: %w", etcdkv.Unavailable(err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_, _ = c.Revoke(ctx, lease.ID) // it ends by itself, too
	}()
	key := keys.EtcdChange()
	done, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(lease.ID))).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return fmt.Errorf("lock of changes: %w", etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		other := etcdkv.EtcdChange{}
		if kvs := done.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			if other, err = etcdkv.Decode[etcdkv.EtcdChange](key, kvs[0].Value); err != nil {
				return err
			}
		}
		return fmt.Errorf("node %s changes the members (%s); %w: %w", other.Node, other.What, ErrChanging, job.ErrConflict)
	}
	return do(ctx)
}

// answerTime bounds the question whether a member answers.
const answerTime = 2 * time.Second

// Answers reports whether a member answers at one of its addresses.
func Answers(ctx context.Context, c *clientv3.Client, m Member) bool {
	for _, e := range m.ClientURLs {
		if !isHTTPS(e) {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, answerTime)
		st, err := c.Status(bounded, e)
		cancel()
		if err == nil && st.Header.MemberId == uint64(m.ID) && st.Leader != 0 {
			return true
		}
	}
	return false
}
