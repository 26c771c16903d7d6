package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

const (
	// pageKeys is how many keys are read or put at a time, pageTimeout bounds that.
	pageKeys    = 500
	pageTimeout = 30 * time.Second
	// clearKeys is how many keys are deleted at a time.
	clearKeys = 5000
)

// ErrCompacted is wrapped by what Take returns when etcd has dropped the revision that was
// being read: it may be begun again.
var ErrCompacted = errors.New("etcd has compacted the revision that was being read")

// ErrNoCluster is wrapped when there is nothing to take a backup of.
var ErrNoCluster = errors.New("etcd holds no cluster there")

// Take writes what a cluster has in etcd at one revision (B1).
func Take(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, version string, w io.Writer) (h Header, end Trailer, err error) {
	first, err := get(ctx, c, keys.Meta())
	if err != nil {
		return h, end, err
	}
	if len(first.Kvs) == 0 {
		return h, end, fmt.Errorf("%w: there is no %s", ErrNoCluster, keys.Meta())
	}
	meta, err := etcdkv.Decode[etcdkv.Meta](keys.Meta(), first.Kvs[0].Value)
	if err != nil {
		return h, end, err
	}
	rev := first.Header.Revision
	h = Header{
		Format: Format, Cluster: meta.ClusterID, Epoch: meta.Epoch, Revision: rev, Prefix: keys.Prefix(), Shards: meta.Shards,
		TakenAt: time.Now().UTC(), Version: version,
	}
	out, err := newWriter(w, &h)
	if err != nil {
		return h, end, fmt.Errorf("write the backup: %w", err)
	}
	jobs := keys.Jobs()
	limit := clientv3.GetPrefixRangeEnd(keys.Root())
	for from := keys.Root(); ; {
		resp, err := get(ctx, c, from, clientv3.WithRange(limit), clientv3.WithLimit(pageKeys), clientv3.WithRev(rev))
		if err != nil {
			return h, end, err
		}
		for _, kv := range resp.Kvs {
			key := string(kv.Key)
			if kv.Lease != 0 || key == keys.Mark() || key == keys.Hold() { // B4
				out.end.Leased++
				continue
			}
			if strings.HasPrefix(key, jobs) {
				out.end.Jobs++
			}
			if err := out.add(&Record{Key: key[len(keys.Root()):], Create: kv.CreateRevision, Mod: kv.ModRevision, Value: kv.Value}); err != nil {
				return h, end, fmt.Errorf("write the backup: %w", err)
			}
		}
		if !resp.More {
			break
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	if end, err = out.close(); err != nil {
		return h, end, fmt.Errorf("write the backup: %w", err)
	}
	return h, end, nil
}

func get(ctx context.Context, c *clientv3.Client, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	resp, err := c.Get(ctx, key, opts...)
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil, ErrCompacted
	case err != nil:
		return nil, fmt.Errorf("read etcd: %w", err)
	}
	return resp, nil
}
