package guarded

import (
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// kindOf is the kind of thing that a manifest is of.
func kindOf(kind string) rights.Kind {
	switch kind {
	case job.KindGroup:
		return rights.Groups
	case job.KindHostGroup:
		return rights.HostGroups
	case job.KindCalendar:
		return rights.Calendars
	case job.KindScript:
		return rights.Scripts
	case job.KindQueue:
		return rights.Queues
	case job.KindSecret:
		return rights.Secrets
	case job.KindNotifier:
		return rights.Notifiers
	case job.KindDefaults:
		return rights.Defaults
	case job.KindRole, job.KindRoleBinding:
		return rights.Roles
	default:
		return rights.Jobs
	}
}

// Apply makes the cluster hold what a manifest says. It wants the right to edit each of
// its things, as it is and as it is to be, and to read what jobs name; of roles and
// bindings that to grant, and nobody grants more than they hold (see control/apply). Of a
// file that takes several transactions, what is left is not applied for who loses the
// right meanwhile.
func (c *Control) Apply(ctx context.Context, file string, data []byte, dryRun bool) ([]api.ApplyResult, error) {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return nil, err
	}
	if s.Everything() {
		return c.behind.Apply(ctx, file, data, dryRun)
	}
	if err := changesAnything(s); err != nil {
		return nil, err
	}
	objects, err := c.behind.Objects(file, data)
	if err != nil {
		return nil, err
	}
	if err := c.needObjects(ctx, objects, 0, len(objects)); err != nil {
		return nil, err
	}
	return c.behind.ApplyWhile(ctx, file, data, dryRun, func(from, to int) error {
		if err := c.behind.Still(ctx); err != nil {
			return err
		}
		return c.needObjects(ctx, objects, from, to)
	})
}

// needObjects decides about some objects of a manifest, by what the caller may now.
func (c *Control) needObjects(ctx context.Context, objects []manifest.Object, from, to int) error {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if err := c.needObject(ctx, &objects[i]); err != nil {
			return err
		}
		if err := c.needEverywhere(ctx, &objects[i]); err != nil {
			return err
		}
		if err := c.needNamed(ctx, s, objects, &objects[i]); err != nil {
			return err
		}
	}
	return nil
}

// changesAnything returns nil if there may be anything that the caller may change. Whoever
// may not has no manifest read: a large one takes seconds.
func changesAnything(s policy.Sight) error {
	for _, k := range rights.Kinds() {
		if s.Sees(rights.Edit, k, "") || s.Sees(rights.Grant, k, "") {
			return nil
		}
	}
	// What is in the manifest is not known, so no kind is named as the one that is missing.
	return s.Refused(rights.Request{Verb: rights.Edit, Kind: rights.Jobs},
		fmt.Errorf("you may not edit anything; ask for a role that allows edit on the kinds in the file, such as jobs, queues or notifiers: %w", job.ErrForbidden))
}

// needObject decides about an object of a manifest.
func (c *Control) needObject(ctx context.Context, o *manifest.Object) error {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return err
	}
	r := rights.Request{Verb: rights.Edit, Kind: kindOf(o.Kind), Labels: o.Metadata.Labels}
	if r.Kind == rights.Roles {
		r.Verb, r.Labels = rights.Grant, nil
	}
	if r.Kind.Namespaced() {
		r.Namespace = o.Metadata.Namespace
	}
	// The name of a thing that one may not see is no secret to who writes it down, and
	// the answer is the same whether there is such a thing or not.
	need := policy.Sight.Need
	if r.Kind == rights.Jobs || r.Kind == rights.Scripts || r.Kind == rights.Queues { // what it may start is decided where it is written
		need = mayStart
	}
	if err := need(s, r, nil); err != nil {
		return err
	}
	r.Labels = nil
	if s.May(r) {
		return nil
	}
	old, err := c.labelsOf(r.Kind, o.Metadata.Key())(ctx)
	if err != nil {
		return gone(err) // a new one
	}
	r.Labels = old
	return need(s, r, nil)
}

// labelsOf finds the labels of a thing.
func (c *Control) labelsOf(k rights.Kind, key job.Key) labels {
	switch k {
	case rights.Jobs:
		return c.jobLabels(key)
	case rights.Groups:
		return func(ctx context.Context) (map[string]string, error) {
			g, err := c.behind.Group(ctx, key)
			return g.Labels, err
		}
	case rights.Calendars:
		return listed(func(ctx context.Context) ([]job.Calendar, error) { return c.behind.Calendars(ctx, key.Namespace) },
			func(v *job.Calendar) bool { return v.Key() == key }, func(v *job.Calendar) map[string]string { return v.Labels })
	case rights.Scripts:
		return listed(func(ctx context.Context) ([]job.SavedScript, error) { return c.behind.Scripts(ctx, key.Namespace) },
			func(v *job.SavedScript) bool { return v.Key() == key }, func(v *job.SavedScript) map[string]string { return v.Labels })
	case rights.Queues:
		return func(ctx context.Context) (map[string]string, error) {
			q, err := c.behind.Queue(ctx, key)
			return q.Labels, err
		}
	case rights.Secrets:
		return func(ctx context.Context) (map[string]string, error) {
			v, err := c.behind.Secret(ctx, key)
			return v.Labels, err
		}
	case rights.Notifiers:
		return func(ctx context.Context) (map[string]string, error) {
			v, err := c.behind.Notifier(ctx, key)
			return v.Labels, err
		}
	case rights.Defaults:
		return listed(func(ctx context.Context) ([]job.Defaults, error) { return c.behind.Defaults(ctx, key.Namespace) },
			func(v *job.Defaults) bool { return v.Key() == key }, func(v *job.Defaults) map[string]string { return v.Labels })
	case rights.HostGroups:
		return listed(c.behind.HostGroups, func(v *job.HostGroup) bool { return v.Name == key.Name }, func(v *job.HostGroup) map[string]string { return v.Labels })
	default:
		return none
	}
}

