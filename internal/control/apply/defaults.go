package apply

import (
	"context"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// readDefaults reads the defaults of the namespaces of the objects.
func (p *planner) readDefaults(ctx context.Context, objects []manifest.Object) error {
	p.defaults = map[string]*mvccpb.KeyValue{}
	var spaces, names []string
	for i := range objects {
		ns := objects[i].Metadata.Namespace
		if _, known := p.defaults[ns]; known || objects[i].Kind != job.KindJob && objects[i].Kind != job.KindDefaults {
			continue
		}
		p.defaults[ns] = nil
		spaces, names = append(spaces, ns), append(names, p.c.db.Keys.DefaultsOf(ns))
	}
	if len(names) == 0 {
		return nil
	}
	kvs, err := p.c.db.GetAll(ctx, "read defaults", names)
	for i := range kvs {
		p.defaults[spaces[i]] = kvs[i]
	}
	return err
}

// fill gives jobs the defaults of their namespaces: those of the objects, or else those that
// are stored. What was read of them is compared when the jobs are written (usesDefaults).
func (p *planner) fill(objects []manifest.Object) ([]job.Problem, error) {
	p.filled = map[int][]string{}
	of := map[string]*job.DefaultsSpec{}
	for ns, kv := range p.defaults {
		if kv == nil {
			continue
		}
		stored, err := store.Decode[etcdkv.StoredDefaults](kv)
		if err != nil {
			return nil, err
		}
		of[ns] = &stored.Spec
	}
	p.givenDefaults = map[string]bool{}
	for i := range objects {
		if objects[i].Kind == job.KindDefaults {
			of[objects[i].Metadata.Namespace] = &objects[i].Defaults
			p.givenDefaults[objects[i].Metadata.Namespace] = true
		}
	}
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if d := of[o.Metadata.Namespace]; d != nil && o.Kind == job.KindJob && p.purpose == applying {
			told, wrong := manifest.Fill(o, d)
			p.filled[i] = told
			problems = append(problems, wrong...)
		}
	}
	return problems, nil
}

// usesDefaults has the write of a job fail when the defaults are not as they were read.
// Ones that were made meanwhile come after it.
func (p *planner) usesDefaults(ch *change, o *manifest.Object) {
	ns := o.Metadata.Namespace
	if kv := p.defaults[ns]; kv != nil && p.purpose == applying && !p.givenDefaults[ns] && ch.result.Action != api.ActionUnchanged {
		ch.SameAs(p.c.db.Keys.DefaultsOf(ns), kv.ModRevision)
	}
}

// defaultsObject works out what applying defaults changes.
func (p *planner) defaultsObject(o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name, kv := p.c.db.Keys.DefaultsOf(key.Namespace), p.defaults[key.Namespace]
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredDefaults{Schema: etcdkv.Schema, Defaults: job.Defaults{Metadata: o.Metadata, Spec: o.Defaults, CreatedAt: p.now, UpdatedAt: p.now}}
	ch.SameAs(name, store.Revision(kv))
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.store(name, value)
		return ch, err
	}
	_, err := edit(&ch, kv, &next, func(old *etcdkv.StoredDefaults) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	})
	return ch, err
}
