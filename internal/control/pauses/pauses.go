package pauses

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// checkPaused refuses what names no thing, or more than its scope has: who names a
// job and asks for all of them means one or the other.
func checkPaused(p api.Paused) error {
	name := func(path, text string) error {
		if err := job.CheckName(text); err != nil {
			return apiview.Invalid(path, err.Error())
		}
		return nil
	}
	switch p.Scope {
	case api.ScopeAll:
		if p.Namespace != "" {
			return apiview.Invalid("namespace", fmt.Sprintf("is %q, but scope all has none; leave it out, or give scope namespace", p.Namespace))
		}
		if p.Name != "" {
			return apiview.Invalid("name", fmt.Sprintf("is %q, but scope all has none; leave it out, or give scope job or group", p.Name))
		}
		return nil
	case api.ScopeNamespace:
		if p.Name != "" {
			return apiview.Invalid("name", fmt.Sprintf("is %q, but scope namespace has none; leave it out, or give scope job or group", p.Name))
		}
		return name("namespace", p.Namespace)
	case api.ScopeGroup, api.ScopeJob:
		if err := name("namespace", p.Namespace); err != nil {
			return err
		}
		return name("name", p.Name)
	}
	return apiview.Invalid("scope", fmt.Sprintf("%q is unknown; want job, group, namespace or all", p.Scope))
}

// pausable refuses jobs and groups that are not there.
func (pz *Pauser) pausable(ctx context.Context, p api.Paused) error {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	var err error
	switch p.Scope {
	case api.ScopeGroup:
		_, _, err = pz.cluster.StoredGroup(ctx, key)
	case api.ScopeJob:
		_, _, err = pz.jobs.Stored(ctx, key)
	case api.ScopeNamespace:
		return pz.hasJobs(ctx, p.Namespace)
	case api.ScopeAll:
	}
	return err
}

// hasJobs refuses a namespace without jobs and groups: its name is mistyped.
func (pz *Pauser) hasJobs(ctx context.Context, namespace string) error {
	found := false
	err := pz.db.Shards(ctx, store.MaxOps, func(shards []job.ShardID) error {
		if found {
			return nil
		}
		ops := make([]clientv3.Op, 0, len(shards))
		for _, s := range shards {
			ops = append(ops, clientv3.OpGet(pz.db.Keys.ShardJobs(s)+namespace+"/", clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()))
		}
		resp, err := pz.db.Do(ctx, "look for jobs of namespace "+namespace, nil, ops)
		if err != nil {
			return err
		}
		for _, part := range resp.Responses {
			found = found || len(part.GetResponseRange().GetKvs()) > 0
		}
		return nil
	})
	if err != nil || found {
		return err
	}
	groups, err := pz.cluster.GroupNames(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Namespace == namespace {
			return nil
		}
	}
	s, err := pz.rights.Of(ctx)
	if err != nil {
		return err
	}
	var known []string
	err = pz.db.List(ctx, "list jobs", pz.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		if _, key, err := pz.db.Keys.ParseJob(string(kv.Key)); err == nil && !slices.Contains(known, key.Namespace) && s.Sees(rights.Read, rights.Jobs, key.Namespace) {
			known = append(known, key.Namespace)
		}
		return nil
	})
	if err != nil {
		return err
	}
	hint := ""
	if near, ok := job.Nearest(namespace, known); ok {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("namespace %s has no jobs%s: %w", namespace, hint, job.ErrNotFound)
}

// aboutOf returns what a pause of p is about, as it is stored.
func aboutOf(p api.Paused) etcdkv.Paused {
	stored := etcdkv.Pause{Scope: etcdkv.Scope(p.Scope), Namespace: p.Namespace, Name: p.Name}
	return stored.About()
}

