package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// readHosts reads the saved groups of hosts if an object is one, or names one,
// and puts those of the file in their place.
func (p *planner) readHosts(ctx context.Context, objects []manifest.Object) error {
	needed := false
	for i := range objects {
		o := &objects[i]
		e := targetOf(o)
		if canary := canaryOf(o); canary != nil {
			needed = needed || len(canary.Groups()) > 0
		}
		needed = needed || o.Kind == job.KindHostGroup || e != nil && len(e.Groups()) > 0
	}
	p.hosts = &minions.HostGroups{}
	if !needed {
		return nil
	}
	var err error
	if p.hosts, err = p.c.minions.HostExpressions(ctx); err != nil {
		return err
	}
	for i := range objects {
		if o := &objects[i]; o.Kind == job.KindHostGroup {
			p.hosts.Groups[o.Metadata.Name] = targetOf(o)
		}
	}
	return nil
}

// targetOf returns an object's target expression, nil if it has none.
func targetOf(o *manifest.Object) *target.Expr {
	text := o.Spec.Target.Match
	switch o.Kind {
	case job.KindHostGroup:
		text = o.HostGroup.Match
	case job.KindQueue:
		text = o.Queue.Target.Match
	}
	e, err := target.Parse(text)
	if err != nil {
		return nil // none, or refused when the file was read
	}
	return e
}

// canaryOf returns the target expression of a job's canaries, nil if it has none.
func canaryOf(o *manifest.Object) *target.Expr {
	e, err := target.Parse(o.Spec.Rollout.Canary)
	if err != nil {
		return nil // none, or refused when the file was read
	}
	return e
}

// checkTargets tells which objects name groups of hosts that there are not, or
// that are parts of themselves.
func (p *planner) checkTargets(ctx context.Context, objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		check := func(path string, e *target.Expr) {
			if e != nil {
				problems = append(problems, p.checkBound(ctx, o, path, e)...)
			}
		}
		if o.Kind == job.KindHostGroup {
			check("spec.match", target.MustParse("@"+o.Metadata.Name)) // so that a cycle is told from the group itself
			continue
		}
		check("spec.target.match", targetOf(o))
		check("spec.rollout.canary", canaryOf(o))
	}
	return problems
}

// checkBound tells which groups of hosts an expression names that there are not.
func (p *planner) checkBound(ctx context.Context, o *manifest.Object, path string, e *target.Expr) []job.Problem {
	_, err := e.Bind(p.hosts.Groups)
	if err == nil {
		return nil
	}
	problem := o.Problem(path, err.Error())
	if unknown, ok := errors.AsType[*target.UnknownGroupError](err); ok {
		if near, ok := job.Nearest(unknown.Names[0], slices.Collect(p.hosts.Names())); ok && p.readsHostGroups(ctx) {
			problem.Message += fmt.Sprintf("; did you mean %q?", "@"+near)
		}
	}
	return []job.Problem{problem}
}

// readsHostGroups reports whether the caller may know of all groups of hosts.
func (p *planner) readsHostGroups(ctx context.Context) bool {
	s, err := p.c.rights.Of(ctx)
	return err == nil && s.May(rights.Request{Verb: rights.Read, Kind: rights.HostGroups})
}

// hostGroup works out what applying a group of hosts changes.
func (p *planner) hostGroup(o *manifest.Object) (change, error) {
	meta := o.Metadata
	name := p.c.db.Keys.HostGroup(meta.Name)
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: meta.Namespace, Name: meta.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredHostGroup{Schema: etcdkv.Schema, HostGroup: job.HostGroup{Metadata: meta, Spec: o.HostGroup, CreatedAt: p.now, UpdatedAt: p.now}}
	kv := p.hosts.Kvs[meta.Name]
	ch.SameAs(name, store.Revision(kv))
	ch.SameAs(p.c.db.Keys.HostGroupGuard(), p.hosts.Guard)
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.Put(p.c.db.Keys.HostGroupGuard(), meta.Name)
		ch.store(name, value)
		return ch, err
	}
	edited, err := edit(&ch, kv, &next, func(old *etcdkv.StoredHostGroup) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	})
	if edited {
		ch.Put(p.c.db.Keys.HostGroupGuard(), meta.Name)
	}
	return ch, err
}

// BadTargets tells what is wrong with the targets of objects that are not stored.
func (ap *Applier) BadTargets(ctx context.Context, objects []manifest.Object) ([]job.Problem, error) {
	p := planner{c: ap, now: ap.db.Now().UTC()}
	if err := p.readHosts(ctx, objects); err != nil {
		return nil, err
	}
	return p.checkTargets(ctx, objects), nil
}
