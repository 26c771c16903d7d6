package control

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Paused names what is paused or resumed. Namespace and Name are empty where the
// scope has none.
type Paused struct {
	Scope     etcdkv.Scope
	Namespace string
	Name      string
}

// String returns "job team/backup", "namespace team" or "all jobs".
func (p Paused) String() string {
	switch p.Scope {
	case etcdkv.ScopeAll:
		return "all jobs"
	case etcdkv.ScopeNamespace:
		return "namespace " + p.Namespace
	case etcdkv.ScopeJob, etcdkv.ScopeGroup:
	}
	return string(p.Scope) + " " + p.Namespace + "/" + p.Name
}

// check refuses names that cannot be, and jobs and groups that are not.
func (p Paused) check(ctx context.Context, c *Control) error {
	switch p.Scope {
	case etcdkv.ScopeAll:
		return nil
	case etcdkv.ScopeNamespace:
		if err := job.CheckName(p.Namespace); err != nil {
			return invalid("namespace", err.Error())
		}
		return nil
	case etcdkv.ScopeGroup:
		_, _, err := c.storedGroup(ctx, job.Key{Namespace: p.Namespace, Name: p.Name})
		return err
	case etcdkv.ScopeJob:
		_, _, err := c.stored(ctx, job.Key{Namespace: p.Namespace, Name: p.Name})
		return err
	}
	return invalid("scope", fmt.Sprintf("%q is unknown; want job, group, namespace or all", p.Scope))
}

// Pause has jobs not fire by themselves, from now until Resume, or until a given
// instant unless that is zero. Their occurrences are recorded as skipped; starts
// by hand go on.
func (c *Control) Pause(ctx context.Context, p Paused, until time.Time, o Order) error {
	if err := p.check(ctx, c); err != nil {
		return err
	}
	now := c.now().UTC()
	if !until.IsZero() && !until.After(now) {
		return invalid("until", fmt.Sprintf("%s is not in the future", until.UTC().Format(time.RFC3339)))
	}
	key := c.cfg.Keys.Pause(p.Scope, p.Namespace, p.Name)
	kv, err := c.get(ctx, "pause "+p.String(), key)
	if err != nil {
		return err
	}
	v := etcdkv.Pause{
		Schema: etcdkv.Schema, Scope: p.Scope, Namespace: p.Namespace, Name: p.Name, By: by(ctx, o.By), Reason: o.Reason, Since: now, Until: until.UTC(),
	}
	if kv != nil {
		old, err := decode[etcdkv.Pause](kv)
		if err != nil {
			return err
		}
		if old.Until.IsZero() || old.Until.After(now) {
			v.Since = old.Since // it goes on
		}
	}
	text, err := etcdkv.Encode(v)
	if err != nil {
		return err
	}
	return c.operate(ctx, string(p.Scope)+".pause", p.String(), o, key, kv, clientv3.OpPut(key, text))
}

// Resume ends a pause. What was due meanwhile is not run.
func (c *Control) Resume(ctx context.Context, p Paused, o Order) error {
	key := c.cfg.Keys.Pause(p.Scope, p.Namespace, p.Name)
	kv, err := c.get(ctx, "resume "+p.String(), key)
	if err != nil {
		return err
	}
	if kv == nil {
		if err := p.check(ctx, c); err != nil {
			return err
		}
		return fmt.Errorf("pause of %s: %w", p, job.ErrNotFound)
	}
	return c.operate(ctx, string(p.Scope)+".resume", p.String(), o, key, kv, clientv3.OpDelete(key))
}

// Pauses returns what is paused now.
func (c *Control) Pauses(ctx context.Context) ([]etcdkv.Pause, error) {
	all, err := listAll[etcdkv.Pause](ctx, c, "list pauses", c.cfg.Keys.Pauses())
	if err != nil {
		return nil, err
	}
	out := make([]etcdkv.Pause, 0, len(all))
	for i := range all {
		if all[i].Until.IsZero() || all[i].Until.After(c.now()) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// covers reports whether a pause holds for a job at an instant.
func covers(p *etcdkv.Pause, key job.Key, group string, at time.Time) bool {
	if at.Before(p.Since) || !p.Until.IsZero() && !at.Before(p.Until) {
		return false
	}
	switch p.Scope {
	case etcdkv.ScopeAll:
		return true
	case etcdkv.ScopeNamespace:
		return p.Namespace == key.Namespace
	case etcdkv.ScopeGroup:
		return group != "" && p.Namespace == key.Namespace && p.Name == group
	case etcdkv.ScopeJob:
		return p.Namespace == key.Namespace && p.Name == key.Name
	}
	return false
}
