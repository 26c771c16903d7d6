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
)

// A job may start when a key in etcd changes. Its owner watches the key, and
// puts a trigger and how far it has looked in one transaction: a change starts
// the job once, whoever owns it, also when nobody did at the time. Changes that
// come together start it once.

// keyWatch is the watch of one job.
type keyWatch struct {
	e    *entry
	stop context.CancelFunc
}

// tendWatches begins and ends watches, so that there is one for each job that
// wants one.
func (s *shard) tendWatches(ctx context.Context) {
	if !s.watchesNew {
		return
	}
	s.watchesNew = false
	want := s.watchers
	for uid, w := range s.watches {
		if e := want[uid]; e == nil || *e.watches() != *w.e.watches() {
			w.stop()
			delete(s.watches, uid)
		}
	}
	for uid, e := range want {
		if s.watches[uid] != nil {
			continue
		}
		wctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
		s.watches[uid] = &keyWatch{e: e, stop: stop}
		s.wg.Go(func() {
			defer stop()
			s.watchKey(wctx, e)
		})
	}
}

// noteWatcher notes that a job watches a key, or does not any more.
func (s *shard) noteWatcher(e *entry, there bool) {
	_, was := s.watchers[e.uid]
	switch {
	case there && e.watches() != nil:
		s.watchers[e.uid] = e
	case was:
		delete(s.watchers, e.uid)
	default:
		return
	}
	s.watchesNew = true
}

// watchRetry is the pause after a watch has failed.
const watchRetry = 500 * time.Millisecond

func (s *shard) watchKey(ctx context.Context, e *entry) {
	for ctx.Err() == nil {
		if err := s.watchKeyOnce(ctx, e); ctx.Err() == nil {
			s.log.Warn("watch of a job's key begins again", zap.Stringer("job", e.key), zap.String("watched", e.watches().Key), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchRetry):
		}
	}
}

// watchKeyOnce watches from where the last one came to until the watch fails.
func (s *shard) watchKeyOnce(ctx context.Context, e *entry) error {
	key := s.cfg.Keys.Watched(e.uid)
	resp, err := s.deps.Client.Get(ctx, key)
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
	} else if mod, err = s.saw(ctx, e, &seen, 0, ""); err != nil {
		return err
	}
	opts := []clientv3.OpOption{clientv3.WithRev(seen.Rev + 1)}
	if seen.Prefix {
		opts = append(opts, clientv3.WithPrefix())
	}
	for r := range s.deps.Client.Watch(ctx, seen.Key, opts...) {
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
		if mod, err = s.saw(ctx, e, &seen, mod, why); err != nil {
			return err
		}
	}
	return errors.New("watch ended")
}

// saw stores how far the key has been looked at, and with a reason a trigger. It
// returns the new mod revision of what it stored.
func (s *shard) saw(ctx context.Context, e *entry, seen *etcdkv.Watched, mod int64, why string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	key := s.cfg.Keys.Watched(e.uid)
	text, err := etcdkv.Encode(seen)
	if err != nil {
		return 0, err
	}
	ops := []clientv3.Op{clientv3.OpPut(key, text)}
	if why != "" {
		fire := job.FireID{Job: e.uid, At: s.deps.now(), Trigger: job.TriggerWatch}
		value, err := etcdkv.Encode(etcdkv.Trigger{Schema: etcdkv.Schema, Fire: fire, Key: e.key, Cause: why})
		if err != nil {
			return 0, err
		}
		ops = append(ops, clientv3.OpPut(s.cfg.Keys.Trigger(s.id, fire), value))
	}
	resp, err := s.deps.Client.Txn(ctx).If(s.own.Fence(), clientv3.Compare(clientv3.ModRevision(key), "=", mod)).Then(ops...).Commit()
	switch {
	case err != nil:
		return 0, err // what came of it is read again
	case !resp.Succeeded:
		return 0, errors.New("somebody else looks after it")
	}
	return resp.Header.Revision, nil
}
