package sealing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealkey"
)

// said is what a node has said of its keys, and on which lease.
type said struct {
	lease clientv3.LeaseID
	keys  []string
}

// Run follows the state and the file, says which keys the node has, has a new key take
// over, and seals what is not sealed by it, until ctx ends; it returns nil then.
func (k *Keeper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	state := k.cfg.Keys.SealState()
	g.Go(func() error {
		return etcdkv.Follow(ctx, k.deps.Client, state, func(b etcdkv.Batch) error {
			var last *etcdkv.Event
			for i := range b.Events {
				if b.Events[i].Key == state {
					last = &b.Events[i]
				}
			}
			if last == nil && !b.Relist {
				return nil
			}
			var value []byte
			rev := int64(0)
			if last != nil && last.Value != nil {
				value, rev = last.Value, last.ModRevision
			}
			if err := k.learn(value, rev); err != nil {
				k.log.Error("the record of the seal key cannot be read; what was known goes on", zap.Error(err))
			}
			return nil
		})
	})
	g.Go(func() error {
		tick := time.NewTicker(k.cfg.Every)
		defer tick.Stop()
		for {
			if err := k.step(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errMeanwhile) {
				k.log.Warn("seal keys: trying again", zap.Error(err))
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// step does all that is to be done now.
func (k *Keeper) step(ctx context.Context) error {
	k.reload()
	if err := k.say(ctx); err != nil {
		return err
	}
	now := k.snapshot()
	if first := now.ring.First(); first != "" && string(first) != now.state.Key {
		v, err := k.look(ctx)
		if err != nil {
			return err
		}
		// It waits for the others, and doctor says for whom.
		if lacking, err := k.advance(ctx, v); err != nil || len(lacking) > 0 {
			return err
		}
		now = k.snapshot()
	}
	if now.state.Key == "" || !now.state.SettledAt.IsZero() || !now.ring.Has(sealkey.ID(now.state.Key)) {
		return nil
	}
	return k.settle(ctx, &now)
}

// reload takes the file as it is, if it is good and has all keys that are needed.
func (k *Keeper) reload() {
	ring, err := sealkey.ReadFile(k.cfg.File)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && slices.Equal(ring.IDs(), k.ring.IDs()) || err != nil && len(k.ring.IDs()) == 0 && k.state.Key == "" {
		k.bad = ""
		return
	}
	if err == nil {
		needed := []string{k.state.Key}
		if k.state.Key != "" && k.state.SettledAt.IsZero() {
			needed = append(needed, ids(k.ring)...)
		}
		for _, id := range needed {
			if id != "" && !ring.Has(sealkey.ID(id)) && (k.ring.Has(sealkey.ID(id)) || len(k.ring.IDs()) == 0) {
				err = fmt.Errorf("seal key file %s: lacks the key %s, by which secrets are sealed; put it back, behind the others", k.cfg.File, id)
				break
			}
		}
	}
	if err == nil {
		k.log.Info("the seal key file was read again", zap.String("file", k.cfg.File), zap.Strings("keys", ids(ring)))
		k.ring, k.bad = ring, ""
		return
	}
	if len(k.ring.IDs()) > 0 && k.bad != err.Error() {
		k.bad = err.Error()
		k.log.Error("the seal key file is not what the node needs; it goes on with the keys that it has read, and would not start again", zap.Error(err))
	}
}

// say tells the others which keys the node has, once it is one of them.
func (k *Keeper) say(ctx context.Context) error {
	if k.deps.Lease == nil {
		return nil
	}
	lease, ok := k.deps.Lease()
	keys := ids(k.snapshot().ring)
	if !ok || lease == k.said.lease && slices.Equal(keys, k.said.keys) || len(keys) == 0 && len(k.said.keys) == 0 {
		return nil
	}
	text, err := etcdkv.Encode(etcdkv.SealHolder{Schema: etcdkv.Schema, Node: k.cfg.Node, Keys: keys})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	key := k.cfg.Keys.SealHolder(k.cfg.Node)
	if _, err := k.deps.Client.Put(ctx, key, text, clientv3.WithLease(lease)); err != nil {
		return fmt.Errorf("write %s: %w", key, etcdkv.Unavailable(err))
	}
	k.said = said{lease, keys}
	return nil
}

// pageKeys is how many records are read at a time.
const pageKeys = 500

// settle seals all that is not sealed by the key of the state. When there is nothing left,
// the state is settled.
func (k *Keeper) settle(ctx context.Context, now *snapshot) error {
	var errs []error
	sealed, left := 0, 0
	for _, s := range k.cfg.Keys.Secrets() {
		end := clientv3.GetPrefixRangeEnd(s.Prefix)
		if s.Whole() {
			end = s.Prefix + "\x00"
		}
		for from := s.Prefix; ; {
			got, err := k.page(ctx, from, end)
			if err != nil {
				return fmt.Errorf("read %s: %w", s.Prefix, etcdkv.Unavailable(err))
			}
			for _, kv := range got.Kvs {
				did, err := k.sealAnew(ctx, now, s, kv)
				switch {
				case err != nil:
					errs, left = append(errs, err), left+1
				case did:
					sealed++
				}
			}
			if !got.More || len(got.Kvs) == 0 {
				break
			}
			from = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
		}
	}
	if sealed > 0 {
		k.log.Info("secrets were sealed anew", zap.Int("values", sealed), zap.String("key", now.state.Key))
	}
	if left > 0 {
		return fmt.Errorf("%d secrets are not sealed by the key %s: %w", left, now.state.Key, errors.Join(errs...))
	}
	state := now.state
	state.SettledAt = k.deps.Now().UTC()
	text, err := etcdkv.Encode(state)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	done, err := k.deps.Client.Txn(ctx).If(now.unchanged(k.cfg.Keys)).Then(clientv3.OpPut(k.cfg.Keys.SealState(), text)).Commit()
	if err != nil {
		return fmt.Errorf("write %s: %w", k.cfg.Keys.SealState(), etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		return errMeanwhile
	}
	return k.learn([]byte(text), done.Header.Revision)
}

func (k *Keeper) page(ctx context.Context, from, end string) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	return k.deps.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
}

// sealAnew seals one value that is not sealed by the key of the state, and reports
// whether it was not. One that was changed meanwhile is for the next time.
func (k *Keeper) sealAnew(ctx context.Context, now *snapshot, s etcdkv.Secret, kv *mvccpb.KeyValue) (bool, error) {
	key := string(kv.Key)
	value, err := now.seal(s, key, kv.Value)
	if err != nil {
		return false, err
	}
	if string(value) == string(kv.Value) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	done, err := k.deps.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision), now.unchanged(k.cfg.Keys)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease())).Commit()
	if err != nil {
		return false, fmt.Errorf("write %s: %w", key, etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		return false, errMeanwhile
	}
	return true, nil
}
