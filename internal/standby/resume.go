package standby

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// putCopy puts the copy of the active cluster in the place of what this one has.
func putCopy(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, cur *etcdkv.MirrorCursor, version string, h *held, then *etcdkv.HoldThen, o backup.Options) (backup.Restored, error) {
	o.Hold = h.rev
	o.Skip = func(key string) bool { return ofNodes(keys, key) }
	o.Held = func(hold *etcdkv.Hold) { hold.Site, hold.Then = h.Site, then }
	for key, value := range then.Last {
		o.Last = append(o.Last, clientv3.OpPut(key, string(value)))
	}
	return backup.RestoreFrom(ctx, c, keys, source(ctx, c, keys, cur, version), o)
}

// ofNodes reports whether a key tells of nodes. Those of the copy are the former active
// cluster's: they are not known here, and nobody misses them (M10).
func ofNodes(k etcdkv.Keys, key string) bool {
	return strings.HasPrefix(key, k.KnownNodes()) || strings.HasPrefix(key, k.LostSites()) || strings.HasPrefix(key, k.Drains())
}

// Resume ends a promotion that was broken off as its node was killed (M8): the cluster has
// no description then, so that no node could start, and take the command to begin it again.
// It returns at once when no promotion is under way. While another node lives, which may be
// at it, it waits; ctx ends that.
func Resume(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, version string, log *zap.Logger) error {
	told := false
	for {
		h, alone, err := promoting(ctx, c, keys)
		if err != nil || h == nil {
			return err
		}
		if alone {
			cur, _, err := readCursor(ctx, c, keys)
			if err != nil {
				return err
			}
			log.Warn("a promotion was broken off; it is ended now", zap.Time("begun", h.Since), zap.String("by", h.By))
			done, err := putCopy(ctx, c, keys, &cur, version, h, h.Then, backup.Options{By: h.By})
			switch {
			case err == nil:
				log.Warn("this cluster was promoted", zap.Int64("epoch", done.NewEpoch), zap.Int64("revision", cur.Revision), zap.Int64("jobs", done.Jobs))
				return nil
			case !errors.Is(err, backup.ErrInTheWay):
				return fmt.Errorf("end the promotion that was broken off: %w", err)
			}
		} else if !told {
			told = true
			log.Warn("a promotion is under way, or was broken off while nodes live: its end is waited for; begin it again with carillon promote on one of them")
		}
		if !backoff.Sleep(ctx, lookEvery) {
			return context.Cause(ctx)
		}
	}
}

// promoting returns what a cluster is held by whose promotion is under way, or was broken
// off, and whether no node lives; nil: it is not.
func promoting(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (*held, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.Txn(ctx).Then(clientv3.OpGet(keys.Hold()), clientv3.OpGet(keys.Members(), clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	if err != nil {
		return nil, false, fmt.Errorf("read etcd: %w", err)
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return nil, false, nil
	}
	v, err := etcdkv.Decode[etcdkv.Hold](keys.Hold(), kvs[0].Value)
	if err != nil || v.State != etcdkv.HoldRestoring || v.Then == nil {
		return nil, false, err
	}
	return &held{v, v.State, kvs[0].ModRevision}, resp.Responses[1].GetResponseRange().GetCount() == 0, nil
}
