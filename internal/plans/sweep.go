package plans

import (
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// sweepEvery is how often is looked for what is to be removed.
	sweepEvery = time.Minute
	// StaleAfter is how long nothing may be heard of a plan that is on its way.
	StaleAfter = 10 * time.Minute
	// removeAtOnce is how many keys one transaction removes.
	removeAtOnce = 100
)

// sweepAll removes what is left of plans that are none, again and again. Each node does so:
// every step holds its own compare.
func (k *Keeper) sweepAll(ctx context.Context) {
	for {
		pause := sweepEvery/2 + rand.N(sweepEvery) // so that nodes do not do it at once
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("what is left of plans is not removed yet", zap.Error(err))
		}
	}
}

// Sweep gives up plans that have ended long ago, and those of which nothing was heard while they
// were on their way, and removes what they had (P8).
func (k *Keeper) Sweep(ctx context.Context) error {
	now := k.now()
	all, _ := k.plans.Snapshot()
	for key, e := range all {
		if p := &e.Value; !p.EndedAt.IsZero() && now.Sub(p.EndedAt) > k.cfg.Keep {
			if err := k.drop(ctx, key, e.ModRevision, p.UID); err != nil {
				return err
			}
		}
	}
	return list(ctx, k.client, k.cfg.Timeout, k.cfg.Keys.PlanStagings(), func(key string, value []byte) error {
		s, err := etcdkv.Decode[etcdkv.PlanStaging](key, value)
		if err != nil {
			return err
		}
		uid, err := job.ParseUID(key[len(k.cfg.Keys.PlanStagings()):])
		if err != nil || !s.Gone && now.Sub(s.At) < StaleAfter {
			return nil
		}
		return k.remove(ctx, key, value, uid, s)
	})
}

// drop takes a plan away, and leaves word that what it had is to be removed.
func (k *Keeper) drop(ctx context.Context, key string, rev int64, uid job.UID) error {
	gone, err := etcdkv.Encode(etcdkv.PlanStaging{Schema: etcdkv.Schema, At: k.now().UTC(), Gone: true})
	if err != nil {
		return err
	}
	_, err = k.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", rev)},
		clientv3.OpDelete(key), clientv3.OpPut(k.cfg.Keys.PlanStaging(uid), gone))
	return err
}

// remove removes what a plan had that is none: first it is said to be gone, so that a sender
// that is late writes nothing more.
func (k *Keeper) remove(ctx context.Context, key string, value []byte, uid job.UID, s etcdkv.PlanStaging) error {
	if !s.Gone {
		gone, err := etcdkv.Encode(etcdkv.PlanStaging{Schema: etcdkv.Schema, At: s.At, Gone: true})
		if err != nil {
			return err
		}
		resp, err := k.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(value))}, clientv3.OpPut(key, gone))
		if err != nil || !resp.Succeeded {
			return err
		}
	}
	return Discard(ctx, k.client, k.cfg.Keys, k.cfg.Timeout, uid)
}

// Discard removes what a plan had that is none, and at last the key that said so.
func Discard(ctx context.Context, client *clientv3.Client, keys etcdkv.Keys, timeout time.Duration, uid job.UID) error {
	root := keys.PlanData(uid).Root()
	end := clientv3.GetPrefixRangeEnd(root)
	for {
		ask, cancel := context.WithTimeout(ctx, timeout)
		resp, err := client.Get(ask, root, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(removeAtOnce))
		if err == nil && len(resp.Kvs) == 0 {
			_, err = client.Delete(ask, keys.PlanStaging(uid))
			cancel()
			return etcdkv.Unavailable(err)
		}
		if err == nil {
			last := string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			_, err = client.Delete(ask, root, clientv3.WithRange(last))
		}
		cancel()
		if err != nil {
			return etcdkv.Unavailable(err)
		}
	}
}