func (c *Control) needGroup(ctx context.Context, v rights.Verb, key job.Key) error {
	return c.need(ctx, v, rights.Groups, key.Namespace, c.labelsOf(rights.Groups, key), hidden("group", key))
}

// Groups lists the groups that the caller may read.
func (c *Control) Groups(ctx context.Context, namespace string) ([]api.Group, error) {
	all, err := c.behind.Groups(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Groups, all, func(g *api.Group) (string, map[string]string) { return g.Namespace, g.Labels })
}

// Group shows a group.
func (c *Control) Group(ctx context.Context, key job.Key) (api.Group, error) {
	if err := c.needGroup(ctx, rights.Read, key); err != nil {
		return api.Group{}, err
	}
	return c.behind.Group(ctx, key)
}

// DeleteGroup deletes a group.
func (c *Control) DeleteGroup(ctx context.Context, key job.Key) error {
	if err := c.needGroup(ctx, rights.Delete, key); err != nil {
		return err
	}
	return c.behind.DeleteGroup(ctx, key)
}

// Calendars lists the calendars that the caller may read.
func (c *Control) Calendars(ctx context.Context, namespace string) ([]job.Calendar, error) {
	all, err := c.behind.Calendars(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Calendars, all, func(v *job.Calendar) (string, map[string]string) { return v.Namespace, v.Labels })
}

// DeleteCalendar deletes a calendar.
func (c *Control) DeleteCalendar(ctx context.Context, key job.Key) error {
	if err := c.need(ctx, rights.Delete, rights.Calendars, key.Namespace, c.labelsOf(rights.Calendars, key), hidden("calendar", key)); err != nil {
		return err
	}
	return c.used(ctx, c.behind.DeleteCalendar(ctx, key))
}

// Scripts lists the scripts that the caller may read.
func (c *Control) Scripts(ctx context.Context, namespace string) ([]job.SavedScript, error) {
	all, err := c.behind.Scripts(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Scripts, all, func(v *job.SavedScript) (string, map[string]string) { return v.Namespace, v.Labels })
}

// Script shows a script, with those of the jobs that name it which the caller may read.
func (c *Control) Script(ctx context.Context, ref job.ScriptRef) (api.ScriptDetail, error) {
	if err := c.need(ctx, rights.Read, rights.Scripts, ref.Key.Namespace, c.labelsOf(rights.Scripts, ref.Key), hidden("script", ref.Key)); err != nil {
		return api.ScriptDetail{}, err
	}
	v, err := c.behind.Script(ctx, ref)
	if err != nil {
		return v, err
	}
	l := c.labelsOfJobs(ctx)
	v.Jobs, err = shown(ctx, c, rights.Jobs, v.Jobs, func(u *api.ScriptUser) (string, map[string]string) { return u.Job.Namespace, l(u.Job) })
	return v, err
}

// DeleteScript deletes a script.
func (c *Control) DeleteScript(ctx context.Context, key job.Key) error {
	if err := c.need(ctx, rights.Delete, rights.Scripts, key.Namespace, c.labelsOf(rights.Scripts, key), hidden("script", key)); err != nil {
		return err
	}
	return c.used(ctx, c.behind.DeleteScript(ctx, key))
}

// Roles lists roles.
func (c *Control) Roles(ctx context.Context) ([]api.Role, error) {
	if err := c.whole(ctx, rights.Read, rights.Roles); err != nil {
		return nil, err
	}
	return c.behind.Roles(ctx)
}

// RoleBindings lists who has which role.
func (c *Control) RoleBindings(ctx context.Context) ([]job.RoleBinding, error) {
	if err := c.whole(ctx, rights.Read, rights.Roles); err != nil {
		return nil, err
	}
	return c.behind.RoleBindings(ctx)
}

// DeleteRole deletes a role.
func (c *Control) DeleteRole(ctx context.Context, name string) error {
	if err := c.whole(ctx, rights.Grant, rights.Roles); err != nil {
		return err
	}
	return c.behind.DeleteRole(ctx, name)
}

// DeleteRoleBinding takes a role away.
func (c *Control) DeleteRoleBinding(ctx context.Context, name string) error {
	if err := c.whole(ctx, rights.Grant, rights.Roles); err != nil {
		return err
	}
	return c.behind.DeleteRoleBinding(ctx, name)
}
