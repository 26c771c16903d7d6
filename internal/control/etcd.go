package control

import (
	"context"
	"errors"
	"fmt"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// pageSize is how many keys one range read returns; slots may be large.
const (
	pageSize = 1000
	slotPage = 64
)

// maxOps is how many operations one transaction may hold; etcd's default
// limit is 128.
const maxOps = 120

// asked bounds one request to etcd.
func (c *Control) asked(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

// etcdError tells what doing with etcd did not work. The caller's own
// cancellation stays one; all else means that the cluster cannot answer now.
func etcdError(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: etcd does not answer: %w", doing, job.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w: %w", doing, job.ErrUnavailable, err)
}

// txn runs one transaction.
func (c *Control) txn(ctx context.Context, doing string, cmps []clientv3.Cmp, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	tctx, cancel := c.asked(ctx)
	defer cancel()
	resp, err := c.client.Txn(tctx).If(cmps...).Then(ops...).Commit()
	return resp, etcdError(ctx, doing, err)
}

// get reads one key; the pair is nil when there is none.
func (c *Control) get(ctx context.Context, doing, key string) (*mvccpb.KeyValue, error) {
	gctx, cancel := c.asked(ctx)
	defer cancel()
	resp, err := c.client.Get(gctx, key)
	if err != nil {
		return nil, etcdError(ctx, doing, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil //nolint:nilnil // documented
	}
	return resp.Kvs[0], nil
}

// list calls fn with every pair under prefix, in order of keys, as of one
// revision, unless that is compacted on the way.
func (c *Control) list(ctx context.Context, doing, prefix string, fn func(*mvccpb.KeyValue) error) error {
	return c.listPages(ctx, doing, prefix, pageSize, fn)
}

func (c *Control) listPages(ctx context.Context, doing, prefix string, page int64, fn func(*mvccpb.KeyValue) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	from, rev := prefix, int64(0)
	for {
		resp, err := c.rangePage(ctx, from, end, rev, page)
		if errors.Is(err, rpctypes.ErrCompacted) && rev != 0 {
			// The revision was compacted under a slow reader: go on from the
			// same key with the newest one rather than fail.
			rev = 0
			continue
		}
		if err != nil {
			return etcdError(ctx, doing, err)
		}
		rev = resp.Header.Revision
		for _, kv := range resp.Kvs {
			if err := fn(kv); err != nil {
				return err
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (c *Control) rangePage(ctx context.Context, from, end string, rev, page int64) (*clientv3.GetResponse, error) {
	gctx, cancel := c.asked(ctx)
	defer cancel()
	return c.client.Get(gctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(rev))
}

// getAll reads many keys, in the order given; a pair is nil where there is none.
func (c *Control) getAll(ctx context.Context, doing string, keys []string) ([]*mvccpb.KeyValue, error) {
	kvs := make([]*mvccpb.KeyValue, 0, len(keys))
	for from := 0; from < len(keys); from += maxOps {
		part := keys[from:min(from+maxOps, len(keys))]
		ops := make([]clientv3.Op, len(part))
		for i, k := range part {
			ops[i] = clientv3.OpGet(k)
		}
		resp, err := c.txn(ctx, doing, nil, ops)
		if err != nil {
			return nil, err
		}
		for _, r := range resp.Responses {
			var kv *mvccpb.KeyValue
			if got := r.GetResponseRange().GetKvs(); len(got) > 0 {
				kv = got[0]
			}
			kvs = append(kvs, kv)
		}
	}
	return kvs, nil
}

// decode reads the record of a pair.
func decode[T any](kv *mvccpb.KeyValue) (T, error) {
	return etcdkv.Decode[T](string(kv.Key), kv.Value)
}
