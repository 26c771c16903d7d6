package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// outbox tells jobs in other shards of the ends that they wait for: each note of ends
// becomes triggers, in one transaction under the owner's token (I13). It belongs to the
// shard's goroutine, but for tell and what that calls.
type outbox struct {
	own    *lock.Ownership
	client *clientv3.Client
	keys   etcdkv.Keys
	shards int
	id     job.ShardID
	now    func() int64
	log    *zap.Logger

	// notes are the keys of those that are to be told, telling: one is being told.
	notes   []string
	telling bool
}

// Bounds of telling: notes in one value, and triggers in one transaction.
const (
	maxNotes = 2000
	maxTold  = 40
	// tellRetry is the pause after a try that failed.
	tellRetry = 200 * time.Millisecond
)

// load finds what an earlier owner has left to tell.
func (o *outbox) load(ctx context.Context) error {
	resp, err := o.client.Get(ctx, o.keys.Ended(o.id), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		o.notes = append(o.notes, string(kv.Key))
	}
	return nil
}

// next begins to tell the next note, one at a time. run runs a goroutine, and do has
// something done by the shard's.
func (o *outbox) next(ctx context.Context, run, do func(func())) {
	if o.telling || len(o.notes) == 0 {
		return
	}
	key := o.notes[0]
	o.notes, o.telling = o.notes[1:], true
	run(func() {
		for ctx.Err() == nil {
			err := o.tell(ctx, key)
			if err == nil {
				break
			}
			o.log.Warn("end of a run not told yet", zap.String("key", key), zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(tellRetry):
			}
		}
		do(func() { o.telling = false })
	})
}

// tell turns a note into triggers.
func (o *outbox) tell(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for {
		resp, err := o.client.Get(ctx, key)
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		kv := resp.Kvs[0]
		n, err := etcdkv.Decode[etcdkv.EndedRuns](key, kv.Value)
		if err != nil {
			o.log.Error("note cannot be read and is dropped", zap.Error(err))
			n.Runs = nil
		}
		part := n.Runs[:min(len(n.Runs), maxTold)]
		n.Runs = n.Runs[len(part):]
		cmps := []clientv3.Cmp{o.own.Fence(), clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)}
		ops := []clientv3.Op{clientv3.OpDelete(key)}
		if len(n.Runs) > 0 {
			text, err := etcdkv.Encode(n)
			if err != nil {
				return err
			}
			ops[0] = clientv3.OpPut(key, text)
		}
		var put []string
		for i := range part {
			cmp, trigger, value, err := o.trigger(ctx, &part[i], i)
			if err != nil {
				return err
			}
			if trigger == "" || slices.Contains(put, trigger) {
				continue // there is no such job any more, or it is told of this one already
			}
			put = append(put, trigger)
			cmps = append(cmps, cmp)
			ops = append(ops, clientv3.OpPut(trigger, value))
		}
		txn, err := o.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
		switch {
		case err != nil:
			return err
		case !txn.Succeeded && !o.own.Held():
			return nil // the next owner tells it
		case !txn.Succeeded:
			return errors.New("a job that waits has moved meanwhile")
		case len(n.Runs) == 0:
			return nil
		}
	}
}

// trigger returns the trigger of a job that waits for an end, and the
// condition that the job still lies where the trigger is put. n tells the
// triggers of one transaction apart.
func (o *outbox) trigger(ctx context.Context, end *etcdkv.Ended, n int) (clientv3.Cmp, string, string, error) {
	keys := o.keys
	find := etcdkv.Locator{Keys: keys, Shards: o.shards, Read: func(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
		return o.client.Txn(ctx).Then(ops...).Commit()
	}}
	places, err := find.Locate(ctx, "find the job that waits", []job.Key{end.To})
	if err != nil || places[0].KV == nil {
		return clientv3.Cmp{}, "", "", err
	}
	at, kv := places[0].Shard, places[0].KV
	stored, err := etcdkv.Decode[etcdkv.PlannedJob](string(kv.Key), kv.Value)
	if err != nil {
		return clientv3.Cmp{}, "", "", err
	}
	fire := job.FireID{Job: stored.UID, At: o.now() + int64(n), Trigger: job.TriggerAfter}
	key := keys.Trigger(at, fire)
	if end.Joined {
		key = keys.JoinedTrigger(at, stored.UID, end.From)
	}
	value, err := etcdkv.Encode(etcdkv.Trigger{
		Schema: etcdkv.Schema, Fire: fire, Key: end.To, From: end.From,
		After: &etcdkv.AfterRun{Job: end.From, Run: end.RunID, State: end.State},
		Cause: fmt.Sprintf("the end of run %s of %s (%s)", end.RunID, end.From, end.State),
	})
	return clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision), key, value, err
}
