package apply

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// queue works out what applying a queue changes. How it is held back stays as it is.
func (p *planner) queue(ctx context.Context, o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name := p.c.db.Keys.QueueType(key)
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: job.Queue{Metadata: o.Metadata, Spec: o.Queue, Generation: 1, CreatedAt: p.now, UpdatedAt: p.now}}
	kv, err := p.c.db.Get(ctx, "read queue "+key.String(), name)
	if err != nil {
		return change{}, err
	}
	ch.SameAs(name, store.Revision(kv))
	var old etcdkv.StoredQueue
	if kv != nil {
		if old, err = store.Decode[etcdkv.StoredQueue](kv); err != nil {
			return change{}, err
		}
	}
	if next.Bounds, err = p.queueBounds(ctx, o, old.Bounds); err != nil {
		return change{}, err
	}
	ch.result.Warnings = p.c.boundWarnings(ctx, next.Spec.Work().Target, next.Bounds)
	if kv == nil {
		if next.UID, err = job.NewQueueUID(); err != nil {
			return change{}, err
		}
		value, err := etcdkv.Encode(next)
		ch.store(name, value)
		return ch, err
	}
	ch.result.Action, ch.before = api.ActionUpdated, kv.Value
	same, err := sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	if same && old.Bounds.Same(next.Bounds) || err != nil {
		ch.result.Action, ch.result.Warnings = api.ActionUnchanged, nil
		return ch, err
	}
	next.UID, next.Generation, next.CreatedAt, next.Hold = old.UID, old.Generation+1, old.CreatedAt, old.Hold
	next.Schema = max(old.Schema, next.Schema)
	value, err := etcdkv.MergeUnknown(kv.Value, next)
	ch.store(name, value)
	return ch, err
}
