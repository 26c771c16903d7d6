package apply

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// queue works out what applying a queue changes. How it is held back stays as it is.
func (p *planner) queue(ctx context.Context, o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name := p.c.db.Keys.QueueType(key)
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: job.Queue{Metadata: o.Metadata, Spec: o.Queue, Generation: 1, CreatedAt: p.now, UpdatedAt: p.now}, AppliedBy: p.author(ctx)}
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
	edited, err := edit(&ch, kv, &next, func(old *etcdkv.StoredQueue) (bool, error) {
		next.UID, next.Generation, next.CreatedAt, next.Hold = old.UID, old.Generation+1, old.CreatedAt, old.Hold
		next.Schema = max(old.Schema, next.Schema)
		same, err := sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
		return same && old.Bounds.Same(next.Bounds) && vouched(old.AppliedBy, next.AppliedBy), err
	})
	if !edited {
		ch.result.Warnings = nil
	}
	return ch, err
}

// readQueues reads the queues to which jobs of the objects are dispatched.
func (p *planner) readQueues(ctx context.Context, objects []manifest.Object) error {
	p.queues = map[job.Key]*mvccpb.KeyValue{}
	var keys []job.Key
	var names []string
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob || o.Spec.Dispatch == nil {
			continue
		}
		key := job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Dispatch.Queue}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
			names = append(names, p.c.db.Keys.QueueType(key))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	kvs, err := p.c.db.GetAll(ctx, "read queues", names)
	for i := range kvs {
		p.queues[keys[i]] = kvs[i]
	}
	return err
}

// queueLabels are the labels of a stored queue; nil: it is not stored yet.
func (p *planner) queueLabels(key job.Key) map[string]string {
	kv := p.queues[key]
	if kv == nil {
		return nil
	}
	s, err := store.Decode[etcdkv.StoredQueue](kv)
	if err != nil {
		return nil // told when it is checked
	}
	return s.Labels
}

// checkDispatch tells which jobs are dispatched to queues that there are not, or that do not
// take what the jobs put into them.
func (p *planner) checkDispatch(ctx context.Context, objects []manifest.Object, changes []change) ([]job.Problem, error) {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob || o.Spec.Dispatch == nil {
			continue
		}
		key := job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Dispatch.Queue}
		q, err := p.queueOf(objects, key)
		if err != nil {
			return nil, err
		}
		if q == nil {
			problem, err := p.noQueue(ctx, o, objects)
			if err != nil {
				return nil, err
			}
			problems = append(problems, problem)
			continue
		}
		text, known, err := itemOf(&o.Spec, key.Namespace)
		switch {
		case err != nil:
			problems = append(problems, o.Problem("spec.params", err.Error()))
			continue
		case !known:
			continue
		}
		wrong := queues.AllUnfit(&q.Spec, text)
		if len(wrong) == 0 && p.looksAtTakers(&changes[i]) {
			takers, err := p.takers(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, text := range takers.Refuses(text) {
				wrong = append(wrong, text+" (no worker of the queue takes it)")
			}
		}
		for _, text := range wrong {
			problems = append(problems, o.Problem("spec.params", fmt.Sprintf("make a payload that queue %s does not take: %s", key, text)))
		}
	}
	return problems, nil
}

// queueOf is the queue of the file, or else the stored one; nil: there is none.
func (p *planner) queueOf(objects []manifest.Object, key job.Key) (*job.Queue, error) {
	for i := range objects {
		if o := &objects[i]; o.Kind == job.KindQueue && o.Metadata.Key() == key {
			return &job.Queue{Metadata: o.Metadata, Spec: o.Queue}, nil
		}
	}
	kv := p.queues[key]
	if kv == nil {
		return nil, nil
	}
	s, err := store.Decode[etcdkv.StoredQueue](kv)
	return &s.Queue, err
}

// itemOf returns the payload of a job's occurrences; false: it depends on the parameters
// with which a run is started, or something is wrong with them, which is told elsewhere.
func itemOf(s *job.Spec, namespace string) (string, bool, error) {
	automatic := len(s.Schedules) > 0 || s.After != nil || s.Watch != nil
	if !automatic && (len(s.Params) == 0 || slices.ContainsFunc(s.Params, func(d job.Param) bool { return d.Default == "" })) {
		return "", false, nil
	}
	plan, problems := s.Plan(namespace, nil, func(job.ScriptRef) (*job.SavedScript, bool) { return nil, false })
	if len(problems) > 0 {
		return "", false, nil
	}
	text, err := s.ItemPayload(plan.Params)
	return text, true, err
}

// noQueue tells that a job is dispatched to a queue that there is not.
func (p *planner) noQueue(ctx context.Context, o *manifest.Object, objects []manifest.Object) (job.Problem, error) {
	ns := o.Metadata.Namespace
	all, err := store.ListAll[etcdkv.StoredQueue](ctx, p.c.db, "list queues", p.c.db.Keys.QueueTypes()+ns+"/")
	if err != nil {
		return job.Problem{}, err
	}
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return job.Problem{}, err
	}
	var names []string
	for i := range all {
		if s.May(rights.Request{Verb: rights.Read, Kind: rights.Queues, Namespace: ns, Labels: all[i].Labels}) {
			names = append(names, all[i].Name)
		}
	}
	for i := range objects {
		if objects[i].Kind == job.KindQueue && objects[i].Metadata.Namespace == ns {
			names = append(names, objects[i].Metadata.Name)
		}
	}
	problem := o.Problem("spec.dispatch.queue", fmt.Sprintf("there is no queue %q in namespace %q", o.Spec.Dispatch.Queue, ns))
	if near, ok := job.Nearest(o.Spec.Dispatch.Queue, names); ok {
		problem.Message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		problem.Message += "; apply one (kind: Queue), in this file or before it"
	}
	return problem, nil
}

// queued demands that the queue of a job is still there, unless it is in the same file.
func (p *planner) queued(ch *change, o *manifest.Object) {
	if o.Spec.Dispatch == nil || ch.result.Action == api.ActionUnchanged {
		return
	}
	if kv := p.queues[job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Dispatch.Queue}]; kv != nil {
		ch.StillThere(string(kv.Key), kv.CreateRevision)
	}
}
