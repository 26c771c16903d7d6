package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// A job may start when a key in etcd changes. Its owner watches the key, and
// puts a trigger and how far it has looked in one transaction: a change starts
// the job once, whoever owns it, also when nobody did at the time. Changes that
// come together start it once.

// keyWatches are the watches of the keys that jobs of a shard watch. It belongs to the
// shard's goroutine, but for follow and what that calls.
type keyWatches struct {
	own    *lock.Ownership
	client *clientv3.Client
	keys   etcdkv.Keys
	id     job.ShardID
	now    func() int64
	log    *zap.Logger

	// jobs are those that watch a key, running their watches. changed: these may not be
	// the same.
	jobs    map[job.UID]*entry
	running map[job.UID]*keyWatch
	changed bool
}

// keyWatch is the watch of one job.
type keyWatch struct {
	e    *entry
	stop context.CancelFunc
}

func newKeyWatches(s *shard) keyWatches {
	return keyWatches{
		own: s.own, client: s.deps.Client, keys: s.cfg.Keys, id: s.id, now: s.deps.now, log: s.log,
		jobs: map[job.UID]*entry{}, running: map[job.UID]*keyWatch{},
	}
}

// tend begins and ends watches, so that there is one for each job that wants one. run
// runs a goroutine.
func (k *keyWatches) tend(ctx context.Context, run func(func())) {
	if !k.changed {
		return
	}
	k.changed = false
	for uid, w := range k.running {
		if e := k.jobs[uid]; e == nil || *e.watches() != *w.e.watches() {
			w.stop()
			delete(k.running, uid)
		}
	}
	for uid, e := range k.jobs {
		if k.running[uid] != nil {
			continue
		}
		wctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
		k.running[uid] = &keyWatch{e: e, stop: stop}
		run(func() {
			defer stop()
			k.follow(wctx, e)
		})
	}
}

// note notes that a job watches a key, or does not any more.
func (k *keyWatches) note(e *entry, there bool) {
	_, was := k.jobs[e.uid]
	switch {
	case there && e.watches() != nil:
		k.jobs[e.uid] = e
	case was:
		delete(k.jobs, e.uid)
	default:
		return
	}
	k.changed = true
}

// watchRetry is the pause after a watch has failed.
const watchRetry = 500 * time.Millisecond

// follow watches a job's key until ctx ends.
func (k *keyWatches) follow(ctx context.Context, e *entry) {
	for ctx.Err() == nil {
		if err := k.followOnce(ctx, e); ctx.Err() == nil {
			k.log.Warn("watch of a job's key begins again", zap.Stringer("job", e.key), zap.String("watched", e.watches().Key), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchRetry):
		}
	}
}

// followOnce watches from where the last one came to until the watch fails.
func (k *keyWatches) followOnce(ctx context.Context, e *entry) error {
	key := k.keys.Watched(e.uid)
	resp, err := k.client.Get(ctx, key)
	if err != nil {
		return err
	}
	var mod int64
	seen := etcdkv.Watched{Schema: etcdkv.Schema, Key: e.watches().Key, Prefix: e.watches().Prefix, Rev: resp.Header.Revision}
	if len(resp.Kvs) == 1 {
		mod = resp.Kvs[0].ModRevision
		old, err := etcdkv.Decode[etcdkv.Watched](key, resp.Kvs[0].Value)
		if err == nil && old.Key == seen.Key && old.Prefix == seen.Prefix {
			seen.Rev = old.Rev
		}
	} else if mod, err = k.saw(ctx, e, &seen, 0, ""); err != nil {
		return err
	}
	opts := []clientv3.OpOption{clientv3.WithRev(seen.Rev + 1)}
	if seen.Prefix {
		opts = append(opts, clientv3.WithPrefix())
	}
	for r := range k.client.Watch(ctx, seen.Key, opts...) {
		var why string
		switch err := r.Err(); {
		case errors.Is(err, rpctypes.ErrCompacted):
			seen.Rev = r.CompactRevision
			why = fmt.Sprintf("changes of %s since the last look are compacted; there may have been some", seen.Key)
		case err != nil:
			return err
		case len(r.Events) == 0:
			continue
		default:
			last := r.Events[len(r.Events)-1]
			seen.Rev = last.Kv.ModRevision
			what := "changed"
			if last.Type == clientv3.EventTypeDelete {
				what = "was deleted"
			}
			why = fmt.Sprintf("key %s %s at revision %d", last.Kv.Key, what, seen.Rev)
			if n := len(r.Events); n > 1 {
				why += fmt.Sprintf(", with %d changes before it", n-1)
			}
		}
		if mod, err = k.saw(ctx, e, &seen, mod, why); err != nil {
			return err
		}
	}
	return errors.New("watch ended")
}

// saw stores how far the key has been looked at, and with a reason a trigger. It
// returns the new mod revision of what it stored.
func (k *keyWatches) saw(ctx context.Context, e *entry, seen *etcdkv.Watched, mod int64, why string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	key := k.keys.Watched(e.uid)
	text, err := etcdkv.Encode(seen)
	if err != nil {
		return 0, err
	}
	ops := []clientv3.Op{clientv3.OpPut(key, text)}
	if why != "" {
		fire := job.FireID{Job: e.uid, At: k.now(), Trigger: job.TriggerWatch}
		value, err := etcdkv.Encode(etcdkv.Trigger{Schema: etcdkv.Schema, Fire: fire, Key: e.key, Cause: why})
		if err != nil {
			return 0, err
		}
		ops = append(ops, clientv3.OpPut(k.keys.Trigger(k.id, fire), value))
	}
	resp, err := k.client.Txn(ctx).If(k.own.Fence(), clientv3.Compare(clientv3.ModRevision(key), "=", mod)).Then(ops...).Commit()
	switch {
	case err != nil:
		return 0, err // what came of it is read again
	case !resp.Succeeded:
		return 0, errors.New("somebody else looks after it")
	}
	return resp.Header.Revision, nil
}
