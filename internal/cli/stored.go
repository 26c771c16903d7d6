package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// clusterWide reports whether objects of a kind lie in no namespace.
func clusterWide(kind string) bool {
	switch kind {
	case job.KindHostGroup, job.KindRole, job.KindRoleBinding:
		return true
	}
	return false
}

// thingOf returns what a document or a result is about. What lies in no namespace has
// none, whatever stands there.
func thingOf(kind, namespace, name string) thing {
	if clusterWide(kind) {
		namespace = ""
	}
	return thing{kind, job.Key{Namespace: namespace, Name: name}}
}

// objectOf makes an object of what the API returned.
func objectOf(kind string, m job.Metadata) manifest.Object {
	if clusterWide(kind) {
		m = wholeCluster(m)
	}
	return manifest.Object{Kind: kind, Metadata: m}
}

func jobObject(v *api.Job) manifest.Object {
	o := objectOf(job.KindJob, v.Metadata)
	o.Spec = v.Spec
	return o
}

func groupObject(v *api.Group) manifest.Object {
	o := objectOf(job.KindGroup, v.Metadata)
	o.Group = v.Spec
	return o
}

func hostGroupObject(v *job.HostGroup) manifest.Object {
	o := objectOf(job.KindHostGroup, v.Metadata)
	o.HostGroup = v.Spec
	return o
}

func calendarObject(v *job.Calendar) manifest.Object {
	o := objectOf(job.KindCalendar, v.Metadata)
	o.Calendar = v.Spec
	return o
}

func queueObject(v *api.Queue) manifest.Object {
	o := objectOf(job.KindQueue, v.Metadata)
	o.Queue = v.Spec
	return o
}

func scriptObject(v *job.SavedScript) manifest.Object {
	o := objectOf(job.KindScript, v.Metadata)
	o.Script = v.Spec
	return o
}

func roleObject(v *api.Role) manifest.Object {
	o := objectOf(job.KindRole, v.Metadata)
	o.Role = v.Spec
	return o
}

func bindingObject(v *job.RoleBinding) manifest.Object {
	o := objectOf(job.KindRoleBinding, v.Metadata)
	o.RoleBinding = v.Spec
	return o
}

func secretObject(v *job.Secret) manifest.Object {
	o := objectOf(job.KindSecret, v.Metadata)
	o.Secret = v.Spec
	return o
}

func notifierObject(v *api.Notifier) manifest.Object {
	o := objectOf(job.KindNotifier, v.Metadata)
	o.Notifier = v.Spec
	return o
}

func defaultsObject(v *job.Defaults) manifest.Object {
	o := objectOf(job.KindDefaults, v.Metadata)
	o.Defaults = v.Spec
	return o
}

// objects makes objects of a list that the API returned.
func objects[T any](all []T, err error, object func(*T) manifest.Object) ([]manifest.Object, error) {
	if err != nil {
		return nil, err
	}
	made := make([]manifest.Object, len(all))
	for i := range all {
		made[i] = object(&all[i])
	}
	return made, nil
}

// stored returns what the cluster has of a kind that a file could hold: in a namespace, or
// in all when that is empty. What lies in no namespace is in each. It is sorted by name.
func (mf manifestVerbs) stored(ctx context.Context, kind, namespace string) (all []manifest.Object, err error) {
	defer func() {
		slices.SortFunc(all, func(x, y manifest.Object) int {
			return strings.Compare(x.Metadata.Key().String(), y.Metadata.Key().String())
		})
	}()
	switch kind {
	case job.KindJob:
		list, err := mf.client.Jobs.List(ctx, api.JobQuery{Namespace: namespace})
		return objects(list, err, jobObject)
	case job.KindGroup:
		list, err := mf.client.Groups.List(ctx, namespace)
		return objects(list, err, groupObject)
	case job.KindHostGroup:
		list, err := mf.client.HostGroups.List(ctx)
		return objects(list, err, hostGroupObject)
	case job.KindCalendar:
		list, err := mf.client.Calendars.List(ctx, namespace)
		return objects(list, err, calendarObject)
	case job.KindQueue:
		list, err := mf.client.Queues.List(ctx, namespace)
		return objects(list, err, queueObject)
	case job.KindScript:
		list, err := mf.client.Scripts.List(ctx, namespace)
		return objects(list, err, scriptObject)
	case job.KindSecret:
		list, err := mf.client.Secrets.List(ctx, namespace)
		return objects(list, err, secretObject)
	case job.KindNotifier:
		list, err := mf.client.Notifiers.List(ctx, namespace)
		return objects(list, err, notifierObject)
	case job.KindDefaults:
		list, err := mf.client.Defaults.List(ctx, namespace)
		return objects(list, err, defaultsObject)
	case job.KindRole:
		list, err := mf.client.Roles.List(ctx)
		return objects(slices.DeleteFunc(list, func(r api.Role) bool { return r.BuiltIn }), err, roleObject)
	case job.KindRoleBinding:
		list, err := mf.client.Bindings.List(ctx)
		return objects(list, err, bindingObject)
	}
	return nil, fmt.Errorf("this program cannot read what is stored of the kind %s", kind)
}

// storedOne returns one object as it is stored. One that is not there, or is not shown to
// the caller, is a job.ErrNotFound.
func (mf manifestVerbs) storedOne(ctx context.Context, t thing) (manifest.Object, error) {
	switch t.kind {
	case job.KindJob:
		v, err := mf.client.Jobs.Get(ctx, t.key)
		return jobObject(&v), err
	case job.KindGroup:
		v, err := mf.client.Groups.Get(ctx, t.key)
		return groupObject(&v), err
	case job.KindQueue:
		v, err := mf.client.Queues.Get(ctx, t.key)
		return queueObject(&v), err
	case job.KindScript:
		v, err := mf.client.Scripts.Get(ctx, job.ScriptRef{Key: t.key})
		return scriptObject(&v.SavedScript), err
	case job.KindNotifier:
		v, err := mf.client.Notifiers.Get(ctx, t.key)
		return notifierObject(&v.Notifier), err
	case job.KindSecret:
		v, err := mf.client.Secrets.Get(ctx, t.key)
		return secretObject(&v.Secret), err
	}
	all, err := mf.stored(ctx, t.kind, t.key.Namespace)
	if err != nil {
		return manifest.Object{}, err
	}
	i := slices.IndexFunc(all, func(o manifest.Object) bool { return o.Metadata.Name == t.key.Name })
	if i < 0 {
		return manifest.Object{}, fmt.Errorf("%s: %w", t, job.ErrNotFound)
	}
	return all[i], nil
}

// storedText is one object as a file that describes it; empty: it is not there.
func (mf manifestVerbs) storedText(ctx context.Context, t thing) ([]byte, error) {
	o, err := mf.storedOne(ctx, t)
	switch {
	case errors.Is(err, job.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	return encoded(&o)
}

// encoded writes an object as it is stored: fields in their order, short forms written out.
func encoded(o *manifest.Object) ([]byte, error) {
	plain := *o
	if clusterWide(o.Kind) {
		plain.Metadata = wholeCluster(o.Metadata)
	}
	return manifest.Encode(plain)
}
