package apply

import (
	"context"
	"fmt"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// readNotifiers reads the notifiers that the objects are.
func (p *planner) readNotifiers(ctx context.Context, objects []manifest.Object) error {
	p.notifiers = map[job.Key]*mvccpb.KeyValue{}
	var keys []job.Key
	var names []string
	for i := range objects {
		if k := objects[i].Metadata.Key(); objects[i].Kind == job.KindNotifier {
			keys, names = append(keys, k), append(names, p.c.db.Keys.Notifier(k))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	kvs, err := p.c.db.GetAll(ctx, "read notifiers", names)
	if err != nil {
		return err
	}
	fresh := 0
	for i := range kvs {
		p.notifiers[keys[i]] = kvs[i]
		if kvs[i] == nil {
			fresh++
		}
	}
	if fresh == 0 {
		return nil
	}
	all := p.c.db.Keys.Notifiers()
	resp, err := p.c.db.Do(ctx, "count notifiers", nil, []clientv3.Op{clientv3.OpGet(all, clientv3.WithPrefix(), clientv3.WithCountOnly())})
	if err != nil {
		return err
	}
	if n := int(resp.Responses[0].GetResponseRange().GetCount()) + fresh; n > job.MaxNotifiers {
		return fmt.Errorf("the cluster would have %d notifiers; at most %d are allowed: have one tell of jobs of several names or labels: %w", n, job.MaxNotifiers, job.ErrConflict)
	}
	return nil
}

// notifier works out what applying a notifier changes.
func (p *planner) notifier(o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name, kv := p.c.db.Keys.Notifier(key), p.notifiers[key]
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredNotifier{Schema: etcdkv.Schema, Notifier: job.Notifier{Metadata: o.Metadata, Spec: o.Notifier, CreatedAt: p.now, UpdatedAt: p.now}}
	ch.SameAs(name, store.Revision(kv))
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.store(name, value)
		return ch, err
	}
	_, err := edit(&ch, kv, &next, func(old *etcdkv.StoredNotifier) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	})
	return ch, err
}