// Pause pauses the scheduled runs of jobs, from now until Resume, or until a given
// instant unless that is zero. Their occurrences are recorded as skipped; starts
// by hand go on.
//
// It returns from where on the pause holds: no occurrence after that is committed to
// be run. What was committed before runs, though it may start later: it is cancelled
// by itself.
func (pz *Pauser) Pause(ctx context.Context, p api.Paused, until time.Time, o api.Order) (time.Time, error) {
	if err := checkPaused(p); err != nil {
		return time.Time{}, err
	}
	if err := pz.pausable(ctx, p); err != nil {
		return time.Time{}, err
	}
	now := pz.db.Now().UTC()
	if !until.IsZero() && !until.After(now) {
		return time.Time{}, apiview.Invalid("until", fmt.Sprintf("%s is not in the future", until.UTC().Format(time.RFC3339)))
	}
	key := pz.db.Keys.Pause(etcdkv.Scope(p.Scope), p.Namespace, p.Name)
	kv, err := pz.db.Get(ctx, "pause "+p.String(), key)
	if err != nil {
		return time.Time{}, err
	}
	v := etcdkv.StoredPause{Pause: etcdkv.Pause{
		Schema: etcdkv.Schema, Scope: etcdkv.Scope(p.Scope), Namespace: p.Namespace, Name: p.Name, By: caller.Of(ctx, o.By), Reason: o.Reason, Since: now, Until: until.UTC(),
	}}
	if kv != nil {
		old, err := store.Decode[etcdkv.StoredPause](kv)
		if err != nil {
			return time.Time{}, err
		}
		v.Earlier = old.Earlier
		if old.EndedAt(now) {
			v.Rest(&old.Pause)
		} else {
			v.Since = old.Since // it goes on
		}
	}
	text, err := etcdkv.Encode(v)
	if err != nil {
		return time.Time{}, err
	}
	if err := pz.audit.Write(ctx, string(p.Scope)+".pause", p.String(), o, key, kv, clientv3.OpPut(key, text), pz.db.Edited(pz.db.Keys.PauseEdits())); err != nil {
		return time.Time{}, err
	}
	return pz.PauseHeldFrom(ctx, p, now), nil
}

// Resume ends a pause. What was due meanwhile is not run, whenever an owner comes to
// it: so the pause stays, with its end, until Sweep finds that all have. It returns from
// where on that holds: every occurrence after it is committed to be run.
func (pz *Pauser) Resume(ctx context.Context, p api.Paused, o api.Order) (time.Time, error) {
	if err := checkPaused(p); err != nil {
		return time.Time{}, err
	}
	key := pz.db.Keys.Pause(etcdkv.Scope(p.Scope), p.Namespace, p.Name)
	kv, err := pz.db.Get(ctx, "resume "+p.String(), key)
	if err != nil {
		return time.Time{}, err
	}
	now := pz.db.Now().UTC()
	ended, is, err := endPause(kv, now)
	if err != nil {
		return time.Time{}, err
	}
	strays, err := pz.strayPauses(ctx, p, key)
	if err != nil {
		return time.Time{}, err
	}
	if !is && len(strays) == 0 {
		if p.Scope != api.ScopeNamespace { // one whose jobs are gone may be resumed
			if err := pz.pausable(ctx, p); err != nil {
				return time.Time{}, err
			}
		}
		return time.Time{}, fmt.Errorf("pause of %s: %w", p, job.ErrNotFound)
	}
	var ops []clientv3.Op
	for i := range strays {
		one := strays[i].pause
		if !one.EndedAt(now) {
			one.Until = now
		}
		ended.Rest(&one)
		ops = append(ops, clientv3.OpDelete(strays[i].key))
	}
	if n := len(ended.Earlier); kv == nil && n > 0 { // the strays are all there is
		last := ended.Earlier[n-1]
		ended.Pause = etcdkv.Pause{
			Schema: etcdkv.Schema, Scope: etcdkv.Scope(p.Scope), Namespace: p.Namespace, Name: p.Name, By: last.By, Reason: last.Reason, Since: last.Since, Until: last.Until,
		}
		ended.Earlier = ended.Earlier[:n-1]
	}
	if !ended.Until.IsZero() { // else they had no time in between
		text, err := etcdkv.Encode(ended)
		if err != nil {
			return time.Time{}, err
		}
		ops = append(ops, clientv3.OpPut(key, text))
	}
	ops = append(ops, pz.db.Edited(pz.db.Keys.PauseEdits()))
	if err := pz.audit.Write(ctx, string(p.Scope)+".resume", p.String(), o, key, kv, ops...); err != nil {
		return time.Time{}, err
	}
	return pz.PauseHeldFrom(ctx, p, now), nil
}

