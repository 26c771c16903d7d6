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
	"github.com/carillon-cron/carillon/job"
)

// readCalendars reads the calendars that the objects are, or name.
func (p *planner) readCalendars(ctx context.Context, objects []manifest.Object) error {
	p.calendars = map[job.Key]*mvccpb.KeyValue{}
	var keys []job.Key
	add := func(k job.Key) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for i := range objects {
		if objects[i].Kind == job.KindCalendar {
			add(objects[i].Metadata.Key())
		}
		_, named := calendarsOf(&objects[i])
		for _, k := range named {
			add(k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = p.c.db.Keys.Calendar(k)
	}
	kvs, err := p.c.db.GetAll(ctx, "read calendars", names)
	for i := range kvs {
		p.calendars[keys[i]] = kvs[i]
	}
	return err
}

// calendarsOf are the calendars that an object names, and the field in which it does.
func calendarsOf(o *manifest.Object) (string, []job.Key) {
	if o.Kind == job.KindNotifier {
		return "spec.quiet", o.Notifier.QuietKeys(o.Metadata.Namespace)
	}
	return "spec.calendars", o.Spec.CalendarKeys(o.Metadata.Namespace)
}

// calendar works out what applying a calendar changes.
func (p *planner) calendar(o *manifest.Object) (change, error) {
	key := o.Metadata.Key()
	name, kv := p.c.db.Keys.Calendar(key), p.calendars[key]
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionCreated}}
	next := etcdkv.StoredCalendar{Schema: etcdkv.Schema, Calendar: job.Calendar{Metadata: o.Metadata, Spec: o.Calendar, CreatedAt: p.now, UpdatedAt: p.now}}
	edits := p.c.db.Keys.CalendarEdits()
	ch.SameAs(name, store.Revision(kv))
	if kv == nil {
		value, err := etcdkv.Encode(next)
		ch.store(name, value)
		ch.Do(edits, p.c.db.Edited(edits))
		return ch, err
	}
	edited, err := edit(&ch, kv, &next, func(old *etcdkv.StoredCalendar) (bool, error) {
		next.CreatedAt, next.Schema = old.CreatedAt, max(old.Schema, next.Schema)
		return sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	})
	if edited {
		ch.Do(edits, p.c.db.Edited(edits))
		ch.rescheduled, ch.everywhere, ch.at = true, true, p.now
	}
	return ch, err
}

// checkCalendars tells which jobs name calendars that there are not.
func (p *planner) checkCalendars(objects []manifest.Object) []job.Problem {
	var problems []job.Problem
	inFile := map[job.Key]bool{}
	var known []string
	for i := range objects {
		if objects[i].Kind == job.KindCalendar {
			inFile[objects[i].Metadata.Key()] = true
			known = append(known, objects[i].Metadata.Name)
		}
	}
	for i := range objects {
		o := &objects[i]
		field, named := calendarsOf(o)
		for n, k := range named {
			if inFile[k] || p.calendars[k] != nil {
				continue
			}
			pr := o.Problem(fmt.Sprintf("%s[%d]", field, n), fmt.Sprintf("there is no calendar %q in namespace %q", k.Name, k.Namespace))
			if near, ok := job.Nearest(k.Name, known); ok {
				pr.Message += fmt.Sprintf("; did you mean %q?", near)
			} else {
				pr.Message += "; apply one (kind: Calendar), in this file or before it"
			}
			problems = append(problems, pr)
		}
	}
	return problems
}
