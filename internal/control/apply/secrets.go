package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// envOf are the variables of an object; none: it has none.
func envOf(o *manifest.Object) map[string]job.EnvValue {
	switch o.Kind {
	case job.KindJob:
		return o.Spec.Env
	case job.KindQueue:
		return o.Queue.Env
	}
	return nil
}

// readSecrets reads the secrets that the objects are, or name.
func (p *planner) readSecrets(ctx context.Context, objects []manifest.Object) error {
	p.secrets, p.given = map[job.Key]*mvccpb.KeyValue{}, map[job.Key]bool{}
	wanted := map[job.Key]bool{}
	for i := range objects {
		o := &objects[i]
		if o.Kind == job.KindSecret {
			p.given[o.Metadata.Key()], wanted[o.Metadata.Key()] = true, true
		}
		for _, name := range job.SecretNames(envOf(o)) {
			wanted[job.Key{Namespace: o.Metadata.Namespace, Name: name}] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(wanted), job.Key.Compare)
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = p.c.db.Keys.JobSecret(k)
	}
	kvs, err := p.c.db.GetAll(ctx, "read secrets", names)
	if err != nil {
		return err
	}
	for i, k := range keys {
		p.secrets[k] = kvs[i]
	}
	return nil
}

// secret works out what applying a secret changes. Its version is that of the sealed text.
func (p *planner) secret(ctx context.Context, o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name, kv := p.c.db.Keys.JobSecret(key), p.secrets[key]
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredSecret{Schema: etcdkv.Schema, Secret: job.Secret{
		Metadata: o.Metadata, Spec: o.Secret, Version: 1, SHA256: job.ScriptSum(o.Secret.Sealed), CreatedAt: p.now, SealedAt: p.now, SealedBy: caller.Of(ctx, ""),
	}}
	ch.SameAs(name, store.Revision(kv))
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.store(name, value)
		return ch, err
	}
	_, err := edit(&ch, kv, &next, func(old *etcdkv.StoredSecret) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		if next.Version = old.Version + 1; next.SHA256 == old.SHA256 {
			next.Version, next.SealedAt, next.SealedBy = old.Version, old.SealedAt, old.SealedBy
		}
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	})
	return ch, err
}

// checkSecrets tells which secrets objects name that there are not.
func (p *planner) checkSecrets(objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		env := envOf(o)
		if n := p.sealedBytes(objects, o); n > job.MaxSealedInOrder {
			problems = append(problems, o.Problem("spec.env", fmt.Sprintf("names secrets that come to %d bytes, sealed; at most %d are allowed: seal them to fewer keys, or to one that hosts share", n, job.MaxSealedInOrder)))
		}
		for _, v := range slices.Sorted(maps.Keys(env)) {
			ref := env[v].Secret
			if ref == nil || ref.Name == "" {
				continue
			}
			if key := (job.Key{Namespace: o.Metadata.Namespace, Name: ref.Name}); p.secrets[key] == nil && !p.given[key] {
				problems = append(problems, o.Problem("spec.env."+v+".secret.name", fmt.Sprintf("there is no secret %q in namespace %q; make it first, by carillon secret create, or apply one (kind: %s), in this file or before it", ref.Name, key.Namespace, job.KindSecret)))
			}
		}
	}
	return problems
}

// sealedBytes is what the secrets that an object names come to.
func (p *planner) sealedBytes(objects []manifest.Object, o *manifest.Object) int {
	n := 0
	for _, ref := range envOf(o) {
		if ref.Secret == nil || ref.Secret.Name == "" {
			continue
		}
		key := job.Key{Namespace: o.Metadata.Namespace, Name: ref.Secret.Name}
		if i := slices.IndexFunc(objects, func(s manifest.Object) bool { return s.Kind == job.KindSecret && s.Metadata.Key() == key }); i >= 0 {
			n += len(objects[i].Secret.Sealed)
		} else if kv := p.secrets[key]; kv != nil {
			if stored, err := store.Decode[etcdkv.StoredSecret](kv); err == nil {
				n += len(stored.Spec.Sealed)
			}
		}
	}
	return n
}

// usesSecrets adds to the change of an object that the secrets it names are there still.
func (p *planner) usesSecrets(ch *change, o *manifest.Object) {
	if ch.result.Action == api.ActionUnchanged {
		return
	}
	for _, name := range job.SecretNames(envOf(o)) {
		key := job.Key{Namespace: o.Metadata.Namespace, Name: name}
		if kv := p.secrets[key]; kv != nil && !p.given[key] {
			ch.StillThere(p.c.db.Keys.JobSecret(key), kv.CreateRevision)
		}
	}
}