// endPause returns a stored pause with its end. is: it had none yet.
func endPause(kv *mvccpb.KeyValue, now time.Time) (p etcdkv.StoredPause, is bool, err error) {
	if kv == nil {
		return p, false, nil
	}
	if p, err = store.Decode[etcdkv.StoredPause](kv); err != nil {
		return p, false, err
	}
	if p.EndedAt(now) {
		return p, false, nil
	}
	p.Until = now
	return p, true, nil
}

// strayPause is a pause that lies elsewhere than at its own key.
type strayPause struct {
	key   string
	pause etcdkv.Pause
}

// strayPauses returns the pauses of p that lie elsewhere than at its
// own key. There may be some of all jobs and of namespaces only; they hold until
// they are removed.
func (pz *Pauser) strayPauses(ctx context.Context, p api.Paused, own string) ([]strayPause, error) {
	if p.Scope != api.ScopeAll && p.Scope != api.ScopeNamespace {
		return nil, nil
	}
	var strays []strayPause
	err := pz.db.List(ctx, "list pauses", pz.db.Keys.PausesOf(etcdkv.Scope(p.Scope), p.Namespace), func(kv *mvccpb.KeyValue) error {
		v, err := store.Decode[etcdkv.Pause](kv)
		if err != nil {
			pz.log.Warn("record unreadable", zap.Error(err))
			return nil
		}
		if key := string(kv.Key); key != own && v.About() == aboutOf(p) && len(strays) < store.MaxOps/2 {
			strays = append(strays, strayPause{key, v})
		}
		return nil
	})
	return strays, err
}

// Pauses returns what is paused now.
func (pz *Pauser) Pauses(ctx context.Context) ([]api.Pause, error) {
	all, err := pz.Now(ctx)
	return apiview.Each(all, apiview.Pause), err
}

// Now returns the pauses that hold now, as they are stored.
func (pz *Pauser) Now(ctx context.Context) ([]etcdkv.Pause, error) {
	all, err := store.ListAll[etcdkv.Pause](ctx, pz.db, "list pauses", pz.db.Keys.Pauses())
	if err != nil {
		return nil, err
	}
	out := make([]etcdkv.Pause, 0, len(all))
	for i := range all {
		if all[i].Until.IsZero() || all[i].Until.After(pz.db.Now()) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// SweepPauses removes the pauses of jobs and groups that ended long ago, once their
// shard has come so far: nothing that was due meanwhile is left.
func (pz *Pauser) SweepPauses(ctx context.Context) error {
	return pz.db.List(ctx, "list pauses", pz.db.Keys.Pauses(), func(kv *mvccpb.KeyValue) error {
		v, err := store.Decode[etcdkv.StoredPause](kv)
		if err != nil || v.Scope != etcdkv.ScopeJob && v.Scope != etcdkv.ScopeGroup || !v.EndedAt(pz.db.Now().Add(-PauseStays)) {
			return nil // others look at what cannot be read
		}
		shards, _, err := pz.pausedShards(ctx, api.Paused{Scope: api.Scope(v.Scope), Namespace: v.Namespace, Name: v.Name})
		gone := errors.Is(err, job.ErrNotFound)
		if err != nil && !gone {
			return err
		}
		if !gone {
			state, err := pz.db.Get(ctx, "read shard", pz.db.Keys.State(shards[0]))
			if err != nil || state == nil {
				return err
			}
			s, err := store.Decode[etcdkv.ShardState](state)
			if err != nil || !s.Cursor.After(v.Until) || s.Ahead.After(s.Cursor) {
				return err
			}
		}
		_, err = pz.db.Do(ctx, "remove a pause that has ended",
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)}, []clientv3.Op{clientv3.OpDelete(string(kv.Key))})
		return err
	})
}

// PauseStays is how long an ended pause stays at least: a job may be moved meanwhile, to
// a shard that is to plan what was due.
const PauseStays = time.Hour
