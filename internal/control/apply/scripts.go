package apply

import (
	"context"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// readScripts reads the scripts that the objects are, or name.
func (p *planner) readScripts(ctx context.Context, objects []manifest.Object) (err error) {
	var refs []job.ScriptRef
	for i := range objects {
		if objects[i].Kind == job.KindScript {
			refs = append(refs, job.ScriptRef{Key: objects[i].Metadata.Key()})
		}
		refs = append(refs, objects[i].Spec.ScriptRefs(objects[i].Metadata.Namespace)...)
	}
	p.named = refs
	p.scripts, err = p.c.definitions.IndexScripts(ctx, refs)
	return err
}

// script works out what applying a script changes: a new version, unless it says
// what the newest one says.
func (p *planner) script(ctx context.Context, o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	head := p.scripts.Heads[key]
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	ch.SameAs(p.c.db.Keys.ScriptHead(key), store.Revision(head))
	next := job.SavedScript{Metadata: o.Metadata, Spec: o.Script, Version: 1, SHA256: job.ScriptSum(o.Script.Source), CreatedAt: p.now}
	old, ok := p.scripts.Find(job.ScriptRef{Key: key})
	var was job.Bounds
	if ok {
		was = old.Bounds
	}
	var err error
	if next.Bounds, err = p.scriptBounds(ctx, o, &next, was); err != nil {
		return change{}, err
	}
	if ok {
		same, err := sameScript(old, &next)
		if err != nil {
			return change{}, err
		}
		if same && was.Same(next.Bounds) {
			ch.result.Action = api.ActionUnchanged
			return ch, nil
		}
		next.Version, ch.result.Action = old.Version+1, api.ActionUpdated
		was, err := etcdkv.Encode(old)
		if err != nil {
			return change{}, err
		}
		ch.before = []byte(was)
		if err := p.forgetOld(ctx, &ch.Txn, key, next.Version); err != nil {
			return change{}, err
		}
	}
	p.scripts.Place(&next, true)
	text := next.Spec.Source
	stored := etcdkv.StoredScript{Schema: etcdkv.Schema, SavedScript: next}
	if len(text) > job.SmallScript {
		stored.Spec.Source = ""
	}
	value, err := etcdkv.Encode(stored)
	if err != nil {
		return change{}, err
	}
	first, err := etcdkv.Encode(etcdkv.ScriptHead{Schema: etcdkv.Schema, Key: key, Version: next.Version})
	ch.Put(p.c.db.Keys.ScriptHead(key), first)
	ch.Put(p.c.db.Keys.Blob(next.SHA256), text)
	ch.store(p.c.db.Keys.ScriptVersion(key, next.Version), value)
	ch.size += len(text)
	return ch, err
}

// sameScript reports whether two versions say the same.
func sameScript(a, b *job.SavedScript) (bool, error) {
	type written struct {
		Metadata job.Metadata
		Spec     job.ScriptSpec
		SHA256   string
	}
	x, y := written{a.Metadata, a.Spec, a.SHA256}, written{b.Metadata, b.Spec, b.SHA256}
	x.Spec.Source, y.Spec.Source = "", "" // the hashes tell
	return store.SameJSON(x, y)
}

// forgetOld removes the versions of a script that are too many, unless a job
// or an object names them.
func (p *planner) forgetOld(ctx context.Context, d *store.Txn, key job.Key, newest int) error {
	if newest <= job.KeptVersions {
		return nil
	}
	all, err := store.ListAll[etcdkv.StoredScript](ctx, p.c.db, "list versions", p.c.db.Keys.Script(key))
	if err != nil || len(all) < job.KeptVersions {
		return err
	}
	users, err := p.c.definitions.ScriptUsers(ctx, key)
	if err != nil {
		return err
	}
	users.Same(d)
	const most = 16 // the next change removes more
	for i := 0; i < min(len(all)-job.KeptVersions+1, most); i++ {
		version := all[i].Version
		if !slices.Contains(p.named, job.ScriptRef{Key: key, Version: version}) && !slices.ContainsFunc(users.All, func(u definitions.ScriptUse) bool { return u.Version == version }) {
			d.Remove(p.c.db.Keys.ScriptVersion(key, version))
		}
	}
	return nil
}

// checkSteps tells what is wrong with the steps of the jobs. The scripts of the
// file are planned by then.
func (p *planner) checkSteps(objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob {
			continue
		}
		for _, pr := range o.Spec.CheckSteps(o.Metadata.Namespace, p.scripts.Find) {
			problems = append(problems, o.Problem(pr.Path, pr.Message))
		}
	}
	return problems
}

// scripted adds to the change of a job what its scripts need: that those of the
// library are there still, and the text of its own where the nodes find it.
func (p *planner) scripted(ch *change, o *manifest.Object) {
	if ch.result.Action == api.ActionUnchanged {
		return
	}
	p.scripts.Use(&ch.Txn, p.c.db.Keys, o.Spec.ScriptRefs(o.Metadata.Namespace))
	if text := definitions.LargeText(o.Spec.Script); text != "" {
		ch.Put(p.c.db.Keys.Blob(job.ScriptSum(text)), text)
	}
}
