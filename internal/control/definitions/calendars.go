package definitions

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Calendars returns the calendars of a namespace, or of all when it is empty,
// ordered by name.
func (lib *Set) Calendars(ctx context.Context, namespace string) ([]job.Calendar, error) {
	prefix := lib.db.Keys.Calendars()
	if namespace != "" {
		prefix += namespace + "/"
	}
	out, err := store.ListAs(ctx, lib.db, "list calendars", prefix, func(c *etcdkv.StoredCalendar) job.Calendar { return c.Calendar })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b job.Calendar) int { return a.Key().Compare(b.Key()) })
	return out, nil
}

// DeleteCalendar removes a calendar. One that a job or a notifier names is kept: the
// error wraps job.ErrConflict then.
func (lib *Set) DeleteCalendar(ctx context.Context, key job.Key) error {
	doing := "delete calendar " + key.String()
	kv, err := lib.db.Get(ctx, doing, lib.db.Keys.Calendar(key))
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("calendar %s: %w", key, job.ErrNotFound)
	}
	var users, tellers []job.Key
	err = lib.db.List(ctx, doing, lib.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err == nil && slices.Contains(stored.Spec.CalendarKeys(stored.Namespace), key) {
			users = append(users, stored.Key())
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = lib.db.List(ctx, doing, lib.db.Keys.Notifiers(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredNotifier](kv)
		if err == nil && slices.Contains(stored.Spec.QuietKeys(stored.Namespace), key) {
			tellers = append(tellers, stored.Key())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if used := (&UsedError{Thing: "calendar " + key.String(), By: users, Notifiers: tellers}); used.Users() > 0 {
		return used
	}
	var d store.Txn
	d.SameAs(lib.db.Keys.Calendar(key), kv.ModRevision)
	d.Remove(lib.db.Keys.Calendar(key))
	d.Do(lib.db.Keys.CalendarEdits(), lib.db.Edited(lib.db.Keys.CalendarEdits()))
	if err := lib.audit.AddDelete(ctx, &d, "calendar", key.String(), kv); err != nil {
		return err
	}
	ok, err := lib.db.Commit(ctx, doing, &d)
	if err == nil && !ok {
		err = fmt.Errorf("calendar %s was changed meanwhile; try again: %w", key, job.ErrConflict)
	}
	if err == nil {
		lib.log.Info("calendar deleted", zap.Stringer("calendar", key))
	}
	return err
}

// CalendarsOf returns the compiled calendars of a job, as they are stored now.
func (lib *Set) CalendarsOf(ctx context.Context, j *job.Job) (calendar.Set, error) {
	var set calendar.Set
	for _, k := range j.Spec.CalendarKeys(j.Namespace) {
		kv, err := lib.db.Get(ctx, "read calendar "+k.String(), lib.db.Keys.Calendar(k))
		if err != nil {
			return nil, err
		}
		if kv == nil {
			continue
		}
		stored, err := store.Decode[etcdkv.StoredCalendar](kv)
		if err != nil {
			return nil, err
		}
		if cal, problems := calendar.New(k.String(), &stored.Spec); len(problems) == 0 {
			set = append(set, cal)
		}
	}
	return set, nil
}

// CalendarNamed returns one calendar; nil: it cannot be used.
func (lib *Set) CalendarNamed(ctx context.Context, k job.Key) (*calendar.Calendar, error) {
	kv, err := lib.db.Get(ctx, "read calendar "+k.String(), lib.db.Keys.Calendar(k))
	if err != nil {
		return nil, err
	}
	if kv == nil {
		return nil, fmt.Errorf("calendar %s: %w", k, job.ErrNotFound)
	}
	stored, err := store.Decode[etcdkv.StoredCalendar](kv)
	if err != nil {
		return nil, err
	}
	cal, problems := calendar.New(k.String(), &stored.Spec)
	if len(problems) > 0 {
		return nil, nil
	}
	return cal, nil
}
